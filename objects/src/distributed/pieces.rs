//! Pieces of work: sent to workers, and sent again after a loss.

use super::{Distributed, DistributedError, DistributedOptions, DistributedProgress};
use crate::interfaces::calculator::{
    Calculator,
    calculator::{CalculatorRequest, CalculatorResponse},
};
use futures::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use pyroxene_client::{Backoff, CallError, Proxy, Response};
use pyroxene_common::channel::AttemptError;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tarpc::context;
use tokio::time::{Instant, sleep};

/// The backoff between two tries of a piece that no worker takes.
const RETRY_BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// The largest number of pieces in flight, for any number of workers: it bounds the memory of the answers.
const MAX_IN_FLIGHT: usize = 256;

/// Work that is done in pieces.
pub(super) trait DistributedWork {
    /// The input of one call.
    type Piece: Serialize + Sync;

    /// Any request of the method that the pieces call.
    fn sample_request() -> CalculatorRequest;

    /// How many numbers the complete result has.
    fn total(&self) -> u64;

    /// The next piece, or `None` after the last one.
    fn next(&mut self) -> Result<Option<Self::Piece>, DistributedError>;

    /// Takes back a piece whose message was larger than a worker's limit in bytes. It and later pieces become
    /// smaller.
    fn shrink(&mut self, piece: Self::Piece, limit: usize) -> Result<(), DistributedError>;

    /// Writes the answer of a piece to its position in the result. Returns how many numbers these are; `None`
    /// if the answer does not fit the piece.
    fn write_answer(
        &mut self,
        piece: &Self::Piece,
        response: CalculatorResponse,
    ) -> Result<Option<u64>, DistributedError>;
}

/// The data that all pieces of one work share.
struct PieceCalls<'a> {
    proxy: &'a Proxy<Calculator>,
    like: CalculatorRequest,
    context: context::Context,
    retry_timeout: Duration,
    /// When a piece was last answered.
    last_answer: Mutex<Instant>,
}

/// Does the work. `before` is the number of results that needed no worker.
pub(super) async fn run<W: DistributedWork>(
    proxy: &Proxy<Calculator>,
    options: &DistributedOptions,
    deadline: Instant,
    work: &mut W,
    before: u64,
) -> Result<Distributed<()>, DistributedError> {
    let mut context = context::current();
    context.deadline = deadline.into_std();
    let calls = PieceCalls {
        proxy,
        like: W::sample_request(),
        context,
        retry_timeout: options.retry_timeout,
        last_answer: Mutex::new(Instant::now()),
    };
    let mut progress = DistributedProgress {
        done: before,
        total: work.total(),
        ..DistributedProgress::default()
    };
    options.report(progress);
    let mut workers: BTreeMap<String, usize> = BTreeMap::new();
    let mut in_flight = FuturesUnordered::new();
    loop {
        let window = (proxy.instance_count() * options.in_flight).clamp(1, MAX_IN_FLIGHT);
        while in_flight.len() < window
            && let Some(piece) = work.next()?
        {
            in_flight.push(calls.call(piece));
        }
        let Some((piece, outcome)) = in_flight.next().await else {
            break;
        };
        let answered = match outcome {
            Ok(answered) => answered,
            Err(error) => match limit_exceeded(&error) {
                Some(limit) => {
                    work.shrink(piece, limit)?;
                    continue;
                }
                None => return Err(error.into()),
            },
        };
        let Some(numbers) = work.write_answer(&piece, answered.response)? else {
            return Err(DistributedError::UnexpectedAnswer {
                worker: answered.worker,
            });
        };
        progress.done += numbers;
        progress.pieces += 1;
        progress.repeated += answered.attempts - 1;
        *workers.entry(answered.worker).or_default() += 1;
        options.report(progress);
    }
    Ok(Distributed {
        result: (),
        pieces: progress.pieces,
        repeated: progress.repeated,
        workers,
    })
}

/// The limit that a piece's message exceeded, if that is the error.
fn limit_exceeded(error: &CallError) -> Option<usize> {
    match error.attempts().last().map(|attempt| &attempt.error) {
        Some(AttemptError::TooLarge { limit, .. }) => Some(*limit),
        _ => None,
    }
}

impl PieceCalls<'_> {
    /// Calls until there is an answer, or until no retry can help.
    async fn call<P: Serialize + Sync>(
        &self,
        piece: P,
    ) -> (P, Result<Response<CalculatorResponse>, CallError>) {
        let mut tries = 0;
        let mut lost = 0;
        let mut first_failure = None;
        loop {
            let outcome = self.proxy.call_as(self.context, &self.like, &piece).await;
            let now = Instant::now();
            let error = match outcome {
                Ok(mut answered) => {
                    *self.last_answer.lock() = now;
                    answered.attempts += lost;
                    return (piece, Ok(answered));
                }
                Err(error) => error,
            };
            lost += error.attempts().len();
            // The time since the piece's own first failure counts too: that failure may have taken long to be
            // noticed.
            let since = (*self.last_answer.lock()).max(*first_failure.get_or_insert(now));
            let wait = RETRY_BACKOFF.wait(tries, rand::random());
            tries += 1;
            let over = now + wait >= since + self.retry_timeout || now + wait >= self.deadline();
            if over || !may_be_tried_again(&error) {
                return (piece, Err(error));
            }
            sleep(wait).await;
        }
    }

    fn deadline(&self) -> Instant {
        Instant::from_std(self.context.deadline)
    }
}

/// Whether the same piece may be answered later. All of the methods are idempotent.
fn may_be_tried_again(error: &CallError) -> bool {
    matches!(error, CallError::Unavailable(_) | CallError::MaybeRan(_))
}
