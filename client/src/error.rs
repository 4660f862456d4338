//! The error of a failed call.

mod attempts;

pub(crate) use attempts::AttemptRecorder;
pub use attempts::{Attempt, AttemptLog};

use crate::problem::Problem;
use attempts::MAX_SHOWN;
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost, StreamError, StreamFailure},
    message::RefusalReason,
};
use std::{error::Error, fmt, io};
use tarpc::client::RpcError;

/// A call without an answer. The variants differ in how the caller can react.
///
/// The methods of the clients that [`interface!`](pyroxene_common::interface!) declares return it. tarpc's own
/// clients return it inside [`RpcError::Send`]; `CallError::from` takes it out again.
///
/// ```no_run
/// use pyroxene_client::CallError;
/// use pyroxene_objects::interfaces::calculator::Calculator;
/// use tarpc::context;
///
/// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let calculator = client.object::<Calculator>("calculator").await?;
/// match calculator.factorial(context::current(), 2_000_000).await {
///     Ok(Ok(digits)) => println!("{digits}"),
///     Ok(Err(error)) => println!("the calculator refuses: {error}"),
///     Err(CallError::Unavailable(_)) => println!("the call has not run; try again later"),
///     Err(error) => println!("no answer: {error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub enum CallError {
    /// The call was never sent, and a retry will not help, for example because it is too large.
    NotSent(Box<AttemptLog>),
    /// The call was sent, and its answer was lost. It may have run, and it is not safe to repeat.
    MaybeRan(Box<AttemptLog>),
    /// The method started and failed outside of its own error type: it panicked, or its answer was too
    /// large.
    Failed(Box<AttemptLog>),
    /// The deadline passed. If the call had been sent, it may have run.
    DeadlineExceeded(Box<AttemptLog>),
    /// The caller is not allowed to make this call.
    Refused(Box<AttemptLog>),
    /// No instance accepted the call: no name server answers, no worker hosts the object, or every worker
    /// is unreachable or refuses the call. The call has not run.
    Unavailable(Box<AttemptLog>),
    /// The session of the call is lost, with its state: its worker or the connection has gone, or it was idle for
    /// too long. Further calls in it fail too. [`AttemptLog::may_have_run`] says whether this one may have run.
    SessionLost(Box<AttemptLog>),
    /// The callback's client, or its connection, is gone, or the client no longer hosts the callback.
    /// [`AttemptLog::may_have_run`] says whether the call may have run.
    Gone(Box<AttemptLog>),
}

impl CallError {
    /// The attempts of the call.
    pub fn attempt_log(&self) -> &AttemptLog {
        match self {
            Self::NotSent(trail)
            | Self::MaybeRan(trail)
            | Self::Failed(trail)
            | Self::DeadlineExceeded(trail)
            | Self::Refused(trail)
            | Self::Unavailable(trail)
            | Self::SessionLost(trail)
            | Self::Gone(trail) => trail,
        }
    }

    /// The same error with another method name: the method that the caller named, where its call is
    /// carried by a call of another method.
    pub(crate) fn with_method(mut self, method: &str) -> Self {
        match &mut self {
            Self::NotSent(trail)
            | Self::MaybeRan(trail)
            | Self::Failed(trail)
            | Self::DeadlineExceeded(trail)
            | Self::Refused(trail)
            | Self::Unavailable(trail)
            | Self::SessionLost(trail)
            | Self::Gone(trail) => trail.method = method.to_owned(),
        }
        self
    }

