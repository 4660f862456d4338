//! Streams of items: small ones beside tonic's server streaming, and large ones beside framed TCP.
//!
//! Client and server are processes of their own, new for each measurement, so that their memory is that of one stream.

mod client;
mod report;
mod systems;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum, builder::RangedU64ValueParser};

use self::{
    client::StreamTally,
    report::{BulkRow, ItemRow, StreamsReport},
};
pub(crate) use self::{
    client::{StreamClientArguments, run_client},
    systems::StreamSystem,
};
use crate::{process::ChildServer, program::ResidentMemory, rpc::parse_seconds};

/// The size of small items, in bytes.
const SMALL: usize = 64;

/// The size of large items, in bytes.
const LARGE: usize = 1 << 20;

/// The options of the benchmark `streams`.
#[derive(Args)]
pub(crate) struct StreamsBenchOptions {
    /// Parts, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "items,bulk")]
    parts: Vec<StreamsPart>,

    /// Measured seconds of small items per system and round; a fifth of that is added for warming up
    #[arg(long, default_value = "2", value_parser = parse_seconds)]
    seconds: Duration,

    /// Rounds, in which the systems take turns; the round with the median is kept
    #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,

    /// Gigabytes (10⁹ bytes) that go through one stream of large items
    #[arg(long, default_value_t = 2.0)]
    gigabytes: f64,

    /// Print a JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StreamsPart {
    /// One stream of items of 64 bytes
    Items,
    /// One stream of items of 1 MiB, and the memory of both ends
    Bulk,
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: StreamsBenchOptions) -> Result<()> {
    let mut report = StreamsReport::default();
    for part in &options.parts {
        match part {
            StreamsPart::Items => report.items = small_items(&options).await?,
            StreamsPart::Bulk => report.bulk = bulk(&options).await?,
        }
    }
    report.print(options.json)
}

async fn small_items(options: &StreamsBenchOptions) -> Result<Vec<ItemRow>> {
    let systems = [
        StreamSystem::Raw,
        StreamSystem::Tonic,
        StreamSystem::Pyroxene,
    ];
    let limit = StreamLimit::Time(options.seconds);
    let mut measured = vec![Vec::new(); systems.len()];
    for round in 1..=options.rounds {
        for (system, rows) in systems.into_iter().zip(&mut measured) {
            let (tally, server) = measure(system, SMALL, limit).await?;
            let row = ItemRow::new(system, &tally, &server);
            eprintln!(
                "{}: round {round}: {:.0} items/s",
                system.name(),
                row.items_per_s
            );
            rows.push(row);
        }
    }
    Ok(measured.into_iter().filter_map(report::median).collect())
}

async fn bulk(options: &StreamsBenchOptions) -> Result<Vec<BulkRow>> {
    let systems = [StreamSystem::Raw, StreamSystem::Pyroxene];
    let limit = StreamLimit::Bytes((options.gigabytes * 1e9) as u64);
    let mut measured = vec![Vec::new(); systems.len()];
    for round in 1..=options.rounds {
        for (system, rows) in systems.into_iter().zip(&mut measured) {
            let (tally, server) = measure(system, LARGE, limit).await?;
            let row = BulkRow::new(system, &tally, &server);
            eprintln!(
                "{}: round {round}: {:.0} MB/s",
                system.name(),
                row.megabytes_per_s
            );
            rows.push(row);
        }
    }
    Ok(measured.into_iter().filter_map(report::median).collect())
}

/// Until when a stream is read.
#[derive(Clone, Copy, Debug)]
enum StreamLimit {
    Time(Duration),
    Bytes(u64),
}

/// What a stream took of its server.
struct ServerUse {
    /// By how many bytes its resident memory grew at most.
    growth: u64,
    /// Its processor time for the stream, in seconds.
    cpu_seconds: f64,
}

/// Reads one stream from a new server with a new client.
async fn measure(
    system: StreamSystem,
    size: usize,
    limit: StreamLimit,
) -> Result<(StreamTally, ServerUse)> {
    let name = system.name();
    let server = ChildServer::start_this_program(&["serve", "streams", &name]).await?;
    let pid = server.pid()?;
    let (idle, cpu_before) = (ResidentMemory::of(pid)?, server.cpu_time()?);
    let tally = client::start(system, server.address(), size, limit).await?;
    let used = ServerUse {
        growth: ResidentMemory::peak(pid)?.saturating_sub(idle.total),
        cpu_seconds: (server.cpu_time()? - cpu_before).as_secs_f64(),
    };
    server.stop().await?;
    Ok((tally, used))
}
