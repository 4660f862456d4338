//! What a failed call tells its caller.

use pyroxene_common::{channel::AttemptError, message::RefusalReason};
use std::{error::Error, fmt, time::Duration};
use tarpc::client::RpcError;

/// A call that has no answer, by what the caller can do about it.
///
/// tarpc's generated clients return it inside [`RpcError::Send`]; `CallError::from` takes it out
/// again.
#[derive(Debug)]
pub enum CallError {
    /// The call was never sent, and sending it again will not help: it is too large, for one.
    NotSent(Box<Trail>),
    /// The call was sent, and its answer was lost. It may have run, and it is not safe to repeat.
    MaybeRan(Box<Trail>),
    /// The method ran, or started to, and failed outside of its own error type: it panicked, or its
    /// answer was too large.
    Failed(Box<Trail>),
    /// The deadline passed. If it had been sent, the call may have run.
    DeadlineExceeded(Box<Trail>),
    /// The caller may not do this.
    Refused(Box<Trail>),
    /// There is nobody to call: no name server answers, no worker hosts the object, or none of
    /// them could be reached or would take the call. It has not run.
    Unavailable(Box<Trail>),
}

/// What was tried for a call.
#[derive(Debug, Default)]
pub struct Trail {
    /// The object's name.
    pub object: String,
    /// The method's name.
    pub method: String,
    /// Why it ended, if no single attempt says it.
    pub reason: Option<String>,
    /// The attempts, in order: all that may have been sent, and the latest of the others.
    pub attempts: Vec<Attempt>,
    /// How many attempts are not listed. None of them was sent.
    pub unlisted: usize,
}

/// How many attempts are listed, unless more than that may have been sent.
const LISTED: usize = 32;

/// The attempts at a call that goes on.
#[derive(Debug, Default)]
pub(crate) struct AttemptLog {
    pub(crate) listed: Vec<Attempt>,
    pub(crate) unlisted: usize,
}

impl AttemptLog {
    /// Adds an attempt, in the place of an early one that was not sent if there are many.
    pub(crate) fn push(&mut self, attempt: Attempt) {
        let is_unsent = |attempt: &Attempt| matches!(attempt.error, AttemptError::NotSent(_));
        if self.listed.len() >= LISTED
            && let Some(unsent) = self.listed.iter().position(is_unsent)
        {
            self.listed.remove(unsent);
            self.unlisted += 1;
        }
        self.listed.push(attempt);
    }

    /// How many attempts there were.
    pub(crate) fn count(&self) -> usize {
        self.listed.len() + self.unlisted
    }
}

impl Trail {
    /// Whether any attempt may have run.
    pub(crate) fn may_have_run(&self) -> bool {
        self.attempts.iter().any(|attempt| {
            matches!(
                attempt.error,
                AttemptError::MaybeRan(_) | AttemptError::DeadlineExceeded { sent: true }
            )
        })
    }
}

/// One attempt at a call that brought no answer.
#[derive(Debug)]
pub struct Attempt {
    /// The worker that was tried; its endpoint, if it has no name.
    pub worker: String,
    /// Where it was reached.
    pub endpoint: String,
    /// When it ended, counted from the beginning of the call.
    pub ended: Duration,
    /// How it ended.
    pub error: AttemptError,
}

impl Attempt {
    fn was_refused(&self) -> bool {
        matches!(self.error, AttemptError::Refused(_))
    }
}

impl CallError {
    /// What was tried.
    pub fn trail(&self) -> &Trail {
        match self {
            Self::NotSent(trail)
            | Self::MaybeRan(trail)
            | Self::Failed(trail)
            | Self::DeadlineExceeded(trail)
            | Self::Refused(trail)
            | Self::Unavailable(trail) => trail,
        }
    }

    /// The same error of another method's name: of the one that the caller meant, where a call
    /// travels inside another one.
    pub(crate) fn of_method(mut self, method: &str) -> Self {
        match &mut self {
            Self::NotSent(trail)
            | Self::MaybeRan(trail)
            | Self::Failed(trail)
            | Self::DeadlineExceeded(trail)
            | Self::Refused(trail)
            | Self::Unavailable(trail) => trail.method = method.to_owned(),
        }
        self
    }

    /// The attempts, in order.
    pub fn attempts(&self) -> &[Attempt] {
        &self.trail().attempts
    }

    /// What the last attempt brought instead of an answer, alone; or why none was made.
    pub fn last_reason(&self) -> String {
        match (self.attempts().last(), &self.trail().reason) {
            // What stands around a refusal's sentence adds nothing to it.
            (
                Some(Attempt {
                    error: AttemptError::Refused(refusal),
                    ..
                }),
                _,
            ) => refusal.sentence.clone(),
            (Some(attempt), _) => sentence(&attempt.error),
            (None, Some(reason)) => reason.clone(),
            (None, None) => self.to_string(),
        }
    }

