//! The message, the hint and the exit code of a command that fails. Errors of a single command are mapped in
//! its file, all others in `errors`.

mod errors;
mod problem_hints;
mod usage;

pub(crate) use errors::{repeat_hint, without_answer};
pub(crate) use usage::from_clap;

use crate::messages::{messages_are_json, one_line, write_json_message, write_message};
use pyroxene_client::Problem;
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

    /// Adds a hint, if there is one.
    #[must_use]
    fn hint_if_known(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Adds the hint for a problem, if it is known.
    #[must_use]
    pub(crate) fn hint_at(self, problem: Option<Problem>) -> Self {
        self.hint_if_known(problem.map(problem_hints::hint))
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

    /// The failure of a request that had until `deadline`. If a name server has answered that its store is away, that
    /// says more than that the time has passed.
    #[must_use]
    pub(crate) fn late_if_silent(self, is_silence: bool, deadline: Instant) -> Self {
        self.with_deadline(is_silence.then_some(deadline))
    }

    /// Puts `place` in front of the message.
    #[must_use]
    pub(crate) fn with_context(mut self, place: &str) -> Self {
        self.message = self.message.map(|sentence| format!("{place}: {sentence}"));
        self
    }

    /// Adds a further fact to the message.
    #[must_use]
    pub(crate) fn with_more(mut self, fact: &str) -> Self {
        self.message = self.message.map(|sentence| format!("{sentence}; {fact}"));
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
            write_message("error", sentence);
        }
        if let Some(hint) = &self.hint {
            write_message("hint", hint);
        }
    }
}

/// The failure to write to standard output. It is no error if a reader closes the output early.
pub(crate) fn cannot_write(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::quiet(Exit::Done),
        _ => Failure::new(Exit::Failed, format!("cannot write the output: {error}")),
    }
}

/// The failure to read a file that the user named, or standard input.
pub(crate) fn cannot_read(path: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
