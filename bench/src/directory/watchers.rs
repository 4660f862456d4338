//! How soon a change of an object's membership reaches everybody who watches it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use pyroxene_common::interfaces::directory::{News, Offer, Registration};
use tarpc::context;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Figures,
    population::{Line, connect, connect_many},
};
use crate::figure::{Figure, Target};

const OBJECT: &str = "watched.service";

/// A worker comes and goes so many times.
const ROUNDS: usize = 25;

/// Between two changes, so that everybody is watching again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a change may take at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets a worker come and go while many clients watch, each over a connection of its own. Measures
/// from before the worker's call until each of them has the news.
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
            // Nobody else tells that something went wrong.
            watched.inspect_err(|error| eprintln!("a watcher failed: {error:#}"))
        });
    }
    // Each says that it is there.
    gather(&mut news, watchers, Instant::now()).await?;
    let line = connect(nameserver).await?;
    let mut latencies = Histogram::new(3)?;
    let mut add = |histogram| latencies.add(histogram);
    for _ in 0..ROUNDS {
        sleep(PAUSE).await;
        let start = Instant::now();
        let lease = line.open(context::current(), registration()).await??;
        add(gather(&mut news, watchers, start).await?)?;
        sleep(PAUSE).await;
        let start = Instant::now();
        line.close(context::current(), lease.session).await??;
        add(gather(&mut news, watchers, start).await?)?;
    }
    let milliseconds = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
    let what = format!("a change reaches {watchers} watchers");
    figures.note(Figure::new(format!("{what}: p50"), milliseconds(0.5), "ms"));
    let p99 = Figure::new(format!("{what}: p99"), milliseconds(0.99), "ms");
    figures.note(p99.target(Target::AtMost(100.0)));
    figures.note(Figure::new(
        format!("{what}: worst"),
        milliseconds(1.0),
        "ms",
    ));
    Ok(())
}

/// Waits until everybody was told, and says after how many nanoseconds each was.
async fn gather(
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
    timeout(PATIENCE, all)
        .await
        .context("a change did not reach every watcher")??;
    Ok(latencies)
}

/// Watches the object, and tells when there was news: first that it is there at all.
async fn watch(line: Line, told: &mpsc::Sender<Instant>) -> Result<()> {
    let mut cursor = None;
    loop {
        let mut context = context::current();
        context.deadline = (Instant::now() + Duration::from_secs(60)).into_std();
        let object = OBJECT.to_owned();
        let watched = line.watch(context, object, cursor, 30_000).await??;
        let heard = Instant::now();
        cursor = Some(watched.cursor);
        match watched.news {
            News::Changes(changes) if changes.is_empty() => continue,
            News::Changes(changes) if changes.len() > 1 => bail!("two changes at once"),
            News::Changes(_) | News::Snapshot(_) => {}
        }
        if told.send(heard).await.is_err() {
            return Ok(());
        }
    }
}

fn registration() -> Registration {
    let offer = Offer {
        object: OBJECT.to_owned(),
        interface: "Watched.Service".to_owned(),
        version: 1,
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
