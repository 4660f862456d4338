//! The attempts of a call: those that were made so far, and the log of those of a call that failed.

use crate::problem::Problem;
use pyroxene_common::channel::{AttemptError, ConnectionLost};
use std::{fmt, time::Duration};

/// The maximum number of listed attempts. Attempts that may have been sent are always listed.
pub(super) const MAX_LISTED_ATTEMPTS: usize = 32;

/// The maximum number of workers and of attempts that are shown one by one.
pub(super) const MAX_SHOWN: usize = 4;

/// The attempts of a call that failed.
#[derive(Debug, Default)]
pub struct AttemptLog {
    /// The object's name.
    pub object: String,
    /// The method's name.
    pub method: String,
    /// Why the call ended, if the attempts do not show it.
    pub reason: Option<String>,
    /// The attempts, in order: all that may have been sent, and the latest of those that were not.
    pub attempts: Vec<Attempt>,
    /// The number of attempts that are not listed. None of them was sent.
    pub unlisted: usize,
    /// What the user can do about the reason, if that is known.
    pub problem: Option<Problem>,
}

/// The attempts of a call that is still in progress.
#[derive(Debug, Default)]
pub(crate) struct AttemptRecorder {
    pub(crate) listed: Vec<Attempt>,
    pub(crate) unlisted: usize,
}

impl AttemptRecorder {
    /// Adds an attempt. If the list is full, the attempt replaces the earliest one that was not sent.
    pub(crate) fn push(&mut self, attempt: Attempt) {
        let is_unsent = |attempt: &Attempt| matches!(attempt.error, AttemptError::NotSent(_));
        if self.listed.len() >= MAX_LISTED_ATTEMPTS
            && let Some(unsent) = self.listed.iter().position(is_unsent)
        {
            self.listed.remove(unsent);
            self.unlisted += 1;
        }
        self.listed.push(attempt);
    }

    /// Whether the last attempt found an object with another interface.
    pub(crate) fn last_is_of_another_interface(&self) -> bool {
        self.listed
            .last()
            .is_some_and(Attempt::found_another_interface)
    }

    /// The number of attempts.
    pub(crate) fn count(&self) -> usize {
        self.listed.len() + self.unlisted
    }
}

impl AttemptLog {
    /// Whether any attempt may have run.
    pub fn may_have_run(&self) -> bool {
        self.attempts.iter().any(Attempt::may_have_run)
    }

    /// Whether the last attempt reached another host than a worker.
    pub(super) fn leads_to_no_worker(&self) -> bool {
        let last = self.attempts.last().map(|last| &last.error);
        matches!(
            last,
            Some(AttemptError::NotSent(ConnectionLost::WrongServer(_)))
        )
    }

    /// How many attempts there were, and at which workers: ` after 2 attempts at w1, w2`.
    pub(super) fn write_attempts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempts.len() + self.unlisted {
            0 => return f.write_str(" before the first attempt"),
            1 => f.write_str(" after 1 attempt at ")?,
            count => write!(f, " after {count} attempts at ")?,
        }
        let mut workers: Vec<&str> = Vec::new();
        for attempt in &self.attempts {
            if !workers.contains(&&*attempt.worker) {
                workers.push(&attempt.worker);
            }
        }
        for (number, worker) in workers.iter().take(MAX_SHOWN).enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{worker}")?;
        }
        match workers.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            others => write!(f, " and {others} others"),
        }
    }
}

/// One attempt of a call that got no answer.
#[derive(Debug)]
pub struct Attempt {
    /// The name of the worker, or its endpoint if it has no name.
    pub worker: String,
    /// The worker's endpoint.
    pub endpoint: String,
    /// When the attempt ended, counted from the start of the call.
    pub ended_after: Duration,
    /// Why it failed.
    pub error: AttemptError,
}

impl Attempt {
    pub(super) fn was_refused(&self) -> bool {
        matches!(
            self.error,
            AttemptError::Refused(_) | AttemptError::Unauthenticated(_)
        )
    }

    fn may_have_run(&self) -> bool {
        matches!(
            self.error,
            AttemptError::MaybeRan(_) | AttemptError::DeadlineExceeded { sent: true }
        )
    }

    pub(super) fn found_another_interface(&self) -> bool {
        matches!(
            self.error,
            AttemptError::NotSent(ConnectionLost::WrongInterface(_))
        )
    }
}
