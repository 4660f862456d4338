//! The memory that one very large call takes in the client and in the worker.

use std::fs::read_to_string;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    ValueKind,
    worker::{LargeMessageBroker, LargeMessageCaller},
};
use crate::process::{read_client_output, start_client};

/// The arguments of a client process that makes one call.
#[derive(Args)]
pub(crate) struct SingleCallArguments {
    nameserver: String,
    kind: ValueKind,
    size: usize,
}

/// The output of that client process.
#[derive(Serialize, Deserialize)]
struct SingleCallReport {
    milliseconds: f64,
    /// Resident bytes before the client made the value to send, and the greatest number of resident bytes.
    before: u64,
    greatest: u64,
}

/// The memory that one call took. This is an element of the JSON output.
#[derive(Debug, Serialize)]
pub(super) struct MemoryRow {
    pub(super) kind: ValueKind,
    /// Bytes each way.
    pub(super) size: usize,
    pub(super) milliseconds: f64,
    /// The greatest growth of resident memory, divided by the size of the message.
    pub(super) client_copies: f64,
    pub(super) worker_copies: f64,
}

/// Makes one call with a new worker and a new client.
pub(super) async fn measure(kind: ValueKind, size: usize) -> Result<MemoryRow> {
    let broker = LargeMessageBroker::start().await?;
    let process = broker.worker.pid()?.to_string();
    let before = memory(&process, "VmRSS:")?;
    let arguments = [
        "large-single",
        &broker.address,
        &kind.name(),
        &size.to_string(),
    ];
    let client = start_client(&arguments.map(str::to_owned))?;
    let said: SingleCallReport = read_client_output(client).await?;
    let greatest = memory(&process, "VmHWM:")?;
    broker.worker.stop().await?;
    let copies = |greatest: u64, before: u64| greatest.saturating_sub(before) as f64 / size as f64;
    Ok(MemoryRow {
        kind,
        size,
        milliseconds: said.milliseconds,
        client_copies: copies(said.greatest, said.before),
        worker_copies: copies(greatest, before),
    })
}

/// The client process: makes one call and prints its memory as JSON.
pub(crate) async fn run_single(single: SingleCallArguments) -> Result<()> {
    let caller = LargeMessageCaller::connect(&single.nameserver).await?;
    caller.call_small().await?;
    let before = memory("self", "VmRSS:")?;
    let time = caller.call_large(single.kind, single.size).await?;
    let said = SingleCallReport {
        milliseconds: time.as_secs_f64() * 1e3,
        before,
        greatest: memory("self", "VmHWM:")?,
    };
    println!("{}", serde_json::to_string(&said)?);
    Ok(())
}

/// A field of `/proc/PROCESS/status`, in bytes.
fn memory(process: &str, field: &str) -> Result<u64> {
    let status = read_to_string(format!("/proc/{process}/status"))
        .context("cannot read the memory of a process from /proc")?;
    parse(&status, field).with_context(|| format!("no {field} of process {process}"))
}

fn parse(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_in_what_the_kernel_says() {
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t    12 kB\n";
        assert_eq!(parse(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(parse(status, "VmRSS:"), Some(12 << 10));
        assert_eq!(parse(status, "VmPeak:"), None);
    }
}
