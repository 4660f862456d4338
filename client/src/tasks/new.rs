//! A task before it is submitted.

use super::error::TaskError;
use pyroxene_common::interfaces::tasks::{DEFAULT_BACKOFF_MS, DEFAULT_MAX_ATTEMPTS, Submission};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// A task to submit: a method of an object, its arguments, and its options.
///
/// ```
/// # use std::time::Duration;
/// let task = pyroxene_client::NewTask::new("calculator", "factorial")
///     .argument("n", 1000)
///     .priority(5)
///     .deadline(Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug)]
pub struct NewTask {
    submission: Submission,
    arguments: TaskArguments,
    /// Whether the caller set a key.
    has_key: bool,
}

#[derive(Clone, Debug)]
enum TaskArguments {
    Values(BTreeMap<String, Box<RawValue>>),
    /// A JSON object as text.
    Text(String),
    /// An argument cannot be serialised as JSON.
    Invalid(String),
}

impl NewTask {
    /// A task without arguments and with the default options.
    pub fn new(object: impl Into<String>, method: impl Into<String>) -> Self {
        Self {
            submission: Submission {
                object: object.into(),
                method: method.into(),
                arguments: String::new(),
                key: String::new(),
                priority: 0,
                delay_ms: 0,
                deadline_ms: None,
                max_attempts: DEFAULT_MAX_ATTEMPTS,
                backoff_ms: DEFAULT_BACKOFF_MS,
                run_limit_ms: None,
                worker: None,
            },
            arguments: TaskArguments::Values(BTreeMap::new()),
            has_key: false,
        }
    }

