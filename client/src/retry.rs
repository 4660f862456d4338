//! Decides whether a call is retried after a failed attempt. An attempt was not sent, may have run, or
//! failed.

use crate::{
    budget::Budget,
    config::ClientConfig,
    error::{AttemptLog, CallError},
};
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost},
    message::RefusalReason,
};
use std::{
    cell::Cell,
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

/// The bound on the retries of a client. All its proxies share it.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    budget: Mutex<Budget>,
    /// Calls since the last withdrawal from the budget.
    calls: AtomicU64,
    /// Ends the client's background tasks when the last of its clones and proxies is dropped.
    _stop_when_dropped: DropGuard,
}

impl RetryBudget {
    pub(crate) fn new(config: &ClientConfig, stop_when_dropped: DropGuard) -> Self {
        Self {
            budget: Mutex::new(Budget::new(config.budget, Instant::now())),
            calls: AtomicU64::new(0),
            _stop_when_dropped: stop_when_dropped,
        }
    }

    /// Counts a call for the budget. Each thread adds its calls in batches, because all threads share
    /// the counter.
    pub(crate) fn count_call(&self) {
        const CALL_BATCH: u64 = 32;
        thread_local! {
            static UNCOUNTED: Cell<u64> = const { Cell::new(0) };
        }
        let uncounted = UNCOUNTED.get() + 1;
        UNCOUNTED.set(uncounted % CALL_BATCH);
        if uncounted == CALL_BATCH {
            self.calls.fetch_add(CALL_BATCH, Ordering::Relaxed);
        }
    }

    /// Withdraws one retry from the budget. Returns false if the budget is empty.
    pub(crate) fn withdraw_retry(&self, now: Instant) -> bool {
        let calls = self.calls.swap(0, Ordering::Relaxed);
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.withdraw(calls, now)
    }
}

/// The decision after a failed attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RetryDecision {
    /// Another attempt on another instance.
    TryElsewhere {
        /// Whether the new attempt adds load and is paid from the retry budget. A call that never reached
        /// a worker added no load.
        costs_budget: bool,
        /// The error of the call if no other attempt can be made.
        last: fn(Box<AttemptLog>) -> CallError,
    },
    /// The call has ended with this error.
    Final(fn(Box<AttemptLog>) -> CallError),
}

impl RetryDecision {
    /// The same, without another attempt.
    pub(crate) fn finally(self) -> Self {
        match self {
            Self::TryElsewhere { last, .. } => Self::Final(last),
            ended @ Self::Final(_) => ended,
        }
    }
}

/// Decides after a failed attempt. `repeatable` says whether the method is idempotent.
pub(crate) fn judge(error: &AttemptError, repeatable: bool) -> RetryDecision {
    match error {
        AttemptError::NotSent(lost) => RetryDecision::TryElsewhere {
            costs_budget: false,
            last: match lost {
                ConnectionLost::WrongInterface(_) => CallError::NotSent,
                _ => CallError::Unavailable,
            },
        },
        AttemptError::Refused(refusal) => match refusal.reason {
            RefusalReason::Denied | RefusalReason::Unauthenticated | RefusalReason::Limited => {
                RetryDecision::Final(CallError::Refused)
            }
            RefusalReason::SessionLost => RetryDecision::Final(CallError::SessionLost),
            RefusalReason::Gone => RetryDecision::Final(CallError::Gone),
            RefusalReason::Overloaded | RefusalReason::Draining | RefusalReason::NotHolder => {
                RetryDecision::TryElsewhere {
                    costs_budget: refusal.reason == RefusalReason::Overloaded,
                    last: CallError::Unavailable,
                }
            }
        },
        AttemptError::Unauthenticated(_) => RetryDecision::Final(CallError::Refused),
        AttemptError::MaybeRan(_) if repeatable => RetryDecision::TryElsewhere {
            costs_budget: true,
            last: CallError::MaybeRan,
        },
        AttemptError::MaybeRan(_) => RetryDecision::Final(CallError::MaybeRan),
        AttemptError::DeadlineExceeded { .. } => RetryDecision::Final(CallError::DeadlineExceeded),
        AttemptError::TooLarge { .. } | AttemptError::Encoding(_) => {
            RetryDecision::Final(CallError::NotSent)
        }
        AttemptError::Failed(_) => RetryDecision::Final(CallError::Failed),
    }
}

/// A call is not retried after losses on this many occasions.
const MAX_OCCASIONS: usize = 2;

/// When a client had several calls in flight at workers, and lost these workers within this time, it was
/// one occasion: an operator or a machine may have ended them together. The next attempt then waits until
/// the time is over, so that a call that crashes its worker at once costs three workers, and not all.
const OCCASION: Duration = Duration::from_secs(1);