    /// The attempts, in order.
    ///
    /// ```
    /// use pyroxene_client::CallError;
    ///
    /// fn report(error: &CallError) {
    ///     for attempt in error.attempts() {
    ///         println!("{:?}: {}: {}", attempt.ended_after, attempt.worker, attempt.error);
    ///     }
    /// }
    /// # report(&CallError::from(tarpc::client::RpcError::DeadlineExceeded));
    /// ```
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempt_log().attempts
    }

    /// The error of the last attempt alone, or the reason why there was no attempt.
    ///
    /// ```
    /// use pyroxene_client::CallError;
    /// use tarpc::{ServerError, client::RpcError};
    ///
    /// let panic = ServerError::new(std::io::ErrorKind::Other, "the method panicked".to_owned());
    /// let error = CallError::from(RpcError::Server(panic));
    /// assert!(matches!(error, CallError::Failed(_)));
    /// assert!(error.last_reason().contains("the method panicked"));
    /// ```
    pub fn last_reason(&self) -> String {
        match (self.attempts().last(), &self.attempt_log().reason) {
            // The message of the refusal is enough without the text around it.
            (Some(attempt), _) => match &attempt.error {
                AttemptError::Refused(refusal) => refusal.message.clone(),
                AttemptError::Unauthenticated(reason) => reason.to_string(),
                error => error_chain(error),
            },
            (None, Some(reason)) => reason.clone(),
            (None, None) => self.to_string(),
        }
    }

    /// What the user can do about it, if that is known.
    ///
    /// ```
    /// use pyroxene_client::CallError;
    /// use tarpc::client::RpcError;
    ///
    /// let late = CallError::from(RpcError::DeadlineExceeded);
    /// assert_eq!(late.problem(), None);
    /// ```
    pub fn problem(&self) -> Option<Problem> {
        let log = self.attempt_log();
        let attempts = log.attempts.iter().rev();
        log.problem
            .or_else(|| attempts.map(|attempt| &attempt.error).find_map(Problem::of))
            .or_else(|| match self {
                Self::Unavailable(log) if log.leads_to_no_worker() => Some(Problem::StaticName),
                _ => None,
            })
    }

    /// Whether the last attempt was refused because the caller's user has reached a limit at that server.
    /// Another server may accept the call, or the same one later.
    pub fn is_limited(&self) -> bool {
        let last = self.attempts().last().map(|last| &last.error);
        matches!(last, Some(AttemptError::Refused(refusal)) if refusal.reason == RefusalReason::Limited)
    }

    /// Whether the last attempt found a peer that accepted the connection and closed it without an answer, as
    /// a load balancer does whose servers are down. The call was not sent, and may be answered soon.
    ///
    /// ```
    /// use pyroxene_client::CallError;
    /// use tarpc::client::RpcError;
    ///
    /// let late = CallError::from(RpcError::DeadlineExceeded);
    /// assert!(!late.is_hang_up());
    /// ```
    pub fn is_hang_up(&self) -> bool {
        let last = self.attempts().last();
        last.is_some_and(|last| is_hang_up(&last.error))
    }

    /// Whether the peer of the last attempt may answer soon: it was silent or busy, or it closed the
    /// connection. A peer that refuses connections is not there.
    pub(crate) fn may_be_answered_later(&self) -> bool {
        match self.attempts().last().map(|last| &last.error) {
            Some(AttemptError::NotSent(ConnectionLost::Io(error))) => {
                error.kind() == io::ErrorKind::TimedOut || self.is_hang_up()
            }
            Some(AttemptError::NotSent(lost)) => matches!(
                lost,
                ConnectionLost::Closed | ConnectionLost::Silent(_) | ConnectionLost::GoneAway
            ),
            Some(AttemptError::Refused(refusal)) => !refusal.reason.is_about_the_caller(),
            Some(AttemptError::MaybeRan(_) | AttemptError::DeadlineExceeded { .. }) => true,
            Some(
                AttemptError::TooLarge { .. }
                | AttemptError::Encoding(_)
                | AttemptError::Failed(_)
                | AttemptError::Unauthenticated(_),
            )
            | None => false,
        }
    }

    /// Whether the last attempt found another interface, or another version of it.
    pub(crate) fn is_about_another_interface(&self) -> bool {
        let last = self.attempt_log().attempts.last();
        last.is_some_and(Attempt::found_another_interface)
    }

    /// What has happened, in words that are always the same.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "not sent",
            Self::MaybeRan(_) => "the answer was lost",
            Self::Failed(_) => "the method panicked or failed",
            Self::DeadlineExceeded(_) => "the deadline passed",
            Self::Refused(_) => "refused",
            Self::Unavailable(_) => "no instance was reached",
            Self::SessionLost(_) => "the session is lost",
            Self::Gone(_) => "the callback is gone",
        }
    }

    /// The same as the end of a sentence about the call.
    fn verb(&self) -> &'static str {
        match self {
            Self::NotSent(_) => " was not sent",
            Self::MaybeRan(_) => " may have run, but its answer was lost",
            Self::Failed(_) => " failed",
            Self::DeadlineExceeded(_) => ": deadline exceeded",
            Self::Refused(_) => " was refused",
            Self::Unavailable(trail) if trail.attempts.iter().any(Attempt::was_refused) => {
                " was refused by every worker that it reached"
            }
            Self::Unavailable(_) => " reached no instance",
            Self::SessionLost(_) => " was not answered, because its session is lost",
            Self::Gone(_) => " was not answered, because the callback is gone",
        }
    }

    /// The error of a call that was attempted once, at this place.
    pub(crate) fn of_one_attempt(object: &str, method: &str, attempt: Attempt) -> Self {
        let kind = match &attempt.error {
            AttemptError::DeadlineExceeded { .. } => Self::DeadlineExceeded,
            AttemptError::Failed(_) => Self::Failed,
            AttemptError::TooLarge { .. } | AttemptError::Encoding(_) => Self::NotSent,
            error if error.refusal_of_caller().is_some() => Self::Refused,
            AttemptError::MaybeRan(_) => Self::MaybeRan,
            AttemptError::NotSent(_)
            | AttemptError::Refused(_)
            | AttemptError::Unauthenticated(_) => Self::Unavailable,
        };
        kind(Box::new(AttemptLog {
            object: object.to_owned(),
            method: method.to_owned(),
            attempts: vec![attempt],
            ..AttemptLog::default()
        }))
    }

    /// The error if a response answers another method than the one that was called.
    pub(crate) fn other_method() -> Self {
        Self::MaybeRan(Box::new(AttemptLog {
            object: "the call".to_owned(),
            method: "answer".to_owned(),
            reason: Some("the peer answered another method".to_owned()),
            ..AttemptLog::default()
        }))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trail = self.attempt_log();
        write!(f, "{}.{}{}", trail.object, trail.method, self.verb())?;
        let is_late = matches!(self, Self::DeadlineExceeded(_));
        if is_late {
            trail.write_attempts(f)?;
        }
        // The attempts that are shown may all be later ones that were not sent.
        let says_that_it_ran = matches!(self, Self::MaybeRan(_) | Self::Failed(_));
        if !says_that_it_ran && trail.may_have_run() {
            f.write_str(", but it may have run")?;
        }
        if let Some(reason) = &trail.reason {
            write!(f, ": {reason}")?;
        }
        let shown = trail.attempts.len().min(MAX_SHOWN);
        let skipped = trail.attempts.len() - shown;
        let hidden = skipped + trail.unlisted;
        for attempt in trail.attempts.iter().skip(skipped) {
            // That the deadline passed is said already.
            if is_late && matches!(attempt.error, AttemptError::DeadlineExceeded { .. }) {
                continue;
            }
            write!(f, "; {}: {}", attempt.worker, error_chain(&attempt.error))?;
        }
        if hidden > 0 {
            write!(f, "; and {hidden} earlier attempts")?;
        }
        Ok(())
    }
}

