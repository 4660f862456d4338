//! A runtime with its own thread, for work that must never wait for other work of the process.

use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

/// A tokio runtime with one thread. Leases are renewed on such a runtime, so that they do not expire while
/// the process's other runtime threads are busy.
///
/// Dropping it stops it at once and cancels its tasks.
#[derive(Debug)]
pub struct DedicatedRuntime {
    handle: Handle,
    /// `None` if it is not its own runtime, and while this is being dropped.
    runtime: Option<Runtime>,
}

impl DedicatedRuntime {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The operating system gives the process no more threads or files.
    pub fn start(thread_name: &str) -> io::Result<Self> {
        // Not a current-thread runtime, because `tokio::task::block_in_place` does not work there.
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

    /// The current runtime in its place, without a thread of its own: for tests, whose time may be paused.
    pub fn current() -> Self {
        Self {
            handle: Handle::current(),
            runtime: None,
        }
    }

    /// A handle that spawns tasks on this runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for DedicatedRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A task may drop it, and a task must not block.
            runtime.shutdown_background();
        }
    }
}
