//! The deadline of a call, in tarpc's context.

use pyroxene_common::{envelope::MAX_DEADLINE, scope, spans};
use std::time::Duration;
use tarpc::context::{self, Context};
use tokio::time::Instant;

/// The deadline that `tarpc::context::current` gives to every context: this time from now.
const TARPC_DEADLINE: Duration = Duration::from_secs(10);

/// How long a call may take if its caller has chosen no deadline.
pub(crate) const DEFAULT_DEADLINE: Duration = TARPC_DEADLINE;

/// How old a context of `tarpc::context::current` may be when its call is made.
const MAX_AGE: Duration = Duration::from_secs(1);

/// A new context with this deadline, in the trace of the method that runs here, or of this process, or in a new one.
///
/// ```
/// use pyroxene_client::context_until;
/// use tokio::time::Instant;
///
/// let deadline = Instant::now();
/// assert_eq!(context_until(deadline).deadline, deadline.into_std());
/// ```
pub fn context_until(deadline: Instant) -> Context {
    let mut context = context::current();
    context.deadline = deadline.into_std();
    // It is not taken for a context as `context::current()` makes it.
    if context.trace_context.trace_id.is_none() {
        let outer = scope::outer_call().and_then(|(outer, _)| outer);
        context.trace_context = match outer {
            Some(outer) => outer.trace_context,
            None => spans::current_root(),
        };
    }
    context
}

/// A new context whose deadline is after this time.
///
/// ```
/// use pyroxene_client::context_within;
/// use std::time::{Duration, Instant};
///
/// let minute = Duration::from_secs(60);
/// assert!(context_within(minute).deadline <= Instant::now() + minute);
/// ```
pub fn context_within(time: Duration) -> Context {
    context_until(Instant::now() + time)
}

/// The deadline that the caller has chosen; `None` if the context is as `tarpc::context::current` makes it, which
/// says nothing of the caller's wishes.
pub(crate) fn chosen_deadline(context: &Context, now: Instant) -> Option<Instant> {
    let is_as_made = |left: Duration| left <= TARPC_DEADLINE && left + MAX_AGE > TARPC_DEADLINE;
    let deadline = Instant::from_std(context.deadline);
    if !context.trace_context.trace_id.is_none() {
        return Some(deadline);
    }
    // tarpc counts in the time of the system, which differs where time is paused.
    let by_system = || {
        let now = std::time::Instant::now();
        context.deadline.saturating_duration_since(now)
    };
    let is_unchosen =
        is_as_made(deadline.saturating_duration_since(now)) || is_as_made(by_system());
    (!is_unchosen).then_some(deadline)
}

/// The context of a call. `time` is how long it may take if its context says nothing of that. If a method of this
/// process makes it, `outer` is that method's own call: it gives it its trace, and ends no later.
pub(crate) fn context_of_call(
    mut context: Context,
    outer: Option<&Context>,
    time: Option<Duration>,
    now: Instant,
) -> Context {
    if context.trace_context.trace_id.is_none() {
        if chosen_deadline(&context, now).is_none() {
            let time = time.unwrap_or(DEFAULT_DEADLINE).min(MAX_DEADLINE);
            context.deadline = (now + time).into_std();
            if let Some(outer) = outer {
                context.deadline = context.deadline.min(outer.deadline);
            }
        }
        context.trace_context = match outer {
            Some(outer) => outer.trace_context,
            None => spans::current_root(),
        };
    }
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_as_tarpc_makes_it_has_no_chosen_deadline() {
        let now = Instant::now();
        assert_eq!(chosen_deadline(&context::current(), now), None);
    }

    #[test]
    fn a_call_within_a_call_has_its_trace_and_ends_no_later() {
        let now = Instant::now();
        let outer = context_until(now + Duration::from_secs(2));
        let nested = context_of_call(context::current(), Some(&outer), None, now);
        assert_eq!(nested.deadline, outer.deadline);
        let trace = |context: &Context| context.trace_context.trace_id;
        assert_eq!(trace(&nested), trace(&outer));
        // What was chosen stays.
        let chosen = context_until(now + Duration::from_secs(60));
        let nested = context_of_call(chosen, Some(&outer), None, now);
        assert_eq!(nested.deadline, chosen.deadline);
        let alone = context_of_call(context::current(), None, Some(Duration::from_secs(3)), now);
        assert_eq!(alone.deadline, (now + Duration::from_secs(3)).into_std());
        assert!(!trace(&alone).is_none());
    }

    #[test]
    fn any_other_deadline_is_chosen() {
        let now = Instant::now();
        for seconds in [1, 8, 10, 11, 60] {
            let deadline = now + Duration::from_secs(seconds);
            let context = context_until(deadline);
            assert_eq!(chosen_deadline(&context, now), Some(deadline));
        }
        let mut context = context::current();
        let deadline = now + Duration::from_secs(60);
        context.deadline = deadline.into_std();
        assert_eq!(chosen_deadline(&context, now), Some(deadline));
    }
}
