//! Whether to wait for the peer awake.
//!
//! An idle core takes tens of microseconds to wake up, often longer than the peer takes to answer
//! or to ask again. So a connection on which things go quickly is looked at for a while before its
//! thread may sleep, as kernels do with a processor that is about to halt. A peer that takes its
//! time is waited for asleep. Whoever looks gives way to every other task and process, and only a
//! few connections of a process do so at once.

use super::apart::give_way;
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

/// Decides it for one connection.
#[derive(Debug)]
pub(super) struct Spin {
    /// How long to stay awake, and how quick the peer has to be on average for it to pay.
    limit: Duration,
    /// The moving average of the waits, each counted as four times the limit at most.
    average: Duration,
    waiting_since: Option<Instant>,
    /// How often it has looked during this wait.
    looks: u32,
    awake: Option<Awake>,
}

/// A wait ends after this many looks whatever the clock says: a paused clock stands still for as
/// long as anything is awake.
const MAX_LOOKS: u32 = 500;

/// The connections of this process that are awake: at most one for every two cores.
static AWAKE: AtomicUsize = AtomicUsize::new(0);
static MAX_AWAKE: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)));

/// A place among those that are awake.
#[derive(Debug)]
struct Awake;

impl Awake {
    fn new() -> Option<Self> {
        let before = AWAKE.fetch_add(1, Ordering::Relaxed);
        let place = Self;
        (before < *MAX_AWAKE).then_some(place)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        AWAKE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Spin {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            average: Duration::ZERO,
            waiting_since: None,
            looks: 0,
            awake: None,
        }
    }

    /// Takes note that something arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        self.awake = None;
        self.looks = 0;
        if let Some(since) = self.waiting_since.take() {
            let wait = now.saturating_duration_since(since).min(self.limit * 4);
            self.average = (self.average * 7 + wait) / 8;
        }
    }

    /// Whether to go on looking instead of falling asleep.
    fn stays_awake(&mut self, now: Instant) -> bool {
        let since = *self.waiting_since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        self.looks = self.looks.saturating_add(1);
        if self.average > self.limit || waited >= self.limit || self.looks > MAX_LOOKS {
            self.awake = None;
            return false;
        }
        if self.awake.is_none() {
            self.awake = Awake::new();
        }
        self.awake.is_some()
    }

    /// Waits for more: asleep, unless it is worth staying awake. Then the task is polled again as
    /// soon as nothing else wants to run.
    pub(super) fn wait(&mut self, now: Instant, context: &mut Context<'_>) {
        if !self.stays_awake(now) {
            return;
        }
        give_way(context);
        std::thread::yield_now();
    }
}

/// Waits for a future awake, for `limit` at most: the peer is about to answer.
pub async fn awake<F: Future>(limit: Duration, future: F) -> F::Output {
    let mut spin = Spin::new(limit);
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            spin.wait(Instant::now(), context);
        }
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(100);

    fn wait(spin: &mut Spin, now: &mut Instant, wait: Duration) -> bool {
        let awake = spin.stays_awake(*now);
        *now += wait;
        spin.heard(*now);
        awake
    }

    #[test]
    fn it_stays_awake_for_the_limit_at_most() {
        let now = Instant::now();
        let mut spin = Spin::new(LIMIT);
        assert!(spin.average <= LIMIT);
        spin.waiting_since = Some(now);
        assert!(!spin.stays_awake(now + LIMIT));
        spin.heard(now + LIMIT);
        let mut never = Spin::new(Duration::ZERO);
        assert!(!never.stays_awake(now));
    }

    #[test]
    fn a_clock_that_stands_still_does_not_keep_it_awake() {
        let now = Instant::now();
        let mut spin = Spin::new(LIMIT);
        assert!((0..=MAX_LOOKS).any(|_| !spin.stays_awake(now)));
        assert!(!spin.stays_awake(now));
    }

    #[test]
    fn a_slow_peer_is_waited_for_asleep() {
        let mut now = Instant::now();
        let mut spin = Spin::new(LIMIT);
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
        let places: Vec<_> = std::iter::repeat_with(Awake::new)
            .take(*MAX_AWAKE + 1)
            .collect();
        assert!(places.iter().flatten().count() <= *MAX_AWAKE);
    }
}
