//! The failures for errors that several commands have.

use super::{Exit, Failure, problem_hints};
use pyroxene_certs::CertsError;
use pyroxene_client::{CallError, DynamicError, InvalidConfig, Problem, TaskError};
use pyroxene_common::{
    channel::{StreamError, StreamFailure},
    interfaces::{directory::DirectoryError, invoke::InvokeError},
};
use pyroxene_nameserver::users::UsersError;
use pyroxene_objects::AccountsDatabaseError;
use std::error::Error;

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let exit = match &error {
            // The call did not run and will not: it cannot be sent.
            CallError::NotSent(_) => Exit::Usage,
            // Not `Unavailable`: a script must not take this for "it has not run, try again".
            CallError::MaybeRan(_)
            | CallError::Failed(_)
            | CallError::SessionLost(_)
            | CallError::Gone(_) => Exit::Failed,
            CallError::DeadlineExceeded(_) => Exit::DeadlineExceeded,
            CallError::Refused(_) => Exit::Refused,
            CallError::Unavailable(_) => Exit::Unavailable,
        };
        let trail = error.attempt_log();
        let sentence = match (&error, &trail.reason) {
            // There was no attempt, so there is only the reason to report.
            (CallError::Unavailable(_), Some(reason)) if trail.attempts.is_empty() => {
                format!("object '{}' is unavailable: {reason}", trail.object)
            }
            (CallError::DeadlineExceeded(_), Some(reason)) if trail.attempts.is_empty() => {
                format!(
                    "object '{}' was not found before the deadline: {reason}",
                    trail.object
                )
            }
            (CallError::Refused(_), Some(reason)) if trail.attempts.is_empty() => {
                // A reason about a limit begins with "refused: " already.
                let reason = reason.strip_prefix("refused: ").unwrap_or(reason);
                format!("object '{}' was refused: {reason}", trail.object)
            }
            (CallError::Refused(_), None) if !trail.may_have_run() => error.last_reason(),
            _ => error.to_string(),
        };
        let problem = error.problem();
        Self::new(exit, sentence).hint_at(problem)
    }
}

impl From<DynamicError> for Failure {
    fn from(error: DynamicError) -> Self {
        match error {
            DynamicError::Call(error) => error.into(),
            DynamicError::Object(error) => error.into(),
            DynamicError::Stream(error) => error.into(),
            DynamicError::Unreadable(_) => Self::new(Exit::Failed, error.to_string()),
        }
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        let exit = match &error.failure {
            StreamFailure::DeadlineExceeded => Exit::DeadlineExceeded,
            _ => Exit::Failed,
        };
        let mut sentence = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            sentence = format!("{sentence}: {error}");
            cause = error.source();
        }
        Self::new(exit, sentence)
    }
}

