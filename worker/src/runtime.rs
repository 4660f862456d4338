//! The tokio runtime of a worker.

use std::{io, num::NonZeroUsize, thread::available_parallelism};
use tokio::runtime::{Builder, Runtime};

/// A tokio runtime for a process that is mainly a worker, with one thread for every two cores.
///
/// Calls that keep a core busy for long belong on the compute pool, which has one thread for each core.
/// Serving sockets takes so little time that more runtime threads would mostly wake each other up.
///
/// ```no_run
/// use pyroxene_worker::{Worker, runtime};
///
/// runtime()?.block_on(async { Worker::builder().bind().await?.join().await })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn runtime() -> io::Result<Runtime> {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    Builder::new_multi_thread()
        .worker_threads(cores.div_ceil(2))
        .enable_all()
        .build()
}
