//! Offloading: long work runs on a separate thread, so that it does not block a thread of the runtime.

use std::{
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// How many pieces of work run at once in this process: one for every two cores, because the threads that
/// serve connections need a core too. The others wait in order of arrival.
static PERMITS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    Arc::new(Semaphore::new(cores.div_ceil(2)))
});

/// The runtime stopped before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process is about to stop")]
pub struct RuntimeStopped;

/// Runs `work` on a separate thread, and returns its result. Work that has started is finished even if the
/// future is dropped. A panic of the work is resumed here.
pub async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RuntimeStopped> {
    // The semaphore is never closed.
    let permit = Arc::clone(&PERMITS).acquire_owned().await;
    let permit = permit.map_err(|_| RuntimeStopped)?;
    let done = spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => RuntimeStopped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_runtime_goes_on_while_work_is_done_apart() {
        let (go_on, wait) = std::sync::mpsc::channel();
        let work = tokio::spawn(offload(move || wait.recv()));
        // On the only thread of this runtime, after the work has begun or before.
        tokio::task::yield_now().await;
        go_on.send(7).unwrap();
        assert_eq!(work.await.unwrap(), Ok(Ok(7)));
    }
}
