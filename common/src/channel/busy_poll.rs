//! Busy polling: whether to wait for the peer without sleeping.
//!
//! An idle core takes tens of microseconds to wake up, often longer than the peer takes to answer or to send
//! the next request. So a connection with a fast peer is polled for a short time before its thread may sleep,
//! as kernels do before they halt a processor. Waiting for a slow peer uses no busy polling. A polling task
//! yields to all other tasks and processes, and only a few connections of a process poll at the same time.

use super::blocking::yield_task;
use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::Context,
    thread::available_parallelism,
    time::Duration,
};
use tokio::time::Instant;

/// The busy polling of one connection.
#[derive(Debug)]
pub struct BusyPoll {
    /// The longest time to poll, and the greatest average wait for which polling is worthwhile.
    limit: Duration,
    /// The moving average of the waits. Each wait counts as four times the limit at most.
    average: Duration,
    waiting_since: Option<Instant>,
    /// How many polls there were during this wait.
    polls: u32,
    permit: Option<BusyPollPermit>,
}

/// The greatest number of polls during one wait. It is needed for a paused clock in tests, which does not
/// advance while a task is active.
const MAX_POLLS: u32 = 500;

/// The connections of this process that busy-poll: at most one for every two cores.
static BUSY_POLLING: AtomicUsize = AtomicUsize::new(0);
static MAX_BUSY_POLLING: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)));

/// The permit of a connection to busy-poll.
#[derive(Debug)]
struct BusyPollPermit;

impl BusyPollPermit {
    fn new() -> Option<Self> {
        let before = BUSY_POLLING.fetch_add(1, Ordering::Relaxed);
        let place = Self;
        (before < *MAX_BUSY_POLLING).then_some(place)
    }
}

impl Drop for BusyPollPermit {
    fn drop(&mut self) {
        BUSY_POLLING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BusyPoll {
    /// Polls for `limit` at most.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            average: Duration::ZERO,
            waiting_since: None,
            polls: 0,
            permit: None,
        }
    }

    /// Records that bytes were received.
    pub(super) fn on_received(&mut self, now: Instant) {
        self.permit = None;
        self.polls = 0;
        if let Some(since) = self.waiting_since.take() {
            let wait = now.saturating_duration_since(since).min(self.limit * 4);
            self.average = (self.average * 7 + wait) / 8;
        }
    }

    /// Whether to poll again instead of sleeping.
    fn keeps_polling(&mut self, now: Instant) -> bool {
        let since = *self.waiting_since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        self.polls = self.polls.saturating_add(1);
        if self.average > self.limit || waited >= self.limit || self.polls > MAX_POLLS {
            self.permit = None;
            return false;
        }
        if self.permit.is_none() {
            self.permit = BusyPollPermit::new();
        }
        self.permit.is_some()
    }

    /// Waits for more bytes: by sleeping, unless busy polling is worthwhile. In that case the task is polled
    /// again as soon as no other task is ready.
    pub(super) fn wait(&mut self, now: Instant, context: &mut Context<'_>) {
        if !self.keeps_polling(now) {
            return;
        }
        yield_task(context);
        std::thread::yield_now();
    }

    /// Waits for what the peer sends next, which is read by `future`.
    pub async fn run<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let polled = future.as_mut().poll(context);
            let now = Instant::now();
            match polled.is_pending() {
                true => self.wait(now, context),
                false => self.on_received(now),
            }
            polled
        })
        .await
    }
}

/// Waits for a future with busy polling for `limit` at most. For an answer that is expected very soon.
pub async fn busy_poll<F: Future>(limit: Duration, future: F) -> F::Output {
    BusyPoll::new(limit).run(future).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(100);

    fn wait(spin: &mut BusyPoll, now: &mut Instant, wait: Duration) -> bool {
        let awake = spin.keeps_polling(*now);
        *now += wait;
        spin.on_received(*now);
        awake
    }

    #[test]
    fn it_stays_awake_for_the_limit_at_most() {
        let now = Instant::now();
        let mut spin = BusyPoll::new(LIMIT);
        assert!(spin.average <= LIMIT);
        spin.waiting_since = Some(now);
        assert!(!spin.keeps_polling(now + LIMIT));
        spin.on_received(now + LIMIT);
        let mut never = BusyPoll::new(Duration::ZERO);
        assert!(!never.keeps_polling(now));
    }

    #[test]
    fn a_clock_that_stands_still_does_not_keep_it_awake() {
        let now = Instant::now();
        let mut spin = BusyPoll::new(LIMIT);
        // Some of these may be refused because other tests poll just then.
        for _ in 0..MAX_POLLS {
            spin.keeps_polling(now);
        }
        assert!(!spin.keeps_polling(now));
    }

    #[test]
    fn a_slow_peer_is_waited_for_asleep() {
        let mut now = Instant::now();
        let mut spin = BusyPoll::new(LIMIT);
        for _ in 0..10 {
            wait(&mut spin, &mut now, LIMIT * 100);
        }
        assert!(!wait(&mut spin, &mut now, LIMIT * 100));
        for _ in 0..20 {
            wait(&mut spin, &mut now, LIMIT / 2);
        }
        assert!(spin.average <= LIMIT, "it has become quick again");
    }

    #[test]
    fn only_a_few_are_awake_at_once() {
        let places: Vec<_> = std::iter::repeat_with(BusyPollPermit::new)
            .take(*MAX_BUSY_POLLING + 1)
            .collect();
        assert!(places.iter().flatten().count() <= *MAX_BUSY_POLLING);
    }
}
