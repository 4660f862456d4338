//! Finds methods that keep a thread of the runtime busy, and names them in the log.
//!
//! Each thread of the runtime notes which method it polls, and counts its polls; a thread of its own
//! looks at that. A count that stays the same while a method is polled is one poll that does not end.
//! This costs a call two additions and no look at a clock.

use pyroxene_common::interface::Method;
use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How often the threads are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A poll that takes longer is told of: a worker's lease is renewed every second.
const TOO_LONG: Duration = Duration::from_secs(1);

/// Stands for no method.
const NONE: usize = 0;

/// The methods that are hosted in this process, by number from 1: object and method.
static METHODS: Mutex<Vec<(Arc<str>, &'static str)>> = Mutex::new(Vec::new());

/// The threads that have polled a method.
static THREADS: Mutex<Vec<Weak<Polled>>> = Mutex::new(Vec::new());

thread_local! {
    static THIS_THREAD: Arc<Polled> = {
        let polled = Arc::new(Polled::default());
        let mut threads = lock(&THREADS);
        threads.retain(|thread| thread.strong_count() > 0);
        threads.push(Arc::downgrade(&polled));
        polled
    };
}

/// What a thread polls.
#[derive(Debug, Default)]
struct Polled {
    method: AtomicUsize,
    /// Grows whenever a poll begins or ends.
    count: AtomicU64,
}

impl Polled {
    fn change(&self, method: usize) -> usize {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.method.swap(method, Ordering::Relaxed)
    }
}

/// The methods of one object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    /// The number of the first one.
    first: usize,
}

impl Watched {
    /// Takes note of an object's methods.
    pub(crate) fn new(object: &str, methods: &[Method]) -> Self {
        let mut known = lock(&METHODS);
        let is_same = |known: &[(Arc<str>, &str)]| {
            let mut both = known.iter().zip(methods);
            both.all(|((of, name), method)| **of == *object && *name == method.name)
        };
        // The same object of another worker of this process.
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

    /// Runs a call of the method at this position.
    pub(crate) async fn run<F: Future>(self, method: usize, serving: F) -> F::Output {
        let mut serving = pin!(serving);
        std::future::poll_fn(move |context| {
            let _polling = Polling::begin(self.first + method);
            serving.as_mut().poll(context)
        })
        .await
    }
}

/// A poll that goes on.
struct Polling {
    /// What was polled around it.
    outer: usize,
}

impl Polling {
    fn begin(method: usize) -> Self {
        let outer = THIS_THREAD.with(|polled| polled.change(method));
        Self { outer }
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        THIS_THREAD.with(|polled| polled.change(self.outer));
    }
}

/// Starts to look, once in a process.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        thread::spawn(|| {
            let mut watchdog = Watchdog::default();
            loop {
                // A thread of its own, which nobody wakes.
                thread::park_timeout(LOOK);
                let threads: Vec<_> = lock(&THREADS).iter().filter_map(Weak::upgrade).collect();
                for (method, busy) in watchdog.look(&threads, Instant::now()) {
                    tell(method, busy);
                }
            }
        });
    });
}

fn tell(method: usize, busy: Duration) {
    let known = lock(&METHODS);
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

/// What was seen of the threads.
#[derive(Debug, Default)]
struct Watchdog {
    /// By the thread's address: its count, since when, and whether that was told.
    seen: HashMap<usize, Seen>,
}

#[derive(Debug)]
struct Seen {
    count: u64,
    since: Instant,
    told: bool,
}

impl Watchdog {
    /// The methods whose poll takes too long, each poll once, and for how long it has been seen.
    fn look(&mut self, threads: &[Arc<Polled>], now: Instant) -> Vec<(usize, Duration)> {
        let address = |thread: &Arc<Polled>| Arc::as_ptr(thread).addr();
        self.seen
            .retain(|seen, _| threads.iter().any(|thread| address(thread) == *seen));
        let mut late = Vec::new();
        for thread in threads {
            let count = thread.count.load(Ordering::Relaxed);
            let method = thread.method.load(Ordering::Relaxed);
            let fresh = Seen {
                count,
                since: now,
                told: false,
            };
            let seen = self.seen.entry(address(thread)).or_insert(fresh);
            if seen.count != count {
                *seen = Seen {
                    count,
                    since: now,
                    told: false,
                };
            }
            let busy = now.saturating_duration_since(seen.since);
            if method != NONE && busy >= TOO_LONG && !seen.told {
                seen.told = true;
                late.push((method, busy));
            }
        }
        late
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data: whole even if a holder panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_does_not_end_is_told_once() {
        let thread = Arc::new(Polled::default());
        let threads = [Arc::clone(&thread)];
        let mut watchdog = Watchdog::default();
        let began = Instant::now();
        let mut look = |after: u64| {
            let now = began + Duration::from_millis(after);
            watchdog.look(&threads, now)
        };
        assert!(look(0).is_empty());
        // An idle thread is no trouble.
        assert!(look(5_000).is_empty());
        thread.change(7);
        assert!(look(5_500).is_empty());
        assert!(look(6_000).is_empty());
        assert_eq!(look(6_500), [(7, Duration::from_secs(1))]);
        assert!(look(9_000).is_empty());
        // Many short polls are none that does not end.
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
            parameters: &[],
        }];
        let watched = Watched::new("teapot", &methods);
        let polled = THIS_THREAD.with(Arc::clone);
        let during = watched.run(0, async { polled.method.load(Ordering::Relaxed) });
        let number = during.await;
        assert_eq!(lock(&METHODS)[number - 1], ("teapot".into(), "brew"));
        assert_eq!(polled.method.load(Ordering::Relaxed), NONE);
    }
}
