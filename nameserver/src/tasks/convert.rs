//! Converts between the interface and the store.

use pyroxene_common::{
    identity::Role,
    interfaces::tasks::{
        AttemptResult, DEFAULT_RUN_LIMIT_MS, MAX_ATTEMPTS, Submission, Task, TaskAttempt,
        TaskFailure, TaskFilter, TaskId, TaskState, TaskStatus, TasksError,
    },
    message::Progress,
    values::check_depth,
};
use pyroxene_store::{self as store, StoreError};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, time::Duration};

/// The longest time in a submission, in milliseconds: ten years.
const LONGEST: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// The most tasks in one list.
pub(super) const LONGEST_LIST: u32 = 1_000;

/// The error for the caller when the store failed.
pub(crate) fn store_failed(error: StoreError) -> TasksError {
    match error {
        StoreError::Unavailable(sentence) => TasksError::Unavailable { sentence },
        StoreError::Closed => TasksError::Unavailable {
            sentence: error.to_string(),
        },
        StoreError::Invalid(sentence) => TasksError::Invalid { sentence },
        other => TasksError::Broken {
            sentence: other.to_string(),
        },
    }
}

fn invalid(sentence: impl Into<String>) -> TasksError {
    let sentence = sentence.into();
    TasksError::Invalid { sentence }
}

/// The task to store for a submission.
pub(crate) fn new_task(
    submission: Submission,
    submitter: &str,
    certificate_role: Option<Role>,
    trace: Option<&str>,
) -> Result<store::NewStoredTask, TasksError> {
    let Submission {
        object,
        method,
        arguments,
        key,
        priority,
        delay_ms,
        deadline_ms,
        max_attempts,
        backoff_ms,
        run_limit_ms,
        worker,
    } = submission;
    if object.is_empty() || method.is_empty() {
        return Err(invalid("a task needs the names of an object and a method"));
    }
    // Not parsed any further: the arguments may be large, and the object knows their types.
    let parsed = serde_json::from_str::<HashMap<String, &RawValue>>(&arguments);
    if let Err(error) = parsed {
        return Err(invalid(format!(
            "the arguments of {object}.{method} are no JSON object: {error}"
        )));
    }
    check_depth(&arguments).map_err(invalid)?;
    if max_attempts == 0 {
        return Err(invalid("a task needs at least one attempt"));
    }
    if max_attempts > MAX_ATTEMPTS {
        return Err(invalid(format!(
            "{max_attempts} attempts are beyond the limit of {MAX_ATTEMPTS}"
        )));
    }
    if let Some(deadline_ms) = deadline_ms
        && delay_ms >= deadline_ms
    {
        return Err(invalid(format!(
            "the task would never run: its delay of {:?} is not shorter than its deadline of {:?}",
            Duration::from_millis(delay_ms),
            Duration::from_millis(deadline_ms)
        )));
    }
    if worker.as_ref().is_some_and(String::is_empty) {
        return Err(invalid("the name of the worker is empty"));
    }
    let millis = |ms: u64| Duration::from_millis(ms.min(LONGEST));
    Ok(store::NewStoredTask {
        object,
        method,
        arguments: arguments.into_bytes(),
        submitter: submitter.to_owned(),
        certificate_role: certificate_role.map(|role| role.name().to_owned()),
        idempotency_key: Some(key).filter(|key| !key.is_empty()),
        priority,
        delay: millis(delay_ms),
        deadline: deadline_ms.map(millis),
        max_attempts,
        backoff: millis(backoff_ms),
        run_limit: millis(run_limit_ms.unwrap_or(DEFAULT_RUN_LIMIT_MS)),
        worker,
        trace: trace.map(str::to_owned),
        batch: None,
    })
}

pub(crate) fn task_id(id: store::StoredTaskId) -> TaskId {
    TaskId(id.to_string())
}

pub(super) fn unknown(id: &TaskId) -> TasksError {
    let id = id.0.chars().take(64).collect();
    TasksError::Unknown { id }
}

/// The only one of what was found by the beginning of an id, if anything was. `what` names several of its kind.
pub(super) fn only<T: Copy>(
    found: &[T],
    what: &str,
    prefix: &str,
) -> Result<Option<T>, TasksError> {
    match found {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        _ => Err(TasksError::Invalid {
            sentence: format!(
                "several {what} have ids that begin with '{prefix}'; give more of it"
            ),
        }),
    }
}

pub(super) fn state(state: store::StoredTaskState) -> TaskState {
    match state {
        store::StoredTaskState::Queued | store::StoredTaskState::Delayed => TaskState::Queued,
        store::StoredTaskState::Running => TaskState::Running,
        store::StoredTaskState::Succeeded => TaskState::Succeeded,
        store::StoredTaskState::Failed => TaskState::Failed,
        store::StoredTaskState::Cancelled => TaskState::Cancelled,
    }
}

