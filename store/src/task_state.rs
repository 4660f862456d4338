//! The next state of a task when an attempt ends. The time, a random number and the stored values are
//! parameters.

use super::model::{AttemptEnding, AttemptOutcome, StoredTaskState, UnixMillis};
use std::collections::BTreeSet;

/// The longest pause between two attempts that doubling leads to, in milliseconds. A backoff that is longer
/// from the start stays as it is.
const LONGEST_PAUSE: i64 = 60_000;

/// The shortest first pause, in milliseconds, whatever the submitter asked for. Otherwise attempts that fail
/// at once would follow each other as fast as the store can write them.
const SHORTEST_PAUSE: i64 = 100;

/// A task with which this many workers fell silent gets no further attempt: it may be what stops them.
/// Workers that are killed do not count, because the cause is unknown; for those, the allowed number of
/// attempts is the limit.
const MAX_SILENT_WORKERS: usize = 2;

/// The input of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttemptHistory {
    /// The number of attempts, with the one that ends now.
    pub(super) attempt: i64,
    /// The allowed number of attempts.
    pub(super) allowed: i64,
    /// How many attempts in a row were lost before this one.
    pub(super) losses: i64,
    /// The first pause, in milliseconds.
    pub(super) backoff: i64,
    /// The time by which the task must have succeeded.
    pub(super) deadline: Option<UnixMillis>,
}

/// The next state of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NextState {
    pub(super) state: StoredTaskState,
    /// When it may begin again, if it may.
    pub(super) due: UnixMillis,
    pub(super) allowed: i64,
    pub(super) losses: i64,
    /// How the attempt ended.
    pub(super) outcome: AttemptOutcome,
    /// Why it failed.
    pub(super) error: Option<String>,
}

/// Decides. `silent` are the workers that fell silent with the task: that of this attempt, and those of
/// earlier attempts since it was submitted or retried by hand. `chance` is a random number from 0 to 1.
pub(super) fn after_attempt(
    tries: AttemptHistory,
    ending: &AttemptEnding,
    silent: &BTreeSet<String>,
    now: UnixMillis,
    chance: f64,
) -> NextState {
    let (outcome, error, retry) = match ending {
        AttemptEnding::Succeeded { .. } => (AttemptOutcome::Succeeded, None, false),
        AttemptEnding::Failed { error, retry, .. } => {
            (AttemptOutcome::Failed, Some(error.clone()), *retry)
        }
        AttemptEnding::Lost { reason } => (AttemptOutcome::Lost, Some(reason.clone()), true),
        AttemptEnding::Silent { reason } => (AttemptOutcome::Silent, Some(reason.clone()), true),
        AttemptEnding::Refused { reason } => (AttemptOutcome::Refused, Some(reason.clone()), true),
        AttemptEnding::Denied { reason } => (AttemptOutcome::Refused, Some(reason.clone()), false),
        AttemptEnding::DeadlineExceeded => (AttemptOutcome::DeadlineExceeded, None, false),
    };
    let mut next = NextState {
        state: StoredTaskState::Failed,
        due: now,
        allowed: tries.allowed,
        losses: 0,
        outcome,
        error,
    };
    if outcome == AttemptOutcome::Succeeded {
        next.state = StoredTaskState::Succeeded;
        return next;
    }
    if outcome == AttemptOutcome::Refused {
        // It did not run, so it does not count against the allowed attempts.
        next.allowed = next.allowed.saturating_add(1);
    }
    let is_lost = matches!(outcome, AttemptOutcome::Lost | AttemptOutcome::Silent);
    if is_lost {
        next.losses = tries.losses.saturating_add(1);
    }
    let failures = match outcome {
        // The death of a worker is not the task's fault: the task goes on elsewhere at once. If it was no
        // accident, a second loss follows, and that one leads to a pause.
        AttemptOutcome::Lost | AttemptOutcome::Silent => tries.losses,
        _ => tries.attempt,
    };
    next.due = now.saturating_add(pause(tries.backoff, failures, chance));
    let late = tries.deadline.is_some_and(|deadline| next.due >= deadline);
    if outcome == AttemptOutcome::DeadlineExceeded || (retry && late) {
        let why = next.error.map(|error| format!(": {error}"));
        next.error = Some(format!("the deadline passed{}", why.unwrap_or_default()));
        next.due = now;
        return next;
    }
    if !retry {
        next.due = now;
        return next;
    }
    if outcome == AttemptOutcome::Silent && silent.len() >= MAX_SILENT_WORKERS {
        let why = next.error.unwrap_or_default();
        next.error = Some(fatal(silent, &why));
        next.due = now;
        return next;
    }
    if tries.attempt >= next.allowed {
        let why = next.error.unwrap_or_default();
        next.error = Some(given_up(outcome, tries.attempt, next.losses, &why));
        next.due = now;
        return next;
    }
    next.state = if next.due > now {
        StoredTaskState::Delayed
    } else {
        StoredTaskState::Queued
    };
    next
}

