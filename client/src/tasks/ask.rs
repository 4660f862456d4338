//! Failover: sends a request to name servers until one answers.

use super::error::TaskError;
use crate::{backoff::Backoff, error::CallError};
use futures::{StreamExt, stream::FuturesUnordered};
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost},
    endpoint::Endpoint,
    interfaces::tasks::TasksError,
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tarpc::client::RpcError;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// A name server that has not answered a quick request within this time may be frozen: the next one is
/// asked in parallel. Every request is safe to repeat.
pub(super) const STAGGER: Duration = Duration::from_millis(500);

/// The pause between rounds over all name servers.
const BETWEEN_ROUNDS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

/// Less time than this before the deadline is not enough for another round.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);

/// Why a name server did not answer a request. The variants differ in how the request continues.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Every name server would give the same error.
    Final(TaskError),
    /// Another name server may give an answer.
    Elsewhere(TaskError),
    /// A retry may succeed soon, at this name server or another one.
    Later {
        sentence: String,
        /// Whether the request may have reached the name server.
        sent: bool,
        /// Whether the error comes from the tasks object itself.
        answered: bool,
    },
}

impl NoAnswer {
    /// The meaning of an error that the tasks object returned.
    pub(super) fn from_object(endpoint: &Endpoint, error: TasksError) -> Self {
        match error {
            TasksError::Unavailable { .. } => Self::Later {
                sentence: format!("{endpoint}: {error}"),
                sent: true,
                answered: true,
            },
            TasksError::Unknown { .. } | TasksError::Broken { .. } => Self::Elsewhere(error.into()),
            TasksError::KeyTaken { .. }
            | TasksError::Denied { .. }
            | TasksError::Limited { .. }
            | TasksError::Invalid { .. } => Self::Final(error.into()),
        }
    }

    /// The meaning of an error of the call itself.
    pub(super) fn from_link(endpoint: &Endpoint, error: RpcError) -> Self {
        let error = CallError::from(error);
        let reason = error.last_reason();
        match &error {
            CallError::Refused(_) => Self::Elsewhere(TaskError::Refused { sentence: reason }),
            CallError::NotSent(_) => Self::Final(TaskError::Invalid { sentence: reason }),
            CallError::MaybeRan(_)
            | CallError::Failed(_)
            | CallError::DeadlineExceeded(_)
            | CallError::Unavailable(_) => match error.attempts().last().map(|last| &last.error) {
                Some(AttemptError::NotSent(
                    ConnectionLost::Rejected(why) | ConnectionLost::WrongServer(why),
                )) => Self::Elsewhere(TaskError::Unavailable {
                    sentence: format!("name server {endpoint} takes no tasks: {why}"),
                    sent: false,
                }),
                last => Self::Later {
                    sentence: format!("{endpoint}: {reason}"),
                    answered: false,
                    sent: matches!(
                        last,
                        Some(
                            AttemptError::MaybeRan(_)
                                | AttemptError::Failed(_)
                                | AttemptError::DeadlineExceeded { sent: true }
                        )
                    ),
                },
            },
        }
    }

    /// The client has no name server.
    pub(super) fn no_nameserver() -> Self {
        Self::Final(TaskError::Unavailable {
            sentence: "there is no name server to ask".to_owned(),
            sent: false,
        })
    }
}

/// The error for an answer that does not match its request.
pub(super) fn wrong_answer_count() -> TaskError {
    TaskError::Unavailable {
        sentence: "the name server returned a wrong number of answers".to_owned(),
        sent: true,
    }
}

/// How a request is sent to several name servers.
pub(super) struct NameServerQuery<'a> {
    /// The number of name servers.
    pub(super) count: usize,
    /// The index of the name server that answered last, modulo their number. It is asked first.
    pub(super) preferred_index: &'a AtomicUsize,
    /// How long to retry after the first round without an answer, if there is no deadline.
    pub(super) retry_timeout: Duration,
    /// Until when to retry.
    pub(super) deadline: Option<Instant>,
    /// After this time the next name server is asked in parallel. Without it, the next one is asked only
    /// after a failure.
    pub(super) stagger: Option<Duration>,
}