impl From<InvokeError> for Failure {
    fn from(error: InvokeError) -> Self {
        let exit = match &error {
            InvokeError::UnknownMethod { .. } | InvokeError::BadArguments { .. } => Exit::Usage,
            InvokeError::Failed { .. }
            | InvokeError::NotRepeatable { .. }
            | InvokeError::Unpresentable { .. } => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        let exit = match &error {
            DirectoryError::Invalid { .. } => Exit::Usage,
            DirectoryError::Denied { .. } | DirectoryError::Limited { .. } => Exit::Refused,
            DirectoryError::UnknownName { .. }
            | DirectoryError::UnknownWorker { .. }
            | DirectoryError::Unavailable { .. } => Exit::Unavailable,
            DirectoryError::UnknownSession
            | DirectoryError::TooOld
            | DirectoryError::NameTaken { .. }
            | DirectoryError::ObjectTaken { .. }
            | DirectoryError::Full { .. } => Exit::Failed,
        };
        let is_limited = matches!(error, DirectoryError::Limited { .. });
        Self::new(exit, error.to_string()).hint_at(is_limited.then_some(Problem::LimitReached))
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        /// The least length of the beginning of an id, as the store demands.
        const LEAST_PREFIX: usize = 4;
        if let TaskError::Unknown { id } = &error
            && id
                .chars()
                .all(|digit| digit.is_ascii_hexdigit() || digit == '-')
            && id.chars().filter(|digit| *digit != '-').count() < LEAST_PREFIX
        {
            return Self::usage(format!(
                "'{id}' is too short: the beginning of a task's id needs at least {LEAST_PREFIX} characters"
            ))
            .hint("see 'pyroxene tasks list'");
        }
        if let TaskError::PartlySubmitted { key, cause, .. } = &error {
            let exit = Self::from((**cause).clone()).exit;
            return Self::new(exit, error.to_string()).hint(repeat_hint(key));
        }
        let exit = match &error {
            TaskError::Failed { .. } | TaskError::Cancelled => Exit::Failed,
            TaskError::DeadlineExceeded => Exit::DeadlineExceeded,
            TaskError::Unknown { .. }
            | TaskError::UnknownBatch { .. }
            | TaskError::UnknownSchedule { .. }
            | TaskError::Unavailable { .. }
            | TaskError::MaybeSubmitted { .. }
            | TaskError::PartlySubmitted { .. }
            | TaskError::MaybeChanged { .. } => Exit::Unavailable,
            TaskError::Refused { .. } => Exit::Refused,
            TaskError::Invalid { .. } => Exit::Usage,
        };
        let sentence = error.to_string();
        let hint = match &error {
            TaskError::Unknown { .. } => Some("see 'pyroxene tasks list'".to_owned()),
            TaskError::UnknownBatch { .. } => None,
            TaskError::UnknownSchedule { .. } => Some("see 'pyroxene schedules list'".to_owned()),
            TaskError::MaybeSubmitted { keys, .. } => resubmit_hint(keys),
            TaskError::MaybeChanged { id, .. } => Some(format!("see 'pyroxene tasks show {id}'")),
            _ => error.problem().map(problem_hints::hint).map(str::to_owned),
        };
        Self::new(exit, sentence).hint_if_known(hint)
    }
}

/// The hint for a batch of which a part was submitted.
pub(crate) fn repeat_hint(key: &str) -> String {
    format!(
        "submit the same lines again with --key {key}: the rest is added to the same batch, and no task is doubled"
    )
}

/// The hint for a task that may have been submitted.
fn resubmit_hint(keys: &[String]) -> Option<String> {
    let [key] = keys else {
        return Some("see 'pyroxene tasks list'".to_owned());
    };
    Some(format!(
        "submit it again with --key {key}: with the same key it stays one task; or see 'pyroxene tasks list'"
    ))
}

impl From<CertsError> for Failure {
    fn from(error: CertsError) -> Self {
        let (exit, hint) = match &error {
            CertsError::InvalidName { .. }
            | CertsError::InvalidSan(_)
            | CertsError::InvalidDays(_) => (Exit::Usage, None),
            CertsError::NoAuthority { .. } => (
                Exit::Failed,
                Some("make one with 'pyroxene certs init', or say where it is with --dir"),
            ),
            CertsError::Expired { .. } => (
                Exit::Failed,
                Some("make a new one in another directory with 'pyroxene certs init'"),
            ),
            CertsError::OutlivesAuthority { .. } => {
                (Exit::Failed, Some("ask for fewer days with --days"))
            }
            CertsError::Exists { .. }
            | CertsError::NotAFile { .. }
            | CertsError::Unreadable { .. }
            | CertsError::CannotWrite { .. }
            | CertsError::Unusable { .. }
            | CertsError::NotACertificate { .. }
            | CertsError::InvalidTime
            | CertsError::CannotGenerate(_) => (Exit::Failed, None),
        };
        Self::new(exit, error.to_string()).hint_if_known(hint)
    }
}

impl From<AccountsDatabaseError> for Failure {
    fn from(error: AccountsDatabaseError) -> Self {
        // A daemon that cannot start, for whatever reason.
        Self::new(Exit::Failed, error.to_string())
    }
}

impl From<UsersError> for Failure {
    fn from(error: UsersError) -> Self {
        let (exit, hint) = match &error {
            UsersError::Missing { .. } => (
                Exit::Usage,
                Some("'pyroxene users add' makes one; say where it is with --users"),
            ),
            UsersError::Exposed { path, .. } => {
                let command = format!("restrict it with 'chmod 600 {}'", path.display());
                return Self::usage(error.to_string()).hint(command);
            }
            UsersError::Exists { .. } => (
                Exit::Usage,
                Some("'pyroxene users rotate' gives a user a new token"),
            ),
            UsersError::Unknown { .. } => (Exit::Usage, Some("see 'pyroxene users list'")),
            UsersError::Invalid { .. } | UsersError::InvalidName(_) | UsersError::Full => {
                (Exit::Usage, None)
            }
            UsersError::Unreadable { .. }
            | UsersError::CannotWrite { .. }
            | UsersError::NoKey(_) => (Exit::Failed, None),
        };
        Self::new(exit, error.to_string()).hint_if_known(hint)
    }
}

impl From<InvalidConfig> for Failure {
    fn from(error: InvalidConfig) -> Self {
        Self::usage(error.to_string())
    }
}

/// The reason why a name server did not answer, without the name of the request.
pub(crate) fn without_answer(error: CallError) -> Failure {
    // Earlier attempts failed for the same reason, or for one that counts no longer.
    let reason = match error.attempts() {
        [.., last] => causes(&last.error),
        [] => error.last_reason(),
    };
    let problem = error.problem();
    let exit = match Failure::from(error).exit {
        // Every request is safe to repeat, so a lost answer counts as no answer.
        Exit::Failed => Exit::Unavailable,
        // For the user a name server that does not answer in time is unavailable.
        Exit::DeadlineExceeded => Exit::Unavailable,
        exit => exit,
    };
    Failure::new(exit, reason).hint_at(problem)
}

/// The deepest cause of an error. The errors in between say only that nothing was sent.
fn causes(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_client::{Attempt, AttemptLog};
    use pyroxene_common::channel::{AttemptError, ConnectionLost};
    use std::time::Duration;

    fn exit_of(error: impl Into<Failure>) -> u8 {
        error.into().exit as u8
    }

    #[test]
    fn call_errors_have_the_documented_exit_codes() {
        assert_eq!(exit_of(CallError::NotSent(Box::default())), 2);
        assert_eq!(exit_of(CallError::MaybeRan(Box::default())), 1);
        assert_eq!(exit_of(CallError::Failed(Box::default())), 1);
        assert_eq!(exit_of(CallError::SessionLost(Box::default())), 1);
        assert_eq!(exit_of(CallError::Gone(Box::default())), 1);
        assert_eq!(exit_of(CallError::Unavailable(Box::default())), 3);
        assert_eq!(exit_of(CallError::Refused(Box::default())), 4);
        assert_eq!(exit_of(CallError::DeadlineExceeded(Box::default())), 5);
    }

    #[test]
    fn an_objects_own_error_is_1_and_a_wrong_call_is_2() {
        let failed = InvokeError::Failed {
            sentence: "sold out".into(),
            error: "{}".into(),
        };
        let failure = Failure::from(DynamicError::Object(failed));
        assert_eq!(failure, Failure::new(Exit::Failed, "sold out"));
        let bad = InvokeError::BadArguments {
            sentence: "no".into(),
        };
        assert_eq!(exit_of(bad), 2);
        let unknown = InvokeError::UnknownMethod {
            method: "a".into(),
            interface: "B".into(),
            known: vec![],
        };
        assert_eq!(exit_of(unknown), 2);
    }

    #[test]
    fn a_prefix_that_is_too_short_is_not_called_unknown() {
        let unknown = |id: &str| Failure::from(TaskError::Unknown { id: id.to_owned() });
        for id in ["01", "0", "019-"] {
            let failure = unknown(id);
            assert_eq!(failure.exit, Exit::Usage);
            let sentence = failure.message.unwrap();
            assert!(sentence.contains("at least 4 characters"), "{sentence}");
        }
        for id in ["0193", "x"] {
            assert_eq!(unknown(id).exit, Exit::Unavailable);
        }
    }

    #[test]
    fn directory_errors_tell_a_wrong_name_from_an_unknown_one() {
        let sentence = "a name is empty".to_owned();
        assert_eq!(exit_of(DirectoryError::Invalid { sentence }), 2);
        let name = "x".to_owned();
        assert_eq!(exit_of(DirectoryError::UnknownName { name }), 3);
        let (name, holder) = ("x".to_owned(), "w1".to_owned());
        assert_eq!(exit_of(DirectoryError::ObjectTaken { name, holder }), 1);
    }

    #[test]
    fn task_errors_have_the_documented_exit_codes() {
        let sentence = "no".to_owned();
        let failed = TaskError::Failed {
            sentence: "sold out".to_owned(),
            value: Some("{}".to_owned()),
        };
        assert_eq!(
            Failure::from(failed),
            Failure::new(Exit::Failed, "sold out")
        );
        assert_eq!(exit_of(TaskError::Cancelled), 1);
        assert_eq!(exit_of(TaskError::DeadlineExceeded), 5);
        let id = "0193".to_owned();
        assert_eq!(exit_of(TaskError::Unknown { id }), 3);
        let unavailable = TaskError::Unavailable {
            sentence: sentence.clone(),
            sent: true,
            problem: Some(Problem::NoNameServer),
        };
        assert_eq!(exit_of(unavailable), 3);
        let unsure = Failure::from(TaskError::MaybeSubmitted {
            sentence: "a:1: the connection was lost".to_owned(),
            keys: vec!["k1".to_owned()],
        });
        assert_eq!(unsure.exit, Exit::Unavailable);
        let said = unsure.message.unwrap();
        assert!(
            said.starts_with("the task may have been submitted: a:1"),
            "{said}"
        );
        assert!(unsure.hint.unwrap().contains("--key k1"));
        let refused = TaskError::Refused {
            sentence: sentence.clone(),
            problem: Some(Problem::LimitReached),
        };
        let refused = Failure::from(refused);
        assert_eq!(refused.exit, Exit::Refused);
        assert!(refused.hint.unwrap().contains("pyroxene limits"));
        assert_eq!(exit_of(TaskError::Invalid { sentence }), 2);
    }

    #[test]
    fn why_a_name_server_did_not_answer_is_said_once_however_often_it_was_asked() {
        let attempt = || Attempt {
            worker: "a:1".into(),
            endpoint: "a:1".into(),
            ended_after: Duration::ZERO,
            error: AttemptError::NotSent(ConnectionLost::Closed),
        };
        let error = CallError::Unavailable(Box::new(AttemptLog {
            attempts: vec![attempt(), attempt()],
            ..AttemptLog::default()
        }));
        let said = without_answer(error).message.unwrap();
        assert_eq!(said, ConnectionLost::Closed.to_string());
    }

    #[test]
    fn an_object_that_nobody_hosts_is_said_without_a_method() {
        let error = CallError::Unavailable(Box::new(AttemptLog {
            object: "calc".into(),
            method: "*".into(),
            reason: Some("no live worker hosts it".into()),
            ..AttemptLog::default()
        }));
        assert_eq!(
            Failure::from(error).message.unwrap(),
            "object 'calc' is unavailable: no live worker hosts it"
        );
    }
}