/// The workers that were lost while an idempotent call ran at them.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    workers: BTreeSet<String>,
    occasions: usize,
    /// When the last occasion began.
    began: Option<Instant>,
}

/// What the losses say about the call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Nothing: at most one worker was lost.
    None,
    /// Several workers were lost on one occasion. The next attempt waits until then.
    Wait(Instant),
    /// The call may have crashed them, and would crash the next one too. It is not retried, for this reason.
    Poisonous(String),
}

impl Losses {
    /// Records how an attempt at a worker ended. `alone` says whether the call was the only one of this
    /// client there. Workers that only drained are not lost.
    pub(crate) fn record(&mut self, worker: &str, error: &AttemptError, alone: bool, now: Instant) {
        let AttemptError::MaybeRan(lost) = error else {
            return;
        };
        if matches!(lost, ConnectionLost::GoneAway) || !self.workers.insert(worker.to_owned()) {
            return;
        }
        let is_over = |began: Instant| now >= began + OCCASION;
        if alone || self.began.is_none_or(is_over) {
            self.occasions += 1;
            self.began = Some(now);
        }
    }

    /// Whether the next attempt waits. For most calls, under which no worker was lost, this is one comparison.
    pub(crate) fn ask_for_a_wait(&self) -> bool {
        self.workers.len() > 1 && matches!(self.blame(), Blame::Wait(_))
    }

    pub(crate) fn blame(&self) -> Blame {
        let workers = self.workers.len();
        match self.began {
            _ if self.occasions >= MAX_OCCASIONS => Blame::Poisonous(format!(
                "{workers} workers were lost while they ran it, so it is not sent to another one"
            )),
            Some(began) if workers > 1 => Blame::Wait(began + OCCASION),
            _ => Blame::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::message::Refusal;

    /// What is thought of a call after these workers were lost, each at a time in seconds.
    fn blame(losses: &[(&str, f64)], alone: bool) -> (Blame, Instant) {
        let error = AttemptError::MaybeRan(ConnectionLost::Closed);
        let (start, mut record) = (Instant::now(), Losses::default());
        for (worker, seconds) in losses {
            record.record(
                worker,
                &error,
                alone,
                start + Duration::from_secs_f64(*seconds),
            );
        }
        (record.blame(), start)
    }

    #[test]
    fn a_call_that_was_alone_at_two_lost_workers_is_poisonous() {
        assert_eq!(blame(&[("w1", 0.0)], true).0, Blame::None);
        assert_eq!(blame(&[("w1", 0.0), ("w1", 9.0)], true).0, Blame::None);
        let (Blame::Poisonous(reason), _) = blame(&[("w1", 0.0), ("w2", 0.1)], true) else {
            panic!("it is retried")
        };
        assert!(reason.starts_with("2 workers were lost"), "{reason}");
    }

    #[test]
    fn workers_that_are_lost_together_under_many_calls_are_one_occasion_and_waited_out() {
        let together = [("w1", 3.0), ("w2", 3.1), ("w3", 3.2)];
        let (judged, start) = blame(&together, false);
        assert_eq!(judged, Blame::Wait(start + Duration::from_secs(4)));
        let [one, two, three] = together;
        let (judged, _) = blame(&[one, two, three, ("w4", 4.0)], false);
        assert!(matches!(judged, Blame::Poisonous(_)), "{judged:?}");
    }

    #[test]
    fn a_call_waits_after_several_workers_were_lost_together_and_not_after_one() {
        let error = AttemptError::MaybeRan(ConnectionLost::Closed);
        let (now, mut losses) = (Instant::now(), Losses::default());
        assert!(!losses.ask_for_a_wait());
        losses.record("w1", &error, false, now);
        assert!(!losses.ask_for_a_wait());
        losses.record("w2", &error, false, now);
        assert!(losses.ask_for_a_wait());
    }

    #[test]
    fn workers_that_were_not_lost_to_a_call_say_nothing_of_it() {
        for error in [
            AttemptError::MaybeRan(ConnectionLost::GoneAway),
            AttemptError::NotSent(ConnectionLost::Closed),
        ] {
            let mut losses = Losses::default();
            losses.record("w1", &error, true, Instant::now());
            losses.record("w2", &error, true, Instant::now());
            assert_eq!(losses.blame(), Blame::None);
        }
    }

    fn refused(reason: RefusalReason) -> AttemptError {
        AttemptError::Refused(Refusal {
            reason,
            retry_after_ms: 0,
            message: String::new(),
        })
    }

    fn goes_elsewhere(error: &AttemptError, repeatable: bool) -> bool {
        matches!(judge(error, repeatable), RetryDecision::TryElsewhere { .. })
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
        assert!(matches!(judge(&error, false), RetryDecision::Final(_)));
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
