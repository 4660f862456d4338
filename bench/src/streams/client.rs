//! The client process: reads one stream, and tells how fast it was and how its memory grew.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    StreamLimit,
    systems::{StreamConnection, StreamSystem},
};
use crate::{
    process::{cpu_time, read_client_output, start_client},
    program::ResidentMemory,
    rpc::EchoPayload,
};

/// The clock is read after this many small items.
const ITEMS_PER_LOOK: u64 = 256;

/// The arguments of a client.
#[derive(Args)]
pub(crate) struct StreamClientArguments {
    system: StreamSystem,
    server: SocketAddr,
    /// Bytes of each item
    size: usize,
    /// Bytes to read; 0 reads for a time
    bytes: u64,
    milliseconds: u64,
}

/// What a client read.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct StreamTally {
    pub(super) items: u64,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    /// All items, with those of the warm-up, and the processor time of the client for them, in seconds.
    pub(super) all_items: u64,
    pub(super) cpu_seconds: f64,
    /// By how many bytes its resident memory grew at most, from that with the open connection.
    pub(super) growth: u64,
}

/// Starts a client and waits for its result.
pub(super) async fn start(
    system: StreamSystem,
    server: SocketAddr,
    size: usize,
    limit: StreamLimit,
) -> Result<StreamTally> {
    let (bytes, milliseconds) = match limit {
        StreamLimit::Bytes(bytes) => (bytes, 0),
        StreamLimit::Time(time) => (0, time.as_millis()),
    };
    let arguments = [
        "stream".to_owned(),
        system.name(),
        server.to_string(),
        size.to_string(),
        bytes.to_string(),
        milliseconds.to_string(),
    ];
    read_client_output(start_client(&arguments)?).await
}

/// Reads one stream.
pub(crate) async fn run_client(arguments: StreamClientArguments) -> Result<()> {
    let item = EchoPayload::new(arguments.size, 7);
    let connection = StreamConnection::open(arguments.system, arguments.server).await?;
    let idle = ResidentMemory::of(std::process::id())?;
    let mut items = connection.read(item.bytes()).await?;
    let measured = Duration::from_millis(arguments.milliseconds);
    let (mut began, mut until) = (Instant::now(), None);
    let mut tally = StreamTally {
        items: 0,
        bytes: 0,
        seconds: 0.0,
        all_items: 0,
        cpu_seconds: 0.0,
        growth: 0,
    };
    let cpu_before = cpu_time("self")?;
    if arguments.bytes == 0 {
        until = Some(began + measured / 5);
    }
    let mut is_warm = arguments.bytes > 0;
    loop {
        let read = items.next().await.context("the stream ended")??;
        item.check(&read)?;
        tally.items += 1;
        tally.all_items += 1;
        tally.bytes += read.len() as u64;
        match until {
            None if tally.bytes >= arguments.bytes => break,
            None => continue,
            Some(_) if !tally.items.is_multiple_of(ITEMS_PER_LOOK) => continue,
            Some(until) if Instant::now() < until => continue,
            Some(_) if is_warm => break,
            Some(_) => {
                is_warm = true;
                began = Instant::now();
                until = Some(began + measured);
                (tally.items, tally.bytes) = (0, 0);
            }
        }
    }
    tally.seconds = began.elapsed().as_secs_f64();
    tally.cpu_seconds = (cpu_time("self")? - cpu_before).as_secs_f64();
    ensure!(tally.seconds > 0.0, "nothing was measured");
    tally.growth = ResidentMemory::peak(std::process::id())?.saturating_sub(idle.total);
    println!("{}", serde_json::to_string(&tally)?);
    Ok(())
}
