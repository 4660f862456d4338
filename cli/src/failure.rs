//! The message, the hint and the exit code of a command that fails. Errors of a single command are mapped in
//! its file, all others here.

use crate::output::{messages_are_json, write_json_message, write_message};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use pyroxene_certs::CertsError;
use pyroxene_client::{CallError, DynamicError, InvalidConfig, TaskError};
use pyroxene_common::interfaces::{directory::DirectoryError, invoke::InvokeError};
use pyroxene_nameserver::users::UsersError;
use pyroxene_objects::AccountsDatabaseError;
use serde_json::{Value, json};
use std::io;
use tokio::time::Instant;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The object returned an error, or no other code applies.
    Failed = 1,
    /// The command cannot be carried out as given.
    Usage = 2,
    /// No name server, no such object, or no live worker.
    Unavailable = 3,
    /// The caller may not do this.
    Refused = 4,
    /// The deadline passed.
    DeadlineExceeded = 5,
}

impl Exit {
    /// The meaning of an exit code of another process of this program.
    pub(crate) fn from_code(code: i32) -> Self {
        match code {
            0 => Self::Done,
            2 => Self::Usage,
            3 => Self::Unavailable,
            4 => Self::Refused,
            5 => Self::DeadlineExceeded,
            _ => Self::Failed,
        }
    }
}

/// The reason why a command ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code of the process.
    pub(crate) exit: Exit,
    /// The error message. `None` if nobody can read it, or another process has reported it.
    pub(crate) message: Option<String>,
    /// What the user can do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self {
            exit,
            message: Some(sentence.into()),
            hint: None,
        }
    }

    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    /// A failure without a message.
    pub(crate) fn quiet(exit: Exit) -> Self {
        Self {
            exit,
            message: None,
            hint: None,
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The failure of a command that had a deadline. If the deadline has passed, what was unavailable may have
    /// needed only more time.
    #[must_use]
    pub(crate) fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        if self.exit == Exit::Unavailable && deadline.is_some_and(|at| at <= Instant::now()) {
            self.exit = Exit::DeadlineExceeded;
        }
        self
    }

    /// Puts `place` in front of the message.
    #[must_use]
    pub(crate) fn with_context(mut self, place: &str) -> Self {
        self.message = self.message.map(|sentence| format!("{place}: {sentence}"));
        self
    }

    /// The kind of failure as one word, for counting.
    pub(crate) fn kind(&self) -> &'static str {
        match self.exit {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Unavailable => "unavailable",
            Exit::Refused => "refused",
            Exit::DeadlineExceeded => "deadline",
        }
    }

    /// The documented JSON.
    fn to_json(&self) -> Value {
        json!({
            "error": self.message.as_deref().map(one_line),
            "hint": self.hint.as_deref().map(one_line),
            "kind": self.kind(),
            "exit": self.exit as u8,
        })
    }

    /// Writes the failure to standard error. A closed standard error is not a further failure.
    pub(crate) fn report(&self) {
        if messages_are_json() {
            if self.message.is_some() {
                write_json_message(&self.to_json());
            }
            return;
        }
        if let Some(sentence) = &self.message {
            write_message("error", one_line(sentence));
        }
        if let Some(hint) = &self.hint {
            write_message("hint", one_line(hint));
        }
    }
}

/// Writes a note to standard error.
pub(crate) fn note(sentence: &str) {
    write_message("note", one_line(sentence));
}

/// Writes a warning to standard error: something may soon fail.
pub(crate) fn warn(sentence: &str) {
    write_message("warning", one_line(sentence));
}

/// Joins the lines of a text. Errors of objects may have line breaks, but a message is one line.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let exit = match &error {
            // The call did not run and will not: it cannot be sent.
            CallError::NotSent(_) => Exit::Usage,
            // Not `Unavailable`: a script must not take this for "it has not run, try again".
            CallError::MaybeRan(_) | CallError::Failed(_) => Exit::Failed,
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
        let hint = limit_hint(&sentence)
            .or_else(|| security_hint(&sentence))
            .or_else(|| static_hint(&sentence));
        let failure = Self::new(exit, sentence);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// The hint for a static name that leads to a name server.
fn static_hint(sentence: &str) -> Option<&'static str> {
    sentence
        .contains("its static name leads to no worker")
        .then_some(
            "'pyroxene lookup' shows where it leads, 'pyroxene register' makes it lead to a worker",
        )
}

/// The hint for a connection whose two sides do not agree about TLS or authentication.
pub(crate) fn security_hint(sentence: &str) -> Option<&'static str> {
    let hints = [
        ("this port speaks TLS", "turn TLS on with --tls-ca FILE"),
        (
            "does not speak TLS",
            "leave out --tls-ca, or start the server with --tls-cert and --tls-key",
        ),
        (
            "wants to know who calls",
            "log in with --user NAME and --token-file FILE, or show a certificate with --tls-cert and --tls-key",
        ),
        ("in the clear", "turn TLS on with --tls-ca FILE"),
        (
            "it demands one, and there is none",
            "show a certificate with --tls-cert FILE and --tls-key FILE",
        ),
        (
            "not from an authority that is trusted here",
            "give the authority's certificate with --tls-ca FILE",
        ),
    ];
    let hint = hints.iter().find(|(words, _)| sentence.contains(words));
    hint.map(|(_, hint)| *hint)
}

