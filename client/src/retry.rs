//! Decides whether a call is retried after a failed attempt. An attempt was not sent, may have run, or
//! failed.

use crate::error::{Attempt, CallError, Trail};
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost},
    message::RefusalReason,
};
use std::collections::BTreeSet;

/// The decision after a failed attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// Another attempt on another instance.
    TryElsewhere {
        /// Whether the new attempt adds load and is paid from the retry budget. A call that never reached
        /// a worker added no load.
        costs_budget: bool,
        /// The error of the call if no other attempt can be made.
        last: fn(Box<Trail>) -> CallError,
    },
    /// The call has ended with this error.
    Final(fn(Box<Trail>) -> CallError),
}

/// Decides after a failed attempt. `repeatable` says whether the method is idempotent.
pub(crate) fn judge(error: &AttemptError, repeatable: bool) -> Verdict {
    match error {
        AttemptError::NotSent(_) => Verdict::TryElsewhere {
            costs_budget: false,
            last: CallError::Unavailable,
        },
        AttemptError::Refused(refusal) => match refusal.reason {
            RefusalReason::Denied | RefusalReason::Unauthenticated | RefusalReason::Limited => {
                Verdict::Final(CallError::Refused)
            }
            RefusalReason::Overloaded | RefusalReason::Draining | RefusalReason::NotHolder => {
                Verdict::TryElsewhere {
                    costs_budget: refusal.reason == RefusalReason::Overloaded,
                    last: CallError::Unavailable,
                }
            }
        },
        AttemptError::MaybeRan(_) if repeatable => Verdict::TryElsewhere {
            costs_budget: true,
            last: CallError::MaybeRan,
        },
        AttemptError::MaybeRan(_) => Verdict::Final(CallError::MaybeRan),
        AttemptError::DeadlineExceeded { .. } => Verdict::Final(CallError::DeadlineExceeded),
        AttemptError::TooLarge { .. } | AttemptError::Encoding(_) => {
            Verdict::Final(CallError::NotSent)
        }
        AttemptError::Failed(_) => Verdict::Final(CallError::Failed),
    }
}

/// A call that was running at this many workers when they were lost is not retried.
const FATAL: usize = 2;

/// Why an idempotent call is not retried: the call may have crashed the lost workers, and would crash the
/// next one too. Workers that only drained do not count.
pub(crate) fn poisonous(attempts: &[Attempt]) -> Option<String> {
    let is_lost = |attempt: &&Attempt| match &attempt.error {
        AttemptError::MaybeRan(lost) => !matches!(lost, ConnectionLost::GoneAway),
        _ => false,
    };
    let lost = attempts.iter().filter(is_lost);
    let workers: BTreeSet<_> = lost
        .map(|attempt| (&attempt.worker, &attempt.endpoint))
        .collect();
    (workers.len() >= FATAL).then(|| {
        format!(
            "{} workers were lost while they ran it, so it is not sent to another one",
            workers.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::message::Refusal;
    use std::time::Duration;

    fn attempt(worker: &str, error: AttemptError) -> Attempt {
        Attempt {
            worker: worker.to_owned(),
            endpoint: format!("{worker}:1"),
            ended: Duration::ZERO,
            error,
        }
    }

    #[test]
    fn a_call_that_cost_two_workers_is_poisonous() {
        let lost = |worker| attempt(worker, AttemptError::MaybeRan(ConnectionLost::Closed));
        assert_eq!(poisonous(&[lost("w1")]), None);
        assert_eq!(poisonous(&[lost("w1"), lost("w1")]), None);
        let sentence = poisonous(&[lost("w1"), lost("w2")]).unwrap();
        assert!(sentence.starts_with("2 workers were lost"), "{sentence}");
    }

    #[test]
    fn workers_that_were_not_lost_to_a_call_say_nothing_of_it() {
        let drained = |worker| attempt(worker, AttemptError::MaybeRan(ConnectionLost::GoneAway));
        assert_eq!(poisonous(&[drained("w1"), drained("w2")]), None);
        let unreached = |worker| attempt(worker, AttemptError::NotSent(ConnectionLost::Closed));
        assert_eq!(poisonous(&[unreached("w1"), unreached("w2")]), None);
    }

    fn refused(reason: RefusalReason) -> AttemptError {
        AttemptError::Refused(Refusal {
            reason,
            retry_after_ms: 0,
            sentence: String::new(),
        })
    }

    fn goes_elsewhere(error: &AttemptError, repeatable: bool) -> bool {
        matches!(judge(error, repeatable), Verdict::TryElsewhere { .. })
    }

    #[test]
    fn what_did_not_run_goes_elsewhere_whatever_the_method() {
        for repeatable in [true, false] {
            assert!(goes_elsewhere(
                &AttemptError::NotSent(ConnectionLost::Closed),
                repeatable
            ));
            for reason in [RefusalReason::Overloaded, RefusalReason::Draining] {
                assert!(goes_elsewhere(&refused(reason), repeatable));
            }
        }
    }

    #[test]
    fn what_may_have_run_is_repeated_only_if_that_is_safe() {
        let error = AttemptError::MaybeRan(ConnectionLost::Closed);
        assert!(goes_elsewhere(&error, true));
        assert!(matches!(judge(&error, false), Verdict::Final(_)));
    }

    #[test]
    fn what_ran_and_failed_and_what_is_forbidden_is_never_repeated() {
        let failed = tarpc::ServerError::new(std::io::ErrorKind::Other, String::new());
        for error in [
            AttemptError::Failed(failed),
            AttemptError::DeadlineExceeded { sent: true },
            refused(RefusalReason::Denied),
            AttemptError::TooLarge { size: 2, limit: 1 },
        ] {
            assert!(!goes_elsewhere(&error, true), "{error}");
        }
    }
}
