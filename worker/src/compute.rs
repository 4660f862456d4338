//! The compute pool. CPU-bound methods run there, so that they never delay heartbeats and small calls.
//! Its queue is bounded: if the queue is full, a call is refused before it runs.

use pyroxene_common::{
    message::{Refusal, RefusalReason},
    scope::{Scope, current},
};
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tarpc::ServerError;
use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

/// The maximum number of threads of the compute pool.
pub const MAX_THREADS: usize = 1024;

/// Threads for CPU-bound methods.
///
/// ```
/// use pyroxene_worker::compute::ComputePool;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = ComputePool::new(1, 0)?;
/// let place = pool.admit()?;
/// assert!(pool.admit().is_err(), "the only thread is taken, and no call may wait");
/// let sum = place.run(async { (1..=1_000_000_u64).sum::<u64>() }).await?;
/// assert_eq!(sum, 500_000_500_000);
/// assert!(pool.admit().is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ComputePool(Arc<ComputePoolInner>);

struct ComputePoolInner {
    threads: Arc<Semaphore>,
    /// The number of methods that run or wait.
    admitted: AtomicUsize,
    /// The number of methods that wait.
    queued: AtomicUsize,
    limit: usize,
    parallel: Arc<rayon::ThreadPool>,
}

impl fmt::Debug for ComputePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComputePool")
            .field("queued", &self.0.queued)
            .field("limit", &self.0.limit)
            .finish_non_exhaustive()
    }
}

/// The nice(2) value of the pool's threads. When a thread of the pool and another thread compete for a
/// core, the pool's thread gets about a third as much time as the other. Threads that read and answer
/// calls should not wait for the pool's threads.
const NICENESS: i32 = 5;

/// Lowers this thread's priority.
fn lower_priority() {
    // On Linux each thread has its own priority. On other systems this would change the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "cannot lower the priority of a compute thread");
    }
}

/// The time after which the caller of a refused call may retry: about the time in which a short queue
/// advances.
const RETRY_AFTER_MS: u32 = 20;

impl ComputePool {
    /// A pool that runs `threads` methods at the same time and lets `queue` more wait.
    pub fn new(threads: usize, queue: usize) -> io::Result<Self> {
        let parallel = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("compute-{index}"))
            .start_handler(|_| lower_priority())
            .build()
            .map_err(io::Error::other)?;
        Ok(Self(Arc::new(ComputePoolInner {
            threads: Arc::new(Semaphore::new(threads)),
            admitted: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            limit: threads.saturating_add(queue),
            parallel: Arc::new(parallel),
        })))
    }

    /// The threads over which one method spreads its work, such as a sort.
    pub fn parallel(&self) -> Arc<rayon::ThreadPool> {
        Arc::clone(&self.0.parallel)
    }

    /// The number of methods that wait.
    pub fn queued(&self) -> usize {
        self.0.queued.load(Ordering::Relaxed)
    }

    /// Acquires a permit of the pool, or refuses the call if the pool and its queue are full.
    pub fn admit(&self) -> Result<ComputePermit, Refusal> {
        let admitted = self.0.admitted.fetch_add(1, Ordering::Relaxed);
        let place = ComputePermit(self.clone());
        if admitted >= self.0.limit {
            drop(place);
            return Err(Refusal {
                reason: RefusalReason::Overloaded,
                retry_after_ms: RETRY_AFTER_MS,
                message: "the worker is overloaded: its compute queue is full".to_owned(),
            });
        }
        Ok(place)
    }

    /// Acquires a permit for the rest of a call that can no longer be refused, even beyond the limit.
    pub(crate) fn admit_over_limit(&self) -> ComputePermit {
        self.0.admitted.fetch_add(1, Ordering::Relaxed);
        ComputePermit(self.clone())
    }
}

/// A permit to run one method on the pool.
#[derive(Debug)]
pub struct ComputePermit(ComputePool);

