//! A worker of a broker.

use crate::harness::Process;
use std::process::ExitStatus;

/// A worker of a broker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) process: Process,
}

impl Worker {
    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it without a chance to say anything.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.process.terminate().await
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        self.process.exit().await
    }

    /// What it printed after its ready line. It must have ended.
    pub(crate) async fn rest_of_output(&mut self) -> String {
        self.process.rest_of_output().await
    }

    /// Stops it: it keeps its sockets and answers nothing.
    pub(crate) fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.thaw();
    }

    /// The most memory that it has ever had in use, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.process.peak_memory()
    }
}
