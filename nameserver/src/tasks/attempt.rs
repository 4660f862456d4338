//! One attempt: a call to one worker, and what its end means for the task.

use super::lane::LaneKey;
use crate::store::{Claimed, Ending};
use pyroxene_client::{CallError, Client, Once, Proxy};
use pyroxene_common::{
    channel::{AttemptError, Listener},
    interfaces::invoke::{
        Invoke, InvokeError,
        invoke::{InvokeRequest, InvokeResponse},
    },
    message::RefusalReason,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tarpc::context;
use tokio::{sync::OnceCell, time::Instant};

/// A call without a deadline has this one: a connection that is lost or a worker that is frozen is
/// found out in seconds, whatever the deadline.
const NO_DEADLINE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long the first call of an object waits to hear who hosts it.
const RESOLVE: Duration = Duration::from_secs(2);

/// The stub of an object, made when it is first needed.
pub(super) type Stub = Arc<OnceCell<Proxy<Invoke>>>;

/// Where an attempt is.
#[derive(Debug, Default)]
pub(super) struct At(Mutex<Option<String>>);

impl At {
    fn moves_to(&self, worker: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker.to_owned());
    }

    /// The worker that the call was sent to last.
    pub(super) fn worker(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A task that was claimed here.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) task: Claimed,
    pub(super) lane: LaneKey,
    /// When it was claimed, by this process's clock.
    pub(super) at: Instant,
}

impl Taken {
    /// By when it has to be done, by this process's clock.
    fn deadline(&self) -> Option<Instant> {
        let left = self.task.deadline?.saturating_sub(self.task.started);
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        self.at.checked_add(left)
    }
}

/// Calls. Answers the worker that ended it, and how.
pub(super) async fn call(
    client: Client,
    stub: Stub,
    taken: &mut Taken,
    at: &At,
    listener: &Listener,
) -> Ending {
    let deadline = taken.deadline();
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return Ending::DeadlineExceeded;
    }
    let Ok(arguments) = String::from_utf8(std::mem::take(&mut taken.task.arguments)) else {
        return failed("the arguments are no text".to_owned());
    };
    let object = &taken.task.object;
    // Kept apart, because it is large and needed once for each object.
    let resolve = || Box::pin(client.proxy_before::<Invoke>(object, Instant::now() + RESOLVE));
    let proxy = match stub.get_or_try_init(resolve).await {
        Ok(proxy) => proxy,
        Err(error) => return refused(&error),
    };
    let mut context = context::current();
    context.deadline = deadline
        .unwrap_or_else(|| Instant::now() + NO_DEADLINE)
        .into_std();
    let request = InvokeRequest::Call {
        method: taken.task.method.clone(),
        arguments,
    };
    let once = Once {
        worker: taken.task.worker.as_deref(),
        sending: &|worker| at.moves_to(worker),
        listener: Some(listener),
    };
    match proxy.call_once(context, &request, once).await {
        Ok(answered) => judge_answer(answered.response),
        Err(error) => judge_failure(&error, deadline.is_some()),
    }
}

fn failed(error: String) -> Ending {
    Ending::Failed {
        error,
        value: None,
        retry: false,
    }
}

/// What did not run. Only what the submitter may not do will not be otherwise the next time: a worker
/// that does not know the caller yet may know it then.
fn refused(error: &CallError) -> Ending {
    let reason = why(error);
    match error.attempts().last().map(|last| &last.error) {
        Some(AttemptError::Refused(refusal)) if refusal.reason == RefusalReason::Denied => {
            Ending::Denied { reason }
        }
        _ => Ending::Refused { reason },
    }
}

/// What went wrong at the last worker, and its name.
fn why(error: &CallError) -> String {
    let reason = error.last_reason();
    match error.attempts().last() {
        Some(attempt) => format!("worker '{}': {reason}", attempt.worker),
        None => reason,
    }
}