fn fatal(workers: &BTreeSet<String>, why: &str) -> String {
    let names: Vec<String> = workers.iter().map(|name| format!("'{name}'")).collect();
    format!(
        "it cost {} workers their lease: {} fell silent while they ran it. It may be what stops them, \
         so it is not taken to another one: {why}",
        workers.len(),
        names.join(" and ")
    )
}

fn given_up(outcome: AttemptOutcome, attempts: i64, losses: i64, why: &str) -> String {
    let times = if attempts == 1 {
        "1 attempt".to_owned()
    } else {
        format!("{attempts} attempts")
    };
    match outcome {
        AttemptOutcome::Lost | AttemptOutcome::Silent if losses > 1 => format!(
            "given up after {times}, the last {losses} of which were lost with their worker: the \
             task may be what kills it: {why}"
        ),
        _ => format!("given up after {times}: {why}"),
    }
}

/// A random pause between half and all of `backoff` (at least [`SHORTEST_PAUSE`]), doubled for each failure
/// after the first, up to a minute or to `backoff` if that is longer. Without a failure there is no pause.
fn pause(backoff: i64, failures: i64, chance: f64) -> i64 {
    if failures <= 0 {
        return 0;
    }
    let doublings = u32::try_from(failures - 1).unwrap_or(u32::MAX).min(30);
    let longest = backoff
        .max(SHORTEST_PAUSE)
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE.max(backoff));
    let half = longest / 2;
    let jitter = (longest - half) as f64 * chance.clamp(0.0, 1.0);
    half + jitter as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = 1_000_000;

    fn after_attempt(
        tries: AttemptHistory,
        ending: &AttemptEnding,
        now: UnixMillis,
        chance: f64,
    ) -> NextState {
        super::after_attempt(tries, ending, &BTreeSet::new(), now, chance)
    }

    fn silent(tries: AttemptHistory, workers: &[&str]) -> NextState {
        let reason = "worker w2 was silent for 4s".to_owned();
        let workers = workers.iter().map(|name| (*name).to_owned()).collect();
        super::after_attempt(tries, &AttemptEnding::Silent { reason }, &workers, NOW, 0.5)
    }

    #[test]
    fn what_two_workers_fell_silent_with_goes_to_no_third() {
        let many = AttemptHistory {
            allowed: 1000,
            ..tries(7)
        };
        let first = silent(many, &["w2"]);
        assert_eq!(
            (first.state, first.outcome, first.losses),
            (StoredTaskState::Queued, AttemptOutcome::Silent, 1)
        );
        let second = silent(many, &["w1", "w2"]);
        assert_eq!((second.state, second.due), (StoredTaskState::Failed, NOW));
        let error = second.error.unwrap();
        assert!(
            error.starts_with("it cost 2 workers their lease: 'w1' and 'w2' fell silent"),
            "{error}"
        );
        assert!(error.ends_with("worker w2 was silent for 4s"), "{error}");
    }

    #[test]
    fn a_worker_that_is_killed_is_not_counted_with_those_that_fell_silent() {
        let many = AttemptHistory {
            allowed: 1000,
            losses: 3,
            ..tries(7)
        };
        let workers = ["w1", "w2"].map(str::to_owned).into();
        let next = super::after_attempt(many, &lost(), &workers, NOW, 0.5);
        assert_eq!(next.state, StoredTaskState::Delayed);
    }

    fn tries(attempt: i64) -> AttemptHistory {
        AttemptHistory {
            attempt,
            allowed: 3,
            losses: 0,
            backoff: 500,
            deadline: None,
        }
    }

    fn lost() -> AttemptEnding {
        let reason = "worker w1 is gone".to_owned();
        AttemptEnding::Lost { reason }
    }

    fn failed(retry: bool) -> AttemptEnding {
        let error = "sold out".to_owned();
        let value = None;
        AttemptEnding::Failed {
            error,
            value,
            retry,
        }
    }

    #[test]
    fn a_result_is_the_end() {
        let ending = AttemptEnding::Succeeded { result: vec![1] };
        let next = after_attempt(tries(1), &ending, NOW, 0.5);
        assert_eq!((next.state, next.error), (StoredTaskState::Succeeded, None));
    }

    #[test]
    fn the_objects_error_is_final_unless_it_may_be_retried() {
        let next = after_attempt(tries(1), &failed(false), NOW, 0.5);
        assert_eq!(next.state, StoredTaskState::Failed);
        assert_eq!(next.error.unwrap(), "sold out");
        let next = after_attempt(tries(1), &failed(true), NOW, 1.0);
        assert_eq!(
            (next.state, next.due),
            (StoredTaskState::Delayed, NOW + 500)
        );
        let next = after_attempt(tries(2), &failed(true), NOW, 0.0);
        assert_eq!(
            (next.state, next.due),
            (StoredTaskState::Delayed, NOW + 500)
        );
    }

    #[test]
    fn a_lost_attempt_goes_on_at_once_and_a_second_loss_waits() {
        let first = after_attempt(tries(1), &lost(), NOW, 0.5);
        assert_eq!((first.state, first.due), (StoredTaskState::Queued, NOW));
        let second = AttemptHistory {
            losses: first.losses,
            ..tries(2)
        };
        let second = after_attempt(second, &lost(), NOW, 1.0);
        assert_eq!(
            (second.state, second.due),
            (StoredTaskState::Delayed, NOW + 500)
        );
        assert_eq!(second.losses, 2);
    }

    #[test]
    fn what_kills_its_workers_stops_after_the_last_attempt_and_says_so() {
        let last = AttemptHistory {
            losses: 2,
            ..tries(3)
        };
        let next = after_attempt(last, &lost(), NOW, 0.5);
        assert_eq!(
            (next.state, next.outcome),
            (StoredTaskState::Failed, AttemptOutcome::Lost)
        );
        let error = next.error.unwrap();
        assert!(error.contains("after 3 attempts"), "{error}");
        assert!(error.contains("may be what kills it"), "{error}");
        assert!(error.contains("worker w1 is gone"), "{error}");
    }

    #[test]
    fn a_refusal_does_not_count_but_waits() {
        let reason = "overloaded".to_owned();
        let next = after_attempt(tries(3), &AttemptEnding::Refused { reason }, NOW, 0.0);
        assert_eq!((next.state, next.allowed), (StoredTaskState::Delayed, 4));
        assert!(next.due > NOW);
    }

    #[test]
    fn nothing_is_begun_again_that_cannot_be_in_time() {
        let hurried = AttemptHistory {
            deadline: Some(NOW + 100),
            ..tries(1)
        };
        let next = after_attempt(hurried, &failed(true), NOW, 0.0);
        assert_eq!(next.state, StoredTaskState::Failed);
        assert_eq!(next.error.unwrap(), "the deadline passed: sold out");
        let next = after_attempt(tries(1), &AttemptEnding::DeadlineExceeded, NOW, 0.0);
        assert_eq!(next.error.unwrap(), "the deadline passed");
        assert_eq!(next.outcome, AttemptOutcome::DeadlineExceeded);
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses: Vec<_> = (0..10).map(|n| pause(500, n, 1.0)).collect();
        assert_eq!(
            pauses,
            [
                0, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000
            ]
        );
        assert_eq!(pause(500, 3, 0.0), 1000);
        let long = 5 * LONGEST_PAUSE;
        assert_eq!([1, 2, 9].map(|n| pause(long, n, 1.0)), [long; 3]);
        assert_eq!(pause(i64::MAX, i64::MAX, 1.0), i64::MAX);
        assert_eq!(pause(-5, 1, 1.0), SHORTEST_PAUSE);
    }

    #[test]
    fn without_a_backoff_the_pauses_rise_all_the_same() {
        let reason = "nobody is there".to_owned();
        let refused = AttemptEnding::Refused { reason };
        let pauses = (1..=12).map(|attempt| {
            // Each refusal has allowed one more attempt.
            let tries = AttemptHistory {
                backoff: 0,
                allowed: attempt + 2,
                ..tries(attempt)
            };
            after_attempt(tries, &refused, NOW, 1.0).due - NOW
        });
        let pauses: Vec<i64> = pauses.collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[11], LONGEST_PAUSE);
    }

    #[test]
    fn what_is_denied_fails_at_once() {
        let reason = "'ana' (user) may not call echo.sleep".to_owned();
        let next = after_attempt(tries(1), &AttemptEnding::Denied { reason }, NOW, 0.5);
        assert_eq!(next.state, StoredTaskState::Failed);
        assert_eq!(next.outcome, AttemptOutcome::Refused);
        assert!(next.error.unwrap().ends_with("may not call echo.sleep"));
    }
}