impl From<DynamicError> for Failure {
    fn from(error: DynamicError) -> Self {
        match error {
            DynamicError::Call(error) => error.into(),
            DynamicError::Object(error) => error.into(),
            DynamicError::Unreadable(_) => Self::new(Exit::Failed, error.to_string()),
        }
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
        Self::new(exit, error.to_string())
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
        let exit = match &error {
            TaskError::Failed { .. } | TaskError::Cancelled => Exit::Failed,
            TaskError::DeadlineExceeded => Exit::DeadlineExceeded,
            TaskError::Unknown { .. }
            | TaskError::Unavailable { .. }
            | TaskError::MaybeSubmitted { .. }
            | TaskError::MaybeChanged { .. } => Exit::Unavailable,
            TaskError::Refused { .. } => Exit::Refused,
            TaskError::Invalid { .. } => Exit::Usage,
        };
        let sentence = error.to_string();
        let hint = match &error {
            TaskError::Unknown { .. } => Some("see 'pyroxene tasks list'".to_owned()),
            TaskError::MaybeSubmitted { keys, .. } => resubmit_hint(keys),
            TaskError::MaybeChanged { id, .. } => Some(format!("see 'pyroxene tasks show {id}'")),
            _ => limit_hint(&sentence)
                .or_else(|| security_hint(&sentence))
                .or_else(|| start_hint(&sentence))
                .map(str::to_owned),
        };
        let failure = Self::new(exit, sentence);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
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

/// The hint for a limit, if the message is about one.
pub(crate) fn limit_hint(sentence: &str) -> Option<&'static str> {
    sentence.contains("refused: the limit '").then_some(
        "see 'pyroxene limits'; an admin raises the limit of a user with 'pyroxene users set'",
    )
}

/// The hint for name servers that cannot be reached.
fn start_hint(sentence: &str) -> Option<&'static str> {
    let nobody = sentence.starts_with("no name server answers");
    nobody.then_some("start one with 'pyroxene up' or 'pyroxene nameserver'")
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
        let failure = Self::new(exit, error.to_string());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<AccountsDatabaseError> for Failure {
    fn from(error: AccountsDatabaseError) -> Self {
        let exit = match &error {
            AccountsDatabaseError::Unreachable { .. } => Exit::Unavailable,
            AccountsDatabaseError::Disk { .. }
            | AccountsDatabaseError::Unusable { .. }
            | AccountsDatabaseError::TooNew { .. } => Exit::Failed,
        };
        Self::new(exit, error.to_string())
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
        let failure = Self::new(exit, error.to_string());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<InvalidConfig> for Failure {
    fn from(error: InvalidConfig) -> Self {
        Self::usage(error.to_string())
    }
}

/// The failure to write to standard output. It is no error if a reader closes the output early.
pub(crate) fn cannot_write(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::quiet(Exit::Done),
        _ => Failure::new(Exit::Failed, format!("cannot write the output: {error}")),
    }
}

/// An error of clap as a failure.
pub(crate) fn from_clap(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let mut sentence = Vec::new();
    let mut tips = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        match line.strip_prefix("tip: ") {
            Some(tip) => tips.push(tip),
            None => sentence.push(line),
        }
    }
    let sentence = one_line(&sentence.join("\n"));
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    let failure = Failure::usage(sentence);
    if !tips.is_empty() {
        return failure.hint(tips.join("; "));
    }
    match (error.kind(), error.get(ContextKind::Usage)) {
        (ErrorKind::InvalidSubcommand, _) => failure.hint("see 'pyroxene --help'"),
        (_, Some(ContextValue::StyledStr(usage))) => {
            let usage = one_line(&usage.to_string());
            failure.hint(usage.replacen("Usage: ", "usage: ", 1))
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_client::AttemptLog;

    fn exit_of(error: impl Into<Failure>) -> u8 {
        error.into().exit as u8
    }

    #[test]
    fn call_errors_have_the_documented_exit_codes() {
        assert_eq!(exit_of(CallError::NotSent(Box::default())), 2);
        assert_eq!(exit_of(CallError::MaybeRan(Box::default())), 1);
        assert_eq!(exit_of(CallError::Failed(Box::default())), 1);
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
        let refused = sentence.clone();
        assert_eq!(exit_of(TaskError::Refused { sentence: refused }), 4);
        assert_eq!(exit_of(TaskError::Invalid { sentence }), 2);
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

    #[test]
    fn a_broken_pipe_is_a_quiet_end() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(cannot_write(&error), Failure::quiet(Exit::Done));
        let error = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(cannot_write(&error).exit, Exit::Failed);
    }

    #[test]
    fn a_failure_has_one_shape_in_json() {
        let failure = Failure::new(Exit::Unavailable, "gone\naway");
        assert_eq!(
            failure.to_json().to_string(),
            r#"{"error":"gone away","hint":null,"kind":"unavailable","exit":3}"#
        );
        let hinted = failure.hint("wait").to_json();
        assert_eq!(hinted["hint"], "wait");
    }

    #[test]
    fn sentences_stay_on_one_line() {
        assert_eq!(one_line("a\n  b\n\nc"), "a b c");
    }
}