/// Whether a connection was accepted and then closed without an answer.
pub(crate) fn is_hang_up(error: &AttemptError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    match error {
        AttemptError::NotSent(ConnectionLost::Closed) => true,
        // A peer that closes the connection without having read the hello resets it.
        AttemptError::NotSent(ConnectionLost::Io(error)) => {
            matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset
            )
        }
        _ => false,
    }
}

/// An error and its causes in one line.
fn error_chain(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(": ");
        sentence.push_str(&error.to_string());
        cause = error.source();
    }
    sentence
}

// The message includes the attempts, so the error has no source.
impl Error for CallError {}

/// The stream of an answer that broke.
impl From<StreamError> for CallError {
    fn from(error: StreamError) -> Self {
        let kind: fn(Box<AttemptLog>) -> Self = match &error.failure {
            StreamFailure::Lost(_) | StreamFailure::Cancelled => Self::MaybeRan,
            StreamFailure::DeadlineExceeded => Self::DeadlineExceeded,
            StreamFailure::Failed(_) | StreamFailure::Undecodable(_) => Self::Failed,
        };
        kind(Box::new(AttemptLog {
            object: "the call".to_owned(),
            method: "stream".to_owned(),
            reason: Some(error_chain(&error)),
            ..AttemptLog::default()
        }))
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        Self::Send(Box::new(error))
    }
}

impl From<RpcError> for CallError {
    fn from(error: RpcError) -> Self {
        let trail = |error: &dyn Error| {
            Box::new(AttemptLog {
                reason: Some(error_chain(error)),
                ..AttemptLog::default()
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
mod tests;