    /// Whether the last attempt was refused because the caller has as much of something as its user may
    /// have at that place: it may go better elsewhere, or later.
    pub fn is_limited(&self) -> bool {
        let last = self.attempts().last().map(|last| &last.error);
        matches!(last, Some(AttemptError::Refused(refusal)) if refusal.reason == RefusalReason::Limited)
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "was not sent",
            Self::MaybeRan(_) => "may have run, but its answer was lost",
            Self::Failed(_) => "failed",
            Self::DeadlineExceeded(_) => "did not end before its deadline",
            Self::Refused(_) => "was refused",
            Self::Unavailable(trail) if trail.attempts.iter().any(Attempt::was_refused) => {
                "was refused by every worker that it reached"
            }
            Self::Unavailable(_) => "reached nobody",
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trail = self.trail();
        write!(f, "{}.{} {}", trail.object, trail.method, self.kind())?;
        if let Some(reason) = &trail.reason {
            write!(f, ": {reason}")?;
        }
        /// The attempts that are told one by one.
        const SHOWN: usize = 4;
        let shown = trail.attempts.len().min(SHOWN);
        let skipped = trail.attempts.len() - shown;
        let hidden = skipped + trail.unlisted;
        for attempt in trail.attempts.iter().skip(skipped) {
            write!(f, "; {}: {}", attempt.worker, sentence(&attempt.error))?;
        }
        if hidden > 0 {
            write!(f, "; and {hidden} earlier attempts")?;
        }
        Ok(())
    }
}

/// An error with its causes, as one line.
fn sentence(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(": ");
        sentence.push_str(&error.to_string());
        cause = error.source();
    }
    sentence
}

// The attempts are part of the sentence, so none of them is the source as well.
impl Error for CallError {}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        Self::Send(Box::new(error))
    }
}

impl From<RpcError> for CallError {
    fn from(error: RpcError) -> Self {
        let trail = |error: &dyn Error| {
            Box::new(Trail {
                reason: Some(sentence(error)),
                ..Trail::default()
            })
        };
        match error {
            RpcError::Send(inner) => match inner.downcast::<Self>() {
                Ok(error) => *error,
                Err(other) => Self::NotSent(trail(&*other)),
            },
            RpcError::DeadlineExceeded => Self::DeadlineExceeded(Box::default()),
            RpcError::Server(error) => Self::Failed(trail(&error)),
            other @ (RpcError::Shutdown | RpcError::Channel(_)) => Self::MaybeRan(trail(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::channel::ConnectionLost;

    fn attempt(worker: &str) -> Attempt {
        Attempt {
            worker: worker.to_owned(),
            endpoint: String::new(),
            ended: Duration::ZERO,
            error: AttemptError::MaybeRan(ConnectionLost::Closed),
        }
    }

    #[test]
    fn an_error_survives_tarpcs_type_and_lists_its_attempts() {
        let error = CallError::MaybeRan(Box::new(Trail {
            object: "accounts".into(),
            method: "update".into(),
            attempts: vec![attempt("w1")],
            ..Trail::default()
        }));
        let error = CallError::from(RpcError::from(error));
        assert!(matches!(error, CallError::MaybeRan(_)));
        assert_eq!(
            error.to_string(),
            "accounts.update may have run, but its answer was lost; \
             w1: the call was sent, but its answer was lost: the peer closed the connection"
        );
    }

    #[test]
    fn a_long_trail_is_cut_short_in_the_sentence() {
        let error = CallError::Unavailable(Box::new(Trail {
            attempts: (0..9).map(|n| attempt(&format!("w{n}"))).collect(),
            ..Trail::default()
        }));
        let sentence = error.to_string();
        assert!(sentence.contains("w8") && !sentence.contains("w4"));
        assert!(sentence.ends_with("and 5 earlier attempts"), "{sentence}");
    }

    #[test]
    fn a_trail_keeps_what_may_have_been_sent_and_the_latest_of_the_rest() {
        let unsent = |worker: &str| Attempt {
            error: AttemptError::NotSent(ConnectionLost::Closed),
            ..attempt(worker)
        };
        let mut log = AttemptLog::default();
        log.push(attempt("sent"));
        for number in 0..1000 {
            log.push(unsent(&number.to_string()));
        }
        assert_eq!((log.listed.len(), log.count()), (LISTED, 1001));
        let trail = Trail {
            attempts: log.listed,
            unlisted: log.unlisted,
            ..Trail::default()
        };
        assert!(trail.may_have_run());
        let workers = [trail.attempts.first(), trail.attempts.last()];
        assert_eq!(
            workers.map(|attempt| &*attempt.unwrap().worker),
            ["sent", "999"]
        );
        let sentence = CallError::DeadlineExceeded(Box::new(trail)).to_string();
        assert!(sentence.ends_with("and 997 earlier attempts"), "{sentence}");
    }

    #[test]
    fn nobody_is_said_to_have_been_reached_only_if_nobody_was() {
        let refusal = pyroxene_common::message::Refusal {
            reason: pyroxene_common::message::RefusalReason::Overloaded,
            retry_after_ms: 0,
            sentence: "full".to_owned(),
        };
        let refused = Attempt {
            error: AttemptError::Refused(refusal),
            ..attempt("w1")
        };
        let sentence = |attempts| {
            let trail = Trail {
                attempts,
                ..Trail::default()
            };
            CallError::Unavailable(Box::new(trail)).to_string()
        };
        assert!(sentence(Vec::new()).contains("reached nobody"));
        assert!(sentence(vec![refused]).contains("was refused by every worker"));
    }
}
