//! The runtime that suits a worker.

use std::{io, num::NonZeroUsize, thread::available_parallelism};
use tokio::runtime::{Builder, Runtime};

/// A tokio runtime for a process that is a worker and little else: a thread for every two cores.
///
/// What keeps a core busy for long belongs on the compute pool, which has a thread for every core.
/// Serving sockets takes so little that more runtime threads would mostly wake each other up.
pub fn runtime() -> io::Result<Runtime> {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    Builder::new_multi_thread()
        .worker_threads(cores.div_ceil(2))
        .enable_all()
        .build()
}
