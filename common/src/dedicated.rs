//! A runtime with a thread of its own, for work that must never wait for other work of the process.

use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

/// A tokio runtime of one thread. Leases are kept on one, so that they live on while the process's
/// other runtime threads are busy with something long.
///
/// Dropping it stops it at once; tasks that it runs are cancelled.
#[derive(Debug)]
pub struct DedicatedRuntime {
    handle: Handle,
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
}

impl DedicatedRuntime {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The operating system gives the process no more threads or files.
    pub fn start(thread_name: &str) -> io::Result<Self> {
        // Not a current-thread runtime: on that one no task can step aside while it does something
        // long (see `tokio::task::block_in_place`).
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(thread_name)
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// What runs tasks there.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for DedicatedRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped by a task, which must not wait.
            runtime.shutdown_background();
        }
    }
}
