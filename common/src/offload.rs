//! Work that would keep a thread of the runtime for long, done on a thread apart.

use std::{
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// How many pieces of work run at once in this process: one for every two cores, since those who
/// serve everybody else need a core too. The others wait in the order in which they came.
static PERMITS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    Arc::new(Semaphore::new(cores.div_ceil(2)))
});

/// The runtime ended before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process is about to stop")]
pub struct Stopped;

/// Does `work` on a thread apart, and answers what it comes to. Work that has begun is finished even
/// if nobody waits for it any more. A panic of the work goes on here.
pub async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    // Nobody closes the semaphore.
    let permit = Arc::clone(&PERMITS).acquire_owned().await;
    let permit = permit.map_err(|_| Stopped)?;
    let done = spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Stopped,
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
