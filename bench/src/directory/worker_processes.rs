//! Many real workers in a few processes.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use pyroxene_objects::HostBuiltins;
use pyroxene_worker::Worker;

use crate::process::{self, ChildServer, raise_file_limit};

/// Processes that the workers are spread over.
const PROCESSES: usize = 4;

/// The number of workers of a process that start at the same time.
const CONCURRENT_STARTS: usize = 16;

/// Starts `count` workers, spread over a few processes.
pub(super) async fn start(
    nameserver: SocketAddr,
    count: usize,
    objects: &str,
) -> Result<Vec<ChildServer>> {
    let mut processes = Vec::new();
    for number in 0..PROCESSES {
        let (first, end) = (count * number / PROCESSES, count * (number + 1) / PROCESSES);
        let arguments = [
            "serve",
            "fleet",
            &nameserver.to_string(),
            objects,
            &first.to_string(),
            &end.to_string(),
        ];
        processes.push(ChildServer::start_this_program(&arguments).await?);
    }
    Ok(processes)
}

/// Runs the workers with the numbers `first..end`. They are the library's own workers, with sessions
/// and heartbeats; each has one compute thread.
pub(crate) async fn serve(
    nameserver: String,
    objects: String,
    first: usize,
    end: usize,
) -> Result<()> {
    raise_file_limit()?;
    let starting = stream::iter(first..end).map(|number| {
        let builder = Worker::builder()
            .nameserver(&nameserver)
            .name(format!("fleet-{number:04}"))
            .threads(1)
            .builtins(objects.split(','));
        async move { anyhow::Ok(builder?.bind().await?) }
    });
    let workers: Vec<Worker> = starting
        .buffer_unordered(CONCURRENT_STARTS)
        .try_collect()
        .await?;
    // Each worker has its own address, so the address in the ready line is never used.
    process::print_ready_line((Ipv4Addr::LOCALHOST, 0).into())?;
    std::future::pending::<()>().await;
    drop(workers);
    Ok(())
}