fn store_states(states: &[TaskState]) -> Vec<store::StoredTaskState> {
    let mut all = Vec::new();
    for state in states {
        match state {
            TaskState::Queued => {
                all.extend([
                    store::StoredTaskState::Queued,
                    store::StoredTaskState::Delayed,
                ]);
            }
            TaskState::Running => all.push(store::StoredTaskState::Running),
            TaskState::Succeeded => all.push(store::StoredTaskState::Succeeded),
            TaskState::Failed => all.push(store::StoredTaskState::Failed),
            TaskState::Cancelled => all.push(store::StoredTaskState::Cancelled),
        }
    }
    all
}

/// The store's filter. `before` is the parsed id of the filter, and `only_of` the submitter whose tasks alone
/// may be seen.
pub(super) fn filter(
    filter: TaskFilter,
    before: Option<store::StoredTaskId>,
    only_of: Option<&str>,
) -> Result<store::StoredTaskFilter, TasksError> {
    if let (Some(name), Some(wanted)) = (only_of, &filter.submitter)
        && name != wanted
    {
        let sentence = format!("'{name}' may not see the tasks of other users");
        return Err(TasksError::Denied { sentence });
    }
    Ok(store::StoredTaskFilter {
        states: store_states(&filter.states),
        object: filter.object,
        method: filter.method,
        worker: filter.worker,
        submitter: only_of.map(str::to_owned).or(filter.submitter),
        batch: None,
        before,
    })
}

fn outcome(outcome: store::AttemptOutcome) -> AttemptResult {
    match outcome {
        store::AttemptOutcome::Succeeded => AttemptResult::Succeeded,
        store::AttemptOutcome::Failed => AttemptResult::Failed,
        store::AttemptOutcome::Lost | store::AttemptOutcome::Silent => AttemptResult::Lost,
        store::AttemptOutcome::Refused => AttemptResult::Refused,
        store::AttemptOutcome::DeadlineExceeded => AttemptResult::Late,
        store::AttemptOutcome::Cancelled => AttemptResult::Cancelled,
    }
}