    /// Adds a named argument. If it cannot be serialised as JSON, the submission returns the error.
    ///
    /// ```
    /// use pyroxene_client::NewTask;
    ///
    /// // An argument is any value that serde can write as JSON: numbers, lists, structs.
    /// let task = NewTask::new("calculator", "matrix_multiply")
    ///     .argument("a", [[1, 2], [3, 4]])
    ///     .argument("b", [[0.5], [0.25]]);
    /// ```
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match (&mut self.arguments, to_raw_value(&value)) {
            (TaskArguments::Values(values), Ok(value)) => {
                values.insert(name, value);
            }
            (TaskArguments::Values(_), Err(error)) => {
                self.arguments = TaskArguments::Invalid(format!("argument '{name}': {error}"));
            }
            (TaskArguments::Text(text), value) => {
                let values = serde_json::from_str(text).map_err(|error| error.to_string());
                self.arguments = values.map_or_else(TaskArguments::Invalid, TaskArguments::Values);
                return match value {
                    Ok(value) => self.argument(name, value),
                    Err(_) => self,
                };
            }
            (TaskArguments::Invalid(_), _) => {}
        }
        self
    }

    /// Sets all arguments at once, as the text of a JSON object.
    ///
    /// ```
    /// use pyroxene_client::NewTask;
    ///
    /// let task = NewTask::new("accounts", "transfer")
    ///     .arguments(r#"{"from": "ana", "to": "ben", "amount": "12.50"}"#)
    ///     .argument("request_id", "invoice-4711");
    /// ```
    #[must_use]
    pub fn arguments(mut self, text: impl Into<String>) -> Self {
        self.arguments = TaskArguments::Text(text.into());
        self
    }

    /// Sets the key. Two submissions of one caller with the same key are one task. Without a key, each
    /// submission is a separate task.
    ///
    /// ```no_run
    /// use pyroxene_client::{NewTask, TaskError};
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let task = NewTask::new("hash", "sha256")
    ///     .argument("text", "abc")
    ///     .key("report-2026-11-30");
    /// let handle = match client.submit(task.clone()).await {
    ///     // The answer was lost. The key makes sure that there is only one task.
    ///     Err(TaskError::MaybeSubmitted { .. }) => client.submit(task).await?,
    ///     submitted => submitted?,
    /// };
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.submission.key = key.into();
        self.has_key = true;
        self
    }

    /// Sets the priority. Of one submitter's tasks, those with a greater priority start first. The default
    /// is 0. A task with a priority above 1,000 starts before the tasks of all other submitters; only admins
    /// and workers may submit such tasks.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.submission.priority = priority;
        self
    }

    /// How long to wait before the task may start.
    ///
    /// ```
    /// use pyroxene_client::NewTask;
    /// use std::time::Duration;
    ///
    /// // The task starts an hour after its submission at the earliest, and fails an hour later.
    /// let hour = Duration::from_secs(3600);
    /// let task = NewTask::new("echo", "sleep")
    ///     .argument("ms", 100)
    ///     .delay(hour)
    ///     .deadline(2 * hour);
    /// ```
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.submission.delay_ms = milliseconds(delay);
        self
    }

    /// The time after its submission within which the task must succeed.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.submission.deadline_ms = Some(milliseconds(deadline));
        self
    }

    /// The maximum number of attempts. The default is 3.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.submission.max_attempts = attempts;
        self
    }

    /// The pause before the second attempt, at least 100 milliseconds. Each further pause is twice as long.
    /// The default is 500 milliseconds.
    ///
    /// ```
    /// use pyroxene_client::NewTask;
    /// use std::time::Duration;
    ///
    /// // Up to five attempts, with pauses of 1, 2, 4 and 8 seconds between them.
    /// let task = NewTask::new("accounts", "query")
    ///     .argument("user", "ana")
    ///     .max_attempts(5)
    ///     .backoff(Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn backoff(mut self, backoff: Duration) -> Self {
        self.submission.backoff_ms = milliseconds(backoff);
        self
    }

    /// How long an attempt may take. The default is one hour. An attempt that takes longer is ended, and
    /// counts.
    #[must_use]
    pub fn run_limit(mut self, limit: Duration) -> Self {
        self.submission.run_limit_ms = Some(milliseconds(limit));
        self
    }

    /// The only worker that may run the task.
    ///
    /// ```
    /// use pyroxene_client::NewTask;
    ///
    /// // The task waits while this worker is down, although other workers host the object.
    /// let task = NewTask::new("echo", "whoami").worker("w1");
    /// ```
    #[must_use]
    pub fn worker(mut self, worker: impl Into<String>) -> Self {
        self.submission.worker = Some(worker.into());
        self
    }

    /// The submission as it is sent, with a generated key if the caller set none.
    pub(super) fn into_submission(self) -> Result<Submission, TaskError> {
        let has_key = self.has_key;
        let mut submission = self.into_unkeyed()?;
        if !has_key {
            // A key that grows with time is found quickly in an index of any size.
            submission.key = Uuid::now_v7().simple().to_string();
        }
        Ok(submission)
    }

    /// The submission as it is sent in a batch: the batch has a key, and its tasks have none.
    pub(super) fn into_batch_submission(self) -> Result<Submission, TaskError> {
        match self.has_key {
            false => self.into_unkeyed(),
            true => Err(TaskError::Invalid {
                sentence: "a task of a batch has no key of its own; the batch has one".to_owned(),
            }),
        }
    }

    /// The submission with the key that the caller set, if any.
    fn into_unkeyed(self) -> Result<Submission, TaskError> {
        let invalid = |sentence: String| TaskError::Invalid { sentence };
        let mut submission = self.submission;
        submission.arguments = match self.arguments {
            TaskArguments::Values(values) => {
                serde_json::to_string(&values).map_err(|error| invalid(error.to_string()))?
            }
            TaskArguments::Text(text) => text,
            TaskArguments::Invalid(sentence) => return Err(invalid(sentence)),
        };
        Ok(submission)
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_the_defaults_and_a_key_of_its_own() {
        let task = NewTask::new("calculator", "factorial").argument("n", 30);
        let submissions = [task.clone(), task].map(|task| task.into_submission().unwrap());
        assert_eq!(submissions[0].arguments, r#"{"n":30}"#);
        assert_eq!(
            (submissions[0].max_attempts, submissions[0].backoff_ms),
            (3, 500)
        );
        assert_eq!(submissions[0].key.len(), 32);
        assert_ne!(submissions[0].key, submissions[1].key);
    }

    #[test]
    fn what_is_set_travels() {
        let submission = NewTask::new("o", "m")
            .arguments(r#"{"a":1.50}"#)
            .key("k")
            .priority(-1)
            .delay(Duration::from_secs(1))
            .deadline(Duration::from_secs(2))
            .max_attempts(7)
            .backoff(Duration::from_millis(3))
            .run_limit(Duration::from_secs(4))
            .worker("w1")
            .into_submission()
            .unwrap();
        let expected = Submission {
            object: "o".into(),
            method: "m".into(),
            arguments: r#"{"a":1.50}"#.into(),
            key: "k".into(),
            priority: -1,
            delay_ms: 1000,
            deadline_ms: Some(2000),
            max_attempts: 7,
            backoff_ms: 3,
            run_limit_ms: Some(4000),
            worker: Some("w1".into()),
        };
        assert_eq!(submission, expected);
    }

    #[test]
    fn arguments_are_added_to_text_and_wrong_ones_are_told_about() {
        let task = NewTask::new("o", "m").arguments(r#"{"a":1.50}"#);
        let submission = task.argument("b", [1, 2]).into_submission().unwrap();
        assert_eq!(submission.arguments, r#"{"a":1.50,"b":[1,2]}"#);
        let keyed_by_lists = std::collections::HashMap::from([(vec![1], 1)]);
        let wrong = NewTask::new("o", "m").argument("a", keyed_by_lists);
        let error = wrong.argument("b", 1).into_submission().unwrap_err();
        assert_eq!(error.to_string(), "argument 'a': key must be a string");
    }
}
