//! Offloading: long work runs on a separate thread, so that it does not block a thread of the runtime.
//!
//! Callers take turns. A caller with a thousand pieces of work that wait delays another caller's piece by the time of
//! a few, since no more of them than there are permits wait in the common queue.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// The turns of this process. One piece of work runs at once for every two cores, because the threads that serve
/// connections need a core too.
static TURNS: LazyLock<Turns> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    Turns::new(cores.div_ceil(2))
});

/// The runtime stopped before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process is about to stop")]
pub struct RuntimeStopped;

/// Runs `work` of a caller on a separate thread, and returns its result. Callers with different names take turns.
/// Work that has started is finished even if the future is dropped. A panic of the work is resumed here.
pub async fn offload<T: Send + 'static>(
    caller: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RuntimeStopped> {
    TURNS.run(caller, work).await
}

/// The permits for work, and the callers that wait for them.
struct Turns {
    permits: usize,
    /// Given in the order in which callers ask.
    all: Arc<Semaphore>,
    /// For each caller that waits or works, as many permits again: so few of its pieces wait for `all`.
    callers: Arc<Callers>,
}

#[derive(Default)]
struct Callers(Mutex<HashMap<Arc<str>, Arc<Semaphore>>>);

/// A caller that waits or works.
struct Seat {
    callers: Arc<Callers>,
    caller: Arc<str>,
    /// `None` while it is dropped.
    own: Option<Arc<Semaphore>>,
}

impl Callers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Semaphore>>> {
        // Plain data: valid even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    fn new(permits: usize) -> Self {
        Self {
            permits,
            all: Arc::new(Semaphore::new(permits)),
            callers: Arc::default(),
        }
    }

    fn seat(&self, caller: &str) -> Seat {
        let mut callers = self.callers.lock();
        let (caller, own) = match callers.get_key_value(caller) {
            Some((caller, own)) => (Arc::clone(caller), Arc::clone(own)),
            None => {
                let caller = Arc::<str>::from(caller);
                let own = Arc::new(Semaphore::new(self.permits));
                callers.insert(Arc::clone(&caller), Arc::clone(&own));
                (caller, own)
            }
        };
        Seat {
            callers: Arc::clone(&self.callers),
            caller,
            own: Some(own),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        caller: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RuntimeStopped> {
        let seat = self.seat(caller);
        // Neither semaphore is ever closed.
        let own = seat.own.clone().ok_or(RuntimeStopped)?;
        let own = own.acquire_owned().await;
        let one_of_all = Arc::clone(&self.all).acquire_owned().await;
        let permits = own.and_then(|own| Ok((own, one_of_all?)));
        let permits = permits.map_err(|_| RuntimeStopped)?;
        let done = spawn_blocking(move || {
            let _seat = seat;
            let _permits = permits;
            work()
        });
        done.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => RuntimeStopped,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut callers = self.callers.lock();
        self.own = None;
        let others = callers.get(&self.caller).map_or(0, Arc::strong_count);
        // The map's own.
        if others == 1 {
            callers.remove(&self.caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use std::sync::mpsc;

    #[tokio::test]
    async fn the_runtime_goes_on_while_work_is_done_apart() {
        let (go_on, wait) = mpsc::channel();
        let work = tokio::spawn(offload("ana", move || wait.recv()));
        // On the only thread of this runtime, after the work has begun or before.
        tokio::task::yield_now().await;
        go_on.send(7).unwrap();
        assert_eq!(work.await.unwrap(), Ok(Ok(7)));
    }

    #[tokio::test]
    async fn a_caller_with_much_work_delays_others_by_a_piece_or_two() {
        let turns = Turns::new(1);
        let (go_on, wait) = mpsc::channel::<()>();
        let done = Arc::new(Mutex::new(Vec::new()));
        let note = |who: &'static str| {
            let done = Arc::clone(&done);
            move || done.lock().unwrap().push(who)
        };
        let first = turns.run("ana", move || {
            let _ = wait.recv();
        });
        let much = join_all((0..100).map(|_| turns.run("ana", note("ana"))));
        let other = turns.run("bo", note("bo"));
        let (first, much, other, ()) = tokio::join!(first, much, other, async { drop(go_on) });
        assert!(first.is_ok() && other.is_ok() && much.iter().all(Result::is_ok));
        let done = done.lock().unwrap();
        let place = done.iter().position(|who| *who == "bo");
        assert!(place.is_some_and(|place| place <= 1), "{done:?}");
        assert_eq!(done.len(), 101);
        assert!(turns.callers.lock().is_empty());
    }
}
