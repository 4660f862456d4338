//! New connections, one after the other: connect, shake hands, say hello, be welcomed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use hdrhistogram::Histogram;
use pyroxene_client::{NameServer, Recognised};
use pyroxene_common::{
    access::{Addressee, Challenge, Credential, HolderKey},
    endpoint::Endpoint,
    hello::{self, Hello},
    interface::Interface as _,
    net::Stream,
    tls::TlsClient,
};
use serde::Serialize;

use crate::{
    rpc::{
        System, parse_seconds,
        systems::{
            pyroxene::{EchoService, OBJECT},
            secured::Secrets,
        },
    },
    table::{Table, figure, ratio},
};

const SYSTEMS: [System; 4] = [
    System::PyroxeneDirect,
    System::PyroxeneAuthorised,
    System::PyroxeneTls,
    System::PyroxeneSecured,
];

/// What to measure and how to show it.
#[derive(Args)]
pub(crate) struct Options {
    /// Measured seconds per system and round
    #[arg(long, default_value = "1", value_parser = parse_seconds)]
    seconds: Duration,

    /// Rounds; of each system the one with the median throughput is kept
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Serialize)]
struct Row {
    system: System,
    connections_per_s: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Measures and prints.
pub(crate) async fn run(options: Options) -> Result<()> {
    let mut measured: Vec<Vec<Row>> = vec![Vec::new(); SYSTEMS.len()];
    for _ in 0..options.rounds.max(1) {
        for (system, rows) in SYSTEMS.into_iter().zip(&mut measured) {
            rows.push(measure(system, options.seconds).await?);
        }
    }
    let rows: Vec<Row> = measured.into_iter().filter_map(median).collect();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let mut table = Table::new([
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

fn median(mut rows: Vec<Row>) -> Option<Row> {
    rows.sort_by(|one, other| one.connections_per_s.total_cmp(&other.connections_per_s));
    rows.get(rows.len() / 2).cloned()
}

async fn measure(system: System, seconds: Duration) -> Result<Row> {
    let secrets = Secrets::create()?;
    let server = system
        .start(system.is_secured().then_some(&secrets))
        .await?;
    let endpoint = Endpoint::from(server.address());
    let tls = match system {
        System::PyroxeneTls | System::PyroxeneSecured => Some(secrets.tls()?),
        _ => None,
    };
    let ticket = match system {
        System::PyroxeneAuthorised | System::PyroxeneSecured => Some(ticket(&secrets).await?),
        _ => None,
    };
    for _ in 0..100 {
        set_up(&endpoint, tls.as_ref(), ticket.as_deref()).await?;
    }
    let mut latencies = Histogram::<u64>::new(3)?;
    let start = Instant::now();
    while start.elapsed() < seconds {
        let begun = Instant::now();
        set_up(&endpoint, tls.as_ref(), ticket.as_deref()).await?;
        latencies.record(u64::try_from(begun.elapsed().as_nanos())?)?;
    }
    let taken = start.elapsed().as_secs_f64();
    server.stop().await?;
    let microseconds = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Row {
        system,
        connections_per_s: latencies.len() as f64 / taken,
        p50_us: microseconds(0.5),
        p99_us: microseconds(0.99),
    })
}

/// The user's ticket.
async fn ticket(secrets: &Secrets) -> Result<Vec<u8>> {
    let config = secrets.config()?;
    let address = config.endpoints().first().context("no name server")?;
    let nameserver = NameServer::new(address.clone(), &config);
    let recognised = nameserver
        .recognise()
        .await?
        .context("nobody to recognise")?;
    let recognised = recognised.borrow();
    let Recognised::As(held) = &*recognised else {
        bail!("the name server asks nobody who they are");
    };
    Ok(held.admission.ticket.as_bytes().to_vec())
}

/// Connects and is welcomed. The connection ends with that.
async fn set_up(endpoint: &Endpoint, tls: Option<&TlsClient>, ticket: Option<&[u8]>) -> Result<()> {
    let mut stream = Stream::connect(endpoint, tls).await?;
    let mut hello = Hello {
        object: OBJECT.to_owned(),
        interface: EchoService::NAME.to_owned(),
        interface_version: EchoService::VERSION,
        client: "bench".to_owned(),
        max_message: 64 << 20,
        credential: None,
    };
    let Some(ticket) = ticket else {
        hello::greet(&mut stream, &hello).await?;
        return Ok(());
    };
    let key = HolderKey::of_process()?;
    let addressee = Addressee::Worker("bench".to_owned());
    let proof = match stream.exporter() {
        Some(exporter) => key.prove(ticket, &addressee, &Challenge::Exporter(exporter)),
        // The server asks for it.
        None => Vec::new(),
    };
    hello.credential = Some(Credential {
        ticket: ticket.to_vec(),
        addressee,
        proof,
    });
    hello::greet_as(&mut stream, &hello, key).await?;
    Ok(())
}