impl Drop for ComputePermit {
    fn drop(&mut self) {
        self.0.0.admitted.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a method that waits.
struct QueuedMethodGuard(ComputePool);

impl QueuedMethodGuard {
    fn new(pool: &ComputePool) -> Self {
        pool.0.queued.fetch_add(1, Ordering::Relaxed);
        Self(pool.clone())
    }
}

impl Drop for QueuedMethodGuard {
    fn drop(&mut self) {
        self.0.0.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ComputePermit {
    /// Runs a method's future on a thread of the pool. Dropping this future cancels the token in the
    /// method's scope. The thread is free again when the method has reacted to that.
    pub async fn run<F>(self, method: F) -> Result<F::Output, ServerError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let pool = self.0.clone();
        let queued = QueuedMethodGuard::new(&pool);
        let threads = Arc::clone(&pool.0.threads);
        let thread = threads.acquire_owned().await.map_err(stopped)?;
        drop(queued);
        let cancellation = CancellationToken::new();
        let _cancel_when_dropped = cancellation.clone().drop_guard();
        let scope = Scope {
            cancellation,
            ..current()
        };
        let runtime = Handle::current();
        let done = spawn_blocking(move || {
            // The permit and the thread are held until the method ends, even if no caller waits for it.
            let _taken = (self, thread);
            scope.enter(|| runtime.block_on(method))
        });
        done.await.map_err(|error| match error.try_into_panic() {
            // The channel turns the panic into an answer, as for a method that runs on the runtime.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => stopped(error),
        })
    }
}

fn stopped(error: impl fmt::Display) -> ServerError {
    ServerError::new(
        io::ErrorKind::Other,
        format!("the worker has stopped: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::scope;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn beyond_the_queue_a_call_is_refused_and_places_come_back() {
        let pool = ComputePool::new(1, 1).unwrap();
        let (finish, finished) = oneshot::channel::<()>();
        let first = tokio::spawn(pool.admit().unwrap().run(finished));
        let second = tokio::spawn(pool.admit().unwrap().run(async {}));
        let refusal = pool.admit().unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::Overloaded);
        finish.send(()).unwrap();
        first.await.unwrap().unwrap().unwrap();
        second.await.unwrap().unwrap();
        assert_eq!(pool.queued(), 0);
        pool.admit().unwrap();
    }

    #[tokio::test]
    async fn giving_up_cancels_the_method_and_frees_its_thread() {
        let pool = ComputePool::new(1, 0).unwrap();
        let (started, has_started) = oneshot::channel();
        let looping = pool.admit().unwrap().run(async move {
            let cancellation = scope::cancellation();
            started.send(()).unwrap();
            while !cancellation.is_cancelled() {
                std::hint::spin_loop();
            }
        });
        tokio::select! {
            _ = looping => panic!("it loops until it is cancelled"),
            started = has_started => started.unwrap(),
        }
        // The permit is released as soon as the loop has seen the cancellation.
        let place = loop {
            match pool.admit() {
                Ok(place) => break place,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(place.run(async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn a_method_says_on_the_pool_how_far_it_is() {
        let pool = ComputePool::new(1, 0).unwrap();
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let scope = Scope {
            reporter: scope::Reporter::new(move |progress| said.send(progress.note).unwrap()),
            ..Scope::default()
        };
        let running = pool
            .admit()
            .unwrap()
            .run(async { scope::progress(0.5, "half") });
        scope.wrap(std::pin::pin!(running)).await.unwrap();
        assert_eq!(heard.recv().await.unwrap(), "half");
    }

    #[tokio::test]
    async fn a_method_sees_its_caller_on_the_pool() {
        let pool = ComputePool::new(1, 0).unwrap();
        let scope = Scope {
            caller: Arc::new(scope::Caller {
                address: "a".into(),
                name: "n".into(),
                ..scope::Caller::default()
            }),
            ..Scope::default()
        };
        let running = pool
            .admit()
            .unwrap()
            .run(async { scope::current().caller.name.clone() });
        let running = std::pin::pin!(running);
        assert_eq!(scope.wrap(running).await, Ok("n".to_owned()));
    }
}
