//! New connections, one after the other: TCP connection, TLS handshake, hello, welcome.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use hdrhistogram::Histogram;
use pyroxene_client::{Client, DirectProxy};
use pyroxene_common::endpoint::Endpoint;
use serde::Serialize;

use crate::{
    rpc::{
        System, parse_seconds,
        systems::{
            pyroxene::{EchoService, OBJECT},
            secured::Secrets,
        },
    },
    table::{TextTable, figure, ratio},
};

const SYSTEMS: [System; 4] = [
    System::PyroxeneDirect,
    System::PyroxeneAuthorised,
    System::PyroxeneTls,
    System::PyroxeneSecured,
];

/// The options of the benchmark `set-up`.
#[derive(Args)]
pub(crate) struct SetUpBenchOptions {
    /// Measured seconds per system and round
    #[arg(long, default_value = "1", value_parser = parse_seconds)]
    seconds: Duration,

    /// Rounds; for each system the round with the median throughput is kept
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Serialize)]
struct ConnectionRow {
    system: System,
    connections_per_s: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Measures and prints.
pub(crate) async fn run(options: SetUpBenchOptions) -> Result<()> {
    let mut measured: Vec<Vec<ConnectionRow>> = vec![Vec::new(); SYSTEMS.len()];
    for _ in 0..options.rounds.max(1) {
        for (system, rows) in SYSTEMS.into_iter().zip(&mut measured) {
            rows.push(measure(system, options.seconds).await?);
        }
    }
    let rows: Vec<ConnectionRow> = measured.into_iter().filter_map(median).collect();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let mut table = TextTable::new([
        "system",
        "connections/s",
        "p50 µs",
        "p99 µs",
        "p50 ÷ direct",
    ]);
    let direct = rows.first().map_or(f64::NAN, |row| row.p50_us);
    for row in &rows {
        table.push(vec![
            row.system.name(),
            figure(row.connections_per_s),
            figure(row.p50_us),
            figure(row.p99_us),
            ratio(row.p50_us, direct),
        ]);
    }
    print!("{table}");
    Ok(())
}

fn median(mut rows: Vec<ConnectionRow>) -> Option<ConnectionRow> {
    rows.sort_by(|one, other| one.connections_per_s.total_cmp(&other.connections_per_s));
    rows.get(rows.len() / 2).cloned()
}

async fn measure(system: System, seconds: Duration) -> Result<ConnectionRow> {
    let secrets = Secrets::create()?;
    let server = system
        .start(system.is_secured().then_some(&secrets))
        .await?;
    let endpoint = Endpoint::from(server.address());
    let mut config = match system {
        System::PyroxeneAuthorised | System::PyroxeneSecured => secrets.user_config()?,
        _ => secrets.anonymous_config()?,
    };
    if matches!(system, System::PyroxeneTls | System::PyroxeneSecured) {
        config = config.tls(secrets.tls()?);
    }
    let client = Client::new(config);
    // In a task, as in the library, which makes its connections in tasks.
    let (latencies, taken) = tokio::spawn(connect(client, endpoint, seconds)).await??;
    server.stop().await?;
    let microseconds = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    Ok(ConnectionRow {
        system,
        connections_per_s: latencies.len() as f64 / taken,
        p50_us: microseconds(0.5),
        p99_us: microseconds(0.99),
    })
}

/// Connects repeatedly, each time until the server's welcome. Returns the time of each connection in
/// nanoseconds, and the time of all connections in seconds.
async fn connect(
    client: Client,
    endpoint: Endpoint,
    seconds: Duration,
) -> Result<(Histogram<u64>, f64)> {
    for _ in 0..100 {
        DirectProxy::<EchoService>::connect_as(&client, &endpoint, OBJECT).await?;
    }
    let mut latencies = Histogram::<u64>::new(3)?;
    let start = Instant::now();
    while start.elapsed() < seconds {
        let begun = Instant::now();
        DirectProxy::<EchoService>::connect_as(&client, &endpoint, OBJECT).await?;
        latencies.record(u64::try_from(begun.elapsed().as_nanos())?)?;
    }
    Ok((latencies, start.elapsed().as_secs_f64()))
}
