//! Detects methods that block a thread of the runtime, and names them in the log.
//!
//! Each thread of the runtime records the method that it polls, and counts the starts and ends of polls.
//! A separate thread checks these records. If the count does not change while a method is polled, that
//! poll blocks the thread. The cost for a call is two additions, and no reading of a clock.

use parking_lot::Mutex;
use pyroxene_common::interface::Method;
use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Once, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How often the threads are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A poll that takes at least this long is logged: a worker's lease is renewed every second.
const MAX_POLL_TIME: Duration = Duration::from_secs(1);

/// The number that means no method.
const NONE: usize = 0;

/// The methods that are hosted in this process, as object and method. Their numbers start at 1.
static METHODS: Mutex<Vec<(Arc<str>, &'static str)>> = Mutex::new(Vec::new());

/// The threads that have polled a method.
static THREADS: Mutex<Vec<Weak<ThreadPoll>>> = Mutex::new(Vec::new());

thread_local! {
    static THIS_THREAD: Arc<ThreadPoll> = {
        let polled = Arc::new(ThreadPoll::default());
        let mut threads = THREADS.lock();
        threads.retain(|thread| thread.strong_count() > 0);
        threads.push(Arc::downgrade(&polled));
        polled
    };
}

/// The method that a thread polls.
#[derive(Debug, Default)]
struct ThreadPoll {
    method: AtomicUsize,
    /// Incremented whenever a poll starts or ends.
    count: AtomicU64,
}

impl ThreadPoll {
    fn change(&self, method: usize) -> usize {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.method.swap(method, Ordering::Relaxed)
    }
}

/// The methods of one object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchedMethods {
    /// The number of the first one.
    first: usize,
}

impl WatchedMethods {
    /// Registers an object's methods.
    pub(crate) fn new(object: &str, methods: &[Method]) -> Self {
        let mut known = METHODS.lock();
        let is_same = |known: &[(Arc<str>, &str)]| {
            let mut both = known.iter().zip(methods);
            both.all(|((of, name), method)| **of == *object && *name == method.name)
        };
        // Another worker in this process may host the same object. Then both use the same numbers.
        let earlier = known.windows(methods.len().max(1)).position(is_same);
        let first = earlier.unwrap_or(known.len()) + 1;
        if earlier.is_none() {
            let object: Arc<str> = object.into();
            known.extend(
                methods
                    .iter()
                    .map(|method| (Arc::clone(&object), method.name)),
            );
        }
        Self { first }
    }

    /// Runs a call of the method with this index.
    pub(crate) async fn run<F: Future>(self, method: usize, serving: F) -> F::Output {
        let mut serving = pin!(serving);
        std::future::poll_fn(move |context| {
            let _polling = PollGuard::begin(self.first + method);
            serving.as_mut().poll(context)
        })
        .await
    }
}

/// Marks a poll in progress until it is dropped.
struct PollGuard {
    /// The method whose poll contains this one.
    outer: usize,
}

impl PollGuard {
    fn begin(method: usize) -> Self {
        let outer = THIS_THREAD.with(|polled| polled.change(method));
        Self { outer }
    }
}

impl Drop for PollGuard {
    fn drop(&mut self) {
        THIS_THREAD.with(|polled| polled.change(self.outer));
    }
}

/// Starts the watchdog thread, once per process.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        thread::spawn(|| {
            let mut watchdog = Watchdog::default();
            loop {
                // No thread unparks this one, so it sleeps for this time.
                thread::park_timeout(CHECK_INTERVAL);
                let threads: Vec<_> = THREADS.lock().iter().filter_map(Weak::upgrade).collect();
                for (method, busy) in watchdog.find_long_polls(&threads, Instant::now()) {
                    log_busy_method(method, busy);
                }
            }
        });
    });
}

fn log_busy_method(method: usize, busy: Duration) {
    let known = METHODS.lock();
    let Some((object, method)) = method.checked_sub(1).and_then(|index| known.get(index)) else {
        return;
    };
    let seconds = busy.as_secs_f32();
    tracing::warn!(
        %object,
        method,
        seconds,
        "a method keeps a thread of the runtime busy, so heartbeats and other calls are late: host the \
         object with host_compute, or move what blocks into tokio::task::spawn_blocking"
    );
}

/// The latest observations of the threads.
#[derive(Debug, Default)]
struct Watchdog {
    /// The observation of each thread, by the address of its record.
    observations: HashMap<usize, ThreadObservation>,
}

#[derive(Debug)]
struct ThreadObservation {
    count: u64,
    since: Instant,
    is_logged: bool,
}

impl Watchdog {
    /// The methods whose poll takes too long, and how long the poll has been observed. Each poll is
    /// returned once.
    fn find_long_polls(
        &mut self,
        threads: &[Arc<ThreadPoll>],
        now: Instant,
    ) -> Vec<(usize, Duration)> {
        let address = |thread: &Arc<ThreadPoll>| Arc::as_ptr(thread).addr();
        self.observations
            .retain(|seen, _| threads.iter().any(|thread| address(thread) == *seen));
        let mut late = Vec::new();
        for thread in threads {
            let count = thread.count.load(Ordering::Relaxed);
            let method = thread.method.load(Ordering::Relaxed);
            let fresh = ThreadObservation {
                count,
                since: now,
                is_logged: false,
            };
            let seen = self.observations.entry(address(thread)).or_insert(fresh);
            if seen.count != count {
                *seen = ThreadObservation {
                    count,
                    since: now,
                    is_logged: false,
                };
            }
            let busy = now.saturating_duration_since(seen.since);
            if method != NONE && busy >= MAX_POLL_TIME && !seen.is_logged {
                seen.is_logged = true;
                late.push((method, busy));
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_does_not_end_is_told_once() {
        let thread = Arc::new(ThreadPoll::default());
        let threads = [Arc::clone(&thread)];
        let mut watchdog = Watchdog::default();
        let began = Instant::now();
        let mut look = |after: u64| {
            let now = began + Duration::from_millis(after);
            watchdog.find_long_polls(&threads, now)
        };
        assert!(look(0).is_empty());
        // An idle thread is not reported.
        assert!(look(5_000).is_empty());
        thread.change(7);
        assert!(look(5_500).is_empty());
        assert!(look(6_000).is_empty());
        assert_eq!(look(6_500), [(7, Duration::from_secs(1))]);
        assert!(look(9_000).is_empty());
        // Many short polls are not one long poll.
        thread.change(NONE);
        for after in 0..10 {
            thread.change(7);
            assert!(look(10_000 + after * 500).is_empty());
            thread.change(NONE);
        }
    }

    #[tokio::test]
    async fn a_method_is_noted_while_it_is_polled() {
        let methods = [Method {
            name: "brew",
            variant: "Brew",
            repeatable: false,
            takes_stream: false,
            takes_callback: false,
            answers_stream: false,
            parameters: &[],
            since: 0,
            parameters_since: &[],
        }];
        let watched = WatchedMethods::new("teapot", &methods);
        let polled = THIS_THREAD.with(Arc::clone);
        let during = watched.run(0, async { polled.method.load(Ordering::Relaxed) });
        let number = during.await;
        assert_eq!(METHODS.lock()[number - 1], ("teapot".into(), "brew"));
        assert_eq!(polled.method.load(Ordering::Relaxed), NONE);
    }
}
