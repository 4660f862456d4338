//! One attempt whose outcome is shared by all callers that wait for it.
//!
//! If each waiting caller made its own attempt after the first one failed, a silent peer would cost one
//! timeout per caller. Here the callers share a failure in the same way as a success.

use pyroxene_common::channel::{AttemptError, ConnectionLost};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

type SharedOutcome<T> = Result<T, AttemptError>;

/// The attempt that is running now, if there is one.
type RunningAttempt<T> = Option<watch::Receiver<Option<SharedOutcome<T>>>>;

/// An attempt that several callers may wait for.
pub(crate) struct SharedAttempt<T>(Arc<Mutex<RunningAttempt<T>>>);

impl<T> Default for SharedAttempt<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> fmt::Debug for SharedAttempt<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedAttempt")
    }
}

impl<T: Clone + Send + Sync + 'static> SharedAttempt<T> {
    /// The outcome of the running attempt, or of a new one that `begin` starts. An attempt continues if
    /// its callers stop waiting. The attempt must have its own timeout, and callers bound their waiting.
    pub(crate) async fn outcome<F>(&self, begin: impl FnOnce() -> F) -> SharedOutcome<T>
    where
        F: Future<Output = SharedOutcome<T>> + Send + 'static,
    {
        let stopped = || Err(AttemptError::NotSent(ConnectionLost::Abandoned(STOPPED)));
        let mut running = self.join(begin);
        match running.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(stopped),
            Err(_) => stopped(),
        }
    }

    fn join<F>(&self, begin: impl FnOnce() -> F) -> watch::Receiver<Option<SharedOutcome<T>>>
    where
        F: Future<Output = SharedOutcome<T>> + Send + 'static,
    {
        let mut running = lock(&self.0);
        let lives = |running: &&watch::Receiver<_>| running.has_changed().is_ok();
        if let Some(running) = running.as_ref().filter(lives) {
            return running.clone();
        }
        let (sender, receiver) = watch::channel(None);
        *running = Some(receiver.clone());
        let attempt = begin();
        let slot = Arc::clone(&self.0);
        tokio::spawn(async move {
            let outcome = attempt.await;
            *lock(&slot) = None;
            sender.send_replace(Some(outcome));
        });
        receiver
    }
}

const STOPPED: &str = "the runtime stopped";

fn lock<T>(running: &Mutex<RunningAttempt<T>>) -> MutexGuard<'_, RunningAttempt<T>> {
    // The data stays valid even if a lock holder panicked.
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };
    use tokio::time::{Instant, sleep, timeout};

    const SECOND: Duration = Duration::from_secs(1);

    struct Peer {
        shared: SharedAttempt<u32>,
        attempts: Arc<AtomicUsize>,
    }

    impl Peer {
        fn new() -> Self {
            Self {
                shared: SharedAttempt::default(),
                attempts: Arc::default(),
            }
        }

        /// Waits for an attempt that takes five seconds.
        async fn ask(&self, answer: SharedOutcome<u32>) -> SharedOutcome<u32> {
            let attempts = Arc::clone(&self.attempts);
            let attempt = || async move {
                attempts.fetch_add(1, Ordering::Relaxed);
                sleep(5 * SECOND).await;
                answer
            };
            self.shared.outcome(attempt).await
        }

        fn attempts(&self) -> usize {
            self.attempts.load(Ordering::Relaxed)
        }
    }

    fn failure() -> SharedOutcome<u32> {
        Err(AttemptError::NotSent(ConnectionLost::Closed))
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_share_one_failure() {
        let peer = Peer::new();
        let began = Instant::now();
        let asked = (0..100).map(|_| peer.ask(failure()));
        let outcomes = futures::future::join_all(asked).await;
        assert!(outcomes.iter().all(Result::is_err));
        assert_eq!((peer.attempts(), began.elapsed()), (1, 5 * SECOND));
        assert_eq!(
            peer.ask(Ok(7)).await.unwrap(),
            7,
            "the next one tries again"
        );
        assert_eq!(peer.attempts(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_goes_on_when_its_caller_has_left() {
        let peer = Peer::new();
        assert!(timeout(SECOND, peer.ask(Ok(7))).await.is_err());
        let began = Instant::now();
        assert_eq!(peer.ask(failure()).await.unwrap(), 7);
        assert_eq!((peer.attempts(), began.elapsed()), (1, 4 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_panicked_is_not_waited_for() {
        let shared = SharedAttempt::<u32>::default();
        let broken = || async { panic!("on purpose") };
        assert!(shared.outcome(broken).await.is_err());
        assert_eq!(shared.outcome(|| async { Ok(7) }).await.unwrap(), 7);
    }
}
