//! An object that counts for each session, and tells how many of its states there are and were.

use crate::harness::within;
use futures::{StreamExt, stream};
use pyroxene_common::{
    Stream,
    channel::{CallFailure, Dispatch},
    interface::Serves,
    message::{Refusal, RefusalReason},
    scope::session_state,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
pub(super) use tally::{TallyRequest as Request, TallyResponse as Response};
use tarpc::context::Context;
use tokio::{sync::watch, time::sleep};

pyroxene_common::interface! {
    /// Counts for each session.
    #[name = "Test.Tally"]
    #[version = 1]
    pub trait Tally in tally {
        /// Adds one.
        async fn add() -> u64;
        /// Adds one, and waits for so many seconds.
        async fn linger(seconds: u64) -> u64;
        /// The sum, again and again.
        async fn sums(n: usize) -> Stream<u64>;
        /// The size of a text.
        async fn size(text: String) -> usize;
    }
}

/// The state of a session. It tells how many there are and were.
#[derive(Clone)]
struct Sum(Arc<(AtomicU64, Existing)>);

struct Existing(watch::Sender<Made>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Made {
    made: usize,
    dropped: usize,
}

impl Drop for Existing {
    fn drop(&mut self) {
        self.0.send_modify(|made| made.dropped += 1);
    }
}

impl Sum {
    fn add_one(&self) -> u64 {
        self.0.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl tally::Tally for Sum {
    async fn add(self, _: Context) -> u64 {
        self.add_one()
    }
    async fn linger(self, _: Context, seconds: u64) -> u64 {
        let sum = self.add_one();
        sleep(Duration::from_secs(seconds)).await;
        sum
    }
    async fn sums(self, _: Context, n: usize) -> Stream<u64> {
        Stream::new(stream::repeat_with(move || self.add_one()).take(n))
    }
    async fn size(self, _: Context, text: String) -> usize {
        text.len()
    }
}

/// Serves each session with a sum of its own.
#[derive(Clone)]
pub(super) struct Tallies(watch::Sender<Made>);

impl Tallies {
    pub(super) fn new() -> Self {
        Self(watch::Sender::default())
    }

    /// Waits until so many states were made and dropped.
    pub(super) async fn saw(&self, made: usize, dropped: usize) {
        let wanted = Made { made, dropped };
        let mut seen = self.0.subscribe();
        let waiting = seen.wait_for(|now| *now == wanted);
        within(waiting).await.unwrap();
    }
}

impl Dispatch for Tallies {
    type Request = Request;
    type Response = Response;

    async fn dispatch(
        self: Arc<Self>,
        context: Context,
        request: Request,
    ) -> Result<Response, CallFailure> {
        let sum = session_state(|| {
            self.0.send_modify(|made| made.made += 1);
            Sum(Arc::new((AtomicU64::new(0), Existing(self.0.clone()))))
        });
        let sum = sum.map_err(|ended| {
            CallFailure::Refused(Refusal {
                reason: RefusalReason::SessionLost,
                retry_after_ms: 0,
                message: ended.to_string(),
            })
        })?;
        Tally::serve(sum, context, request)
            .await
            .map_err(CallFailure::Failed)
    }
}