/// The errors of a round over all name servers that got no answer.
#[derive(Debug, Default)]
struct AskRound {
    verdict: Option<TaskError>,
    reasons: Vec<String>,
    sent: bool,
    answered: bool,
}

impl NameServerQuery<'_> {
    /// Asks until one name server answers, or all return a lasting error, or the deadline or the retry timeout
    /// passes.
    pub(super) async fn ask<T, F>(&self, question: impl Fn(usize) -> F) -> Result<T, TaskError>
    where
        F: Future<Output = Result<T, NoAnswer>>,
    {
        let mut give_up = self.deadline;
        let mut sent = false;
        let mut rounds = 0;
        loop {
            let round = match self.round(&question).await {
                Ok(answer) => return Ok(answer),
                Err(round) => round,
            };
            sent |= round.sent;
            let may_change = !round.reasons.is_empty();
            if let Some(deadline) = self.deadline.filter(|_| may_change)
                && deadline.saturating_duration_since(Instant::now()) < SHORTEST_ROUND
            {
                sleep_until(deadline).await;
            }
            let now = Instant::now();
            let give_up = *give_up.get_or_insert(now + self.retry_timeout);
            match round.verdict {
                Some(TaskError::Unavailable { .. }) | None if may_change && now < give_up => {}
                Some(TaskError::Unavailable { sentence, .. }) => {
                    return Err(TaskError::Unavailable { sentence, sent });
                }
                Some(verdict) => return Err(verdict),
                None => {
                    let reasons = round.reasons.join("; ");
                    let sentence = match round.answered {
                        true => format!("no name server can answer now: {reasons}"),
                        false => format!("no name server answers: {reasons}"),
                    };
                    return Err(TaskError::Unavailable { sentence, sent });
                }
            }
            let wait = BETWEEN_ROUNDS.wait(rounds, rand::random());
            rounds += 1;
            // The last round before a deadline has time for an answer.
            let longest = match self.deadline {
                Some(_) => (give_up - now) / 2,
                None => give_up - now,
            };
            sleep(wait.min(longest)).await;
        }
    }

    /// Asks each name server once, the preferred one first.
    async fn round<T, F>(&self, question: &impl Fn(usize) -> F) -> Result<T, AskRound>
    where
        F: Future<Output = Result<T, NoAnswer>>,
    {
        let count = self.count.max(1);
        let first = self.preferred_index.load(Ordering::Relaxed);
        let mut waiting = (0..count).map(|step| first.wrapping_add(step) % count);
        let ask = |index| {
            let answer = question(index);
            async move { (index, answer.await) }
        };
        let mut asked = FuturesUnordered::new();
        asked.extend(waiting.next().map(ask));
        let mut round = AskRound::default();
        loop {
            let answered = match self.stagger.filter(|_| waiting.len() > 0) {
                Some(stagger) => match timeout(stagger, asked.next()).await {
                    Ok(answered) => answered,
                    Err(_) => {
                        asked.extend(waiting.next().map(ask));
                        continue;
                    }
                },
                None => asked.next().await,
            };
            match answered {
                None => return Err(round),
                Some((index, Ok(answer))) => {
                    self.preferred_index.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Some((_, Err(NoAnswer::Final(error)))) => {
                    return Err(AskRound {
                        verdict: Some(error),
                        ..AskRound::default()
                    });
                }
                Some((_, Err(NoAnswer::Elsewhere(error)))) => round.verdict = Some(error),
                Some((
                    _,
                    Err(NoAnswer::Later {
                        sentence,
                        sent,
                        answered,
                    }),
                )) => {
                    round.reasons.push(sentence);
                    round.sent |= sent;
                    round.answered |= answered;
                }
            }
            asked.extend(waiting.next().map(ask));
        }
    }
}

#[cfg(test)]
mod tests;
