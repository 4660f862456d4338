//! Look-ups of names that no client knows yet, at a steady rate.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use pyroxene_common::interfaces::directory::News;
use tarpc::context;
use tokio::{
    runtime::Builder,
    task::{LocalSet, spawn_blocking, spawn_local, yield_now},
    time::Instant,
};

use super::{
    Figures,
    population::{Line, connect_many, object},
};
use crate::figure::{Figure, Target};

/// Look-ups per second.
const RATE: u32 = 20_000;

/// Clients, each with a connection.
const CLIENTS: usize = 64;

/// The share of the time that is for warming up, and not counted.
const WARM_UP: u32 = 5;

/// So many look-ups under way mean that the name server does not keep up.
const TOO_MANY: usize = 20_000;

/// Looks names up, each at its time whether earlier ones were answered or not. Latencies count from
/// when a look-up was meant to begin, so what this process does too late counts as well.
pub(super) async fn measure(
    nameserver: SocketAddr,
    measured: Duration,
    figures: &mut Figures,
) -> Result<()> {
    // A thread of its own that never sleeps: timers are too coarse for this rate.
    let latencies = spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, open_loop(nameserver, measured))
    });
    let latencies = latencies.await.context("the load panicked")??;
    let milliseconds = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
    for (quantile, name) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
        let what = format!("uncached look-ups at {RATE}/s: {name}");
        let figure = Figure::new(what, milliseconds(quantile), "ms");
        figures.note(match name {
            "p99" => figure.target(Target::AtMost(1.0)),
            _ => figure,
        });
    }
    Ok(())
}

/// What the look-ups under way share.
struct Shared {
    latencies: RefCell<Histogram<u64>>,
    under_way: Cell<usize>,
    failure: RefCell<Option<anyhow::Error>>,
}

async fn open_loop(nameserver: SocketAddr, measured: Duration) -> Result<Histogram<u64>> {
    let lines = connect_many(nameserver, CLIENTS).await?;
    let shared = Rc::new(Shared {
        latencies: RefCell::new(Histogram::new(3)?),
        under_way: Cell::new(0),
        failure: RefCell::new(None),
    });
    let count = |time: Duration| (time.as_secs_f64() * f64::from(RATE)) as u32;
    let warm_up = count(measured / WARM_UP);
    let start = Instant::now();
    for (number, line) in (0..warm_up + count(measured)).zip(lines.iter().cycle()) {
        let intended = start + Duration::from_secs(1) * number / RATE;
        while Instant::now() < intended {
            yield_now().await;
        }
        if let Some(failure) = shared.failure.take() {
            return Err(failure);
        }
        ensure!(
            shared.under_way.get() < TOO_MANY,
            "the name server does not keep up with {RATE} look-ups per second"
        );
        shared.under_way.update(|count| count + 1);
        let name = object(number.wrapping_mul(2_654_435_761) as usize);
        let counts = number >= warm_up;
        spawn_local(look_up(
            line.clone(),
            name,
            intended,
            counts,
            Rc::clone(&shared),
        ));
    }
    while shared.under_way.get() > 0 {
        yield_now().await;
    }
    if let Some(failure) = shared.failure.take() {
        return Err(failure);
    }
    let latencies = shared.latencies.borrow().clone();
    Ok(latencies)
}

impl Shared {
    fn record(&self, latency: Duration) -> Result<()> {
        let nanoseconds = u64::try_from(latency.as_nanos())?;
        Ok(self.latencies.borrow_mut().record(nanoseconds)?)
    }
}

async fn look_up(line: Line, name: String, intended: Instant, counts: bool, shared: Rc<Shared>) {
    let answered = async {
        let watched = line.watch(context::current(), name, None, 0).await??;
        match watched.news {
            News::Snapshot(instances) if instances.len() == 10 => {}
            other => bail!("a look-up found {other:?}"),
        }
        if counts {
            shared.record(intended.elapsed())?;
        }
        Ok(())
    };
    if let Err(error) = answered.await {
        *shared.failure.borrow_mut() = Some(error);
    }
    shared.under_way.update(|count| count - 1);
}