fn judge_answer(response: InvokeResponse) -> Ending {
    match response {
        InvokeResponse::Call(Ok(result)) => Ending::Succeeded {
            result: result.into_bytes(),
        },
        InvokeResponse::Call(Err(InvokeError::Failed { sentence, error })) => Ending::Failed {
            error: sentence,
            value: Some(error.into_bytes()),
            retry: false,
        },
        InvokeResponse::Call(Err(error)) => failed(error.to_string()),
        InvokeResponse::CallRepeatable(_) | InvokeResponse::Describe(_) => {
            failed("the worker answered another method".to_owned())
        }
    }
}

fn judge_failure(error: &CallError, has_deadline: bool) -> Ending {
    match error {
        CallError::DeadlineExceeded(_) if has_deadline => Ending::DeadlineExceeded,
        CallError::MaybeRan(_) | CallError::DeadlineExceeded(_) => {
            let reason = why(error);
            Ending::Lost { reason }
        }
        CallError::Unavailable(_) | CallError::Refused(_) => refused(error),
        // It is too large, or the method panicked, or its answer was too large: the next time it
        // would be the same.
        CallError::NotSent(_) | CallError::Failed(_) => failed(why(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_client::{Attempt, Trail};
    use pyroxene_common::message::Refusal;

    fn trail(reason: &str) -> Box<Trail> {
        Box::new(Trail {
            reason: Some(reason.to_owned()),
            ..Trail::default()
        })
    }

    #[test]
    fn what_may_have_run_is_lost_and_what_did_not_is_refused() {
        let gone = CallError::MaybeRan(trail("gone"));
        assert!(matches!(judge_failure(&gone, true), Ending::Lost { reason } if reason == "gone"));
        let nobody = CallError::Unavailable(trail("nobody"));
        assert!(matches!(
            judge_failure(&nobody, true),
            Ending::Refused { .. }
        ));
        let unknown = CallError::Refused(after_refusal(RefusalReason::Unauthenticated));
        let ending = judge_failure(&unknown, true);
        assert!(matches!(ending, Ending::Refused { .. }), "{ending:?}");
    }

    fn after_refusal(reason: RefusalReason) -> Box<Trail> {
        let refusal = Refusal {
            reason,
            retry_after_ms: 0,
            sentence: "no".to_owned(),
        };
        let attempt = Attempt {
            worker: "w1".to_owned(),
            endpoint: String::new(),
            ended: Duration::ZERO,
            error: AttemptError::Refused(refusal),
        };
        Box::new(Trail {
            attempts: vec![attempt],
            ..Trail::default()
        })
    }

    #[test]
    fn what_is_denied_is_denied_for_good() {
        let denied = CallError::Refused(after_refusal(RefusalReason::Denied));
        let ending = judge_failure(&denied, true);
        assert!(matches!(ending, Ending::Denied { reason } if reason == "worker 'w1': no"));
    }

    #[test]
    fn what_fails_again_in_any_case_is_not_tried_again() {
        let panicked = CallError::Failed(trail("it panicked"));
        let ending = judge_failure(&panicked, true);
        assert!(
            matches!(ending, Ending::Failed { error, retry: false, .. } if error == "it panicked")
        );
    }

    #[test]
    fn a_deadline_is_the_tasks_own_or_a_sign_that_something_is_wrong() {
        let late = CallError::DeadlineExceeded(trail("late"));
        assert_eq!(judge_failure(&late, true), Ending::DeadlineExceeded);
        assert!(matches!(judge_failure(&late, false), Ending::Lost { .. }));
    }

    #[test]
    fn the_objects_error_is_kept_as_it_gave_it() {
        let error = InvokeError::Failed {
            sentence: "sold out".to_owned(),
            error: r#"{"left":0}"#.to_owned(),
        };
        let expected = Ending::Failed {
            error: "sold out".to_owned(),
            value: Some(br#"{"left":0}"#.to_vec()),
            retry: false,
        };
        assert_eq!(judge_answer(InvokeResponse::Call(Err(error))), expected);
    }
}
