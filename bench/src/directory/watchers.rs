//! The time until a change of an object's membership reaches all watchers.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use pyroxene_common::interfaces::directory::{ObjectRegistration, Registration, WatchUpdate};
use tarpc::context;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::worker_sessions::{DirectoryConnection, connect, connect_many};
use crate::figure::{Figure, FigureTarget, Figures};

const OBJECT: &str = "watched.service";

/// The number of times that a worker registers and leaves.
const ROUNDS: usize = 25;

/// The pause between two changes, so that all watchers are waiting again.
const PAUSE: Duration = Duration::from_millis(50);

/// A change must reach all watchers within this time.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// A worker registers and leaves repeatedly while many clients watch, each over its own connection.
/// Measures the time from before the worker's call until each client has the change.
pub(super) async fn measure(
    nameserver: SocketAddr,
    watchers: usize,
    figures: &mut Figures,
) -> Result<()> {
    let (told, mut news) = mpsc::channel(watchers.max(1));
    let mut watching = JoinSet::new();
    for line in connect_many(nameserver, watchers).await? {
        let told = told.clone();
        watching.spawn(async move {
            let watched = watch(line, &told).await;
            // The result of this task is never read, so the error is printed here.
            watched.inspect_err(|error| eprintln!("a watcher failed: {error:#}"))
        });
    }
    // Each watcher reports its first snapshot.
    collect_latencies(&mut news, watchers, Instant::now()).await?;
    let line = connect(nameserver).await?;
    let mut latencies = Histogram::new(3)?;
    let mut add = |histogram| latencies.add(histogram);
    for _ in 0..ROUNDS {
        sleep(PAUSE).await;
        let start = Instant::now();
        let lease = line
            .open(context::current(), registration(), None)
            .await??;
        add(collect_latencies(&mut news, watchers, start).await?)?;
        sleep(PAUSE).await;
        let start = Instant::now();
        line.close(context::current(), lease.session).await??;
        add(collect_latencies(&mut news, watchers, start).await?)?;
    }
    let milliseconds = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
    let what = format!("a change reaches {watchers} watchers");
    figures.add(Figure::new(format!("{what}: p50"), milliseconds(0.5), "ms"));
    let p99 = Figure::new(format!("{what}: p99"), milliseconds(0.99), "ms");
    figures.add(p99.target(FigureTarget::AtMost(100.0)));
    figures.add(Figure::new(
        format!("{what}: worst"),
        milliseconds(1.0),
        "ms",
    ));
    Ok(())
}

/// Waits until every watcher has reported, and returns their latencies in nanoseconds since `start`.
async fn collect_latencies(
    news: &mut mpsc::Receiver<Instant>,
    watchers: usize,
    start: Instant,
) -> Result<Histogram<u64>> {
    let mut latencies = Histogram::new(3)?;
    let all = async {
        for _ in 0..watchers {
            let at = news.recv().await.context("no watcher is left")?;
            let nanoseconds = at.saturating_duration_since(start).as_nanos();
            latencies.record(u64::try_from(nanoseconds)?)?;
        }
        anyhow::Ok(())
    };
    timeout(DELIVERY_TIMEOUT, all)
        .await
        .context("a change did not reach every watcher")??;
    Ok(latencies)
}

/// Watches the object, and reports the time of its first snapshot and then of each change.
async fn watch(line: DirectoryConnection, told: &mpsc::Sender<Instant>) -> Result<()> {
    let mut cursor = None;
    loop {
        let mut context = context::current();
        context.deadline = (Instant::now() + Duration::from_secs(60)).into_std();
        let object = OBJECT.to_owned();
        let watched = line.watch(context, object, cursor, 30_000).await??;
        let heard = Instant::now();
        cursor = Some(watched.cursor);
        match watched.news {
            WatchUpdate::Changes(changes) if changes.is_empty() => continue,
            WatchUpdate::Changes(changes) if changes.len() > 1 => bail!("two changes at once"),
            WatchUpdate::Changes(_) | WatchUpdate::Snapshot(_) => {}
        }
        if told.send(heard).await.is_err() {
            return Ok(());
        }
    }
}

fn registration() -> Registration {
    let offer = ObjectRegistration {
        object: OBJECT.to_owned(),
        interface: "Watched.Service".to_owned(),
        version: 1,
        spoken: Vec::new(),
        tags: Vec::new(),
        exclusive: false,
    };
    Registration {
        worker: "watched-worker".to_owned(),
        incarnation: 1,
        endpoint: "10.1.9.9:41000".to_owned(),
        pid: 1,
        host: "watched.example".to_owned(),
        capacity: 1,
        ttl_ms: 60_000,
        objects: vec![offer],
    }
}