fn millis(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

fn number(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn attempt(attempt: store::StoredAttempt) -> TaskAttempt {
    TaskAttempt {
        number: number(attempt.number),
        worker: attempt.worker,
        started_ms: millis(attempt.started),
        ended_ms: attempt.ended.map(millis),
        outcome: attempt.outcome.map(outcome),
        reason: attempt.error,
    }
}

fn progress(fraction: Option<f64>, note: Option<String>) -> Option<Progress> {
    if fraction.is_none() && note.is_none() {
        return None;
    }
    Some(Progress {
        fraction: fraction.unwrap_or(0.0),
        note: note.unwrap_or_default(),
    })
}

/// The result or the error of a final state.
fn ending(
    state: store::StoredTaskState,
    result: Option<Vec<u8>>,
    error: Option<String>,
) -> (Option<String>, Option<TaskFailure>) {
    let value = result.map(text);
    match state {
        store::StoredTaskState::Succeeded => (value, None),
        store::StoredTaskState::Failed => {
            let sentence = error.unwrap_or_default();
            (None, Some(TaskFailure { sentence, value }))
        }
        _ => (None, None),
    }
}

pub(crate) fn task(task: store::StoredTask) -> Task {
    let (result, error) = ending(task.state, task.result, task.error);
    Task {
        id: task_id(task.id),
        object: task.object,
        method: task.method,
        arguments: task.arguments.map(text),
        submitter: task.submitter,
        worker: task.worker,
        state: state(task.state),
        priority: i32::try_from(task.priority).unwrap_or_default(),
        submitted_ms: millis(task.submitted),
        due_ms: millis(task.due),
        deadline_ms: task.deadline.map(millis),
        ended_ms: task.ended.map(millis),
        max_attempts: number(task.max_attempts),
        tries: number(task.counted_attempts),
        run_limit_ms: millis(task.run_limit),
        attempts: task.attempts.into_iter().map(attempt).collect(),
        progress: progress(task.fraction, task.note),
        result,
        error,
    }
}

/// The status of a task that has not ended.
pub(super) fn open_status(task: store::StoredTask) -> TaskStatus {
    let worker = task.attempts.last().and_then(|last| last.worker.clone());
    let mut status = TaskStatus {
        id: task_id(task.id),
        version: 0,
        state: state(task.state),
        attempt: number(task.attempt),
        worker,
        progress: progress(task.fraction, task.note),
        result: None,
        error: None,
    };
    status.version = version(&status);
    status
}

/// The status of a task that has ended.
pub(super) fn ended_status(settlement: store::TaskResult) -> TaskStatus {
    let state = settlement.state;
    let (result, error) = ending(state, settlement.result, settlement.error);
    let mut status = TaskStatus {
        id: task_id(settlement.id),
        version: 0,
        state: self::state(state),
        attempt: number(settlement.attempt),
        worker: settlement.worker,
        progress: None,
        result,
        error,
    };
    status.version = version(&status);
    status
}

/// A number that changes whenever the status changes. It is computed from the status, so it is stored
/// nowhere. It must be the same at every name server, whatever its build and machine: the first eight bytes
/// of the SHA-256 of the fields, each in a fixed form.
fn version(status: &TaskStatus) -> u64 {
    let mut hash = Sha256::new();
    hash.update([status.state as u8]);
    hash.update(status.attempt.to_le_bytes());
    let mut text = |text: Option<&str>| {
        // Each text is preceded by its length, so that no two statuses have the same bytes.
        let length = text.map_or(u64::MAX, |text| text.len() as u64);
        hash.update(length.to_le_bytes());
        hash.update(text.unwrap_or_default());
    };
    text(status.worker.as_deref());
    text(status.progress.as_ref().map(|progress| &*progress.note));
    if let Some(progress) = &status.progress {
        hash.update(progress.fraction.to_bits().to_le_bytes());
    }
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.finalize().into();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::fixture;

    fn submission() -> Submission {
        Submission {
            arguments: r#"{"data":"x"}"#.to_owned(),
            priority: 1,
            delay_ms: 4,
            deadline_ms: Some(5),
            backoff_ms: 0,
            ..fixture::submission("echo", "echo")
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_sentence() {
        let of = |change: fn(&mut Submission)| {
            let mut wrong = submission();
            change(&mut wrong);
            new_task(wrong, "ana", None, None).unwrap_err().to_string()
        };
        assert!(of(|s| s.arguments = "[1]".to_owned()).contains("no JSON object"));
        assert!(of(|s| s.object.clear()).contains("names of an object"));
        let deep = |s: &mut Submission| {
            s.arguments = format!(r#"{{"data":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        };
        assert!(of(deep).contains("nested deeper than 127 levels"));
        assert!(of(|s| s.max_attempts = 0).contains("at least one attempt"));
        assert!(of(|s| s.max_attempts = 1001).contains("the limit of 1000"));
        assert!(of(|s| s.worker = Some(String::new())).contains("worker is empty"));
        let late = of(|s| (s.delay_ms, s.deadline_ms) = (60_000, Some(5_000)));
        assert!(
            late.contains("its delay of 60s is not shorter than its deadline of 5s"),
            "{late}"
        );
    }

    #[test]
    fn an_empty_key_is_none_and_times_are_bounded() {
        let task = new_task(submission(), "ana", None, None).unwrap();
        assert_eq!(task.idempotency_key, None);
        assert_eq!(task.submitter, "ana");
        assert_eq!(task.deadline, Some(Duration::from_millis(5)));
        let mut long = submission();
        (long.delay_ms, long.deadline_ms) = (u64::MAX, None);
        let task = new_task(long, "ana", None, None).unwrap();
        assert_eq!(task.delay, Duration::from_millis(LONGEST));
    }

    #[test]
    fn a_user_lists_no_tasks_of_others() {
        let wanted = |submitter: Option<&str>| TaskFilter {
            submitter: submitter.map(str::to_owned),
            ..TaskFilter::default()
        };
        let found = filter(wanted(None), None, Some("ana")).unwrap();
        assert_eq!(found.submitter.as_deref(), Some("ana"));
        assert!(filter(wanted(Some("bob")), None, Some("ana")).is_err());
        let found = filter(wanted(Some("bob")), None, None).unwrap();
        assert_eq!(found.submitter.as_deref(), Some("bob"));
    }

    #[test]
    fn the_version_is_the_same_whatever_computes_it() {
        let status = TaskStatus {
            id: TaskId("x".to_owned()),
            version: 0,
            state: TaskState::Running,
            attempt: 2,
            worker: Some("w1".to_owned()),
            progress: Some(Progress {
                fraction: 0.5,
                note: "half".to_owned(),
            }),
            result: None,
            error: None,
        };
        // As Python's hashlib computes it.
        assert_eq!(version(&status), 0x9954_dab5_dc5c_d04d);
    }

    #[test]
    fn the_version_changes_with_the_status() {
        let mut status = TaskStatus {
            id: TaskId("x".to_owned()),
            version: 0,
            state: TaskState::Queued,
            attempt: 0,
            worker: None,
            progress: None,
            result: None,
            error: None,
        };
        let mut seen = vec![version(&status)];
        status.state = TaskState::Running;
        seen.push(version(&status));
        status.worker = Some("w1".to_owned());
        seen.push(version(&status));
        status.progress = Some(Progress::default());
        seen.push(version(&status));
        let mut distinct = seen.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), seen.len());
        assert_eq!(seen.last(), Some(&version(&status)));
    }
}
