//! Look-ups of names that no client has cached, at a steady rate.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use pyroxene_common::interfaces::directory::WatchUpdate;
use tarpc::context;
use tokio::{
    runtime::Builder,
    task::{LocalSet, spawn_blocking, spawn_local, yield_now},
    time::Instant,
};

use super::worker_sessions::{DirectoryConnection, connect_many, object_name};
use crate::figure::{Figure, FigureTarget, Figures};

/// Look-ups per second.
const RATE: u32 = 20_000;

/// Clients, each with a connection.
const CLIENTS: usize = 16;

/// When this process is late, it yields after this many look-ups, so that answers are read.
const YIELD_INTERVAL: u32 = 16;

/// The measured time divided by this is the warm-up time, which does not count.
const WARM_UP_DIVISOR: u32 = 5;

/// The run ends with an error when this many look-ups are in flight: the name server is too slow.
const MAX_IN_FLIGHT: usize = 20_000;

/// Starts each look-up at its scheduled time, whether or not earlier ones were answered. Latencies
/// count from the scheduled time, so the lateness of this process counts as well.
pub(super) async fn measure(
    nameserver: SocketAddr,
    measured: Duration,
    figures: &mut Figures,
) -> Result<()> {
    // A separate thread that never sleeps, because timers are too coarse for this rate.
    let latencies = spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, open_loop(nameserver, measured))
    });
    let latencies = latencies.await.context("the load panicked")??;
    let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let mut note = |name: &str, nanoseconds, target: Option<FigureTarget>| {
        let what = format!("uncached look-ups at {RATE}/s: {name}");
        let figure = Figure::new(what, milliseconds(nanoseconds), "ms");
        figures.add(match target {
            Some(target) => figure.target(target),
            None => figure,
        });
    };
    let (mut begun, mut answered) = (Histogram::new(3)?, Histogram::new(3)?);
    let mut of_seconds = Vec::new();
    for second in latencies {
        of_seconds.push(second.answer_latencies.value_at_quantile(0.99));
        begun.add(second.start_delays)?;
        answered.add(second.answer_latencies)?;
    }
    of_seconds.sort_unstable();
    let median = of_seconds.get(of_seconds.len() / 2).copied();
    let target = Some(FigureTarget::AtMost(1.0));
    note("p50", answered.value_at_quantile(0.5), None);
    note("p99", answered.value_at_quantile(0.99), target);
    note("p99 of the median second", median.unwrap_or(0), target);
    note(
        "begun late by this process, p99",
        begun.value_at_quantile(0.99),
        None,
    );
    Ok(())
}

/// Nanoseconds from the scheduled time of each look-up.
#[derive(Clone)]
struct LookupLatencies {
    /// Until the look-up began: the lateness of this process.
    start_delays: Histogram<u64>,
    /// Until the answer arrived.
    answer_latencies: Histogram<u64>,
}

impl LookupLatencies {
    fn new() -> Result<Self> {
        let histogram = Histogram::new(3)?;
        Ok(Self {
            start_delays: histogram.clone(),
            answer_latencies: histogram,
        })
    }
}

/// The state that the look-ups in flight share.
struct LookupState {
    /// One element for each measured second.
    latencies: RefCell<Vec<LookupLatencies>>,
    in_flight: Cell<usize>,
    failure: RefCell<Option<anyhow::Error>>,
}

async fn open_loop(nameserver: SocketAddr, measured: Duration) -> Result<Vec<LookupLatencies>> {
    let lines = connect_many(nameserver, CLIENTS).await?;
    let seconds = measured.as_secs().max(1);
    let latencies: Result<Vec<_>> = (0..seconds).map(|_| LookupLatencies::new()).collect();
    let shared = Rc::new(LookupState {
        latencies: RefCell::new(latencies?),
        in_flight: Cell::new(0),
        failure: RefCell::new(None),
    });
    let count = |time: Duration| (time.as_secs_f64() * f64::from(RATE)) as u32;
    let warm_up = count(measured / WARM_UP_DIVISOR);
    let start = Instant::now();
    for (number, line) in (0..warm_up + count(measured)).zip(lines.iter().cycle()) {
        let intended = start + Duration::from_secs(1) * number / RATE;
        if number.is_multiple_of(YIELD_INTERVAL) {
            yield_now().await;
        }
        while Instant::now() < intended {
            yield_now().await;
        }
        if let Some(failure) = shared.failure.take() {
            return Err(failure);
        }
        ensure!(
            shared.in_flight.get() < MAX_IN_FLIGHT,
            "the name server does not keep up with {RATE} look-ups per second"
        );
        shared.in_flight.update(|count| count + 1);
        let name = object_name(number.wrapping_mul(2_654_435_761) as usize);
        let second = number
            .checked_sub(warm_up)
            .map(|number| (number / RATE) as usize);
        shared.record(second, |latencies| &mut latencies.start_delays, intended)?;
        spawn_local(look_up(
            line.clone(),
            name,
            intended,
            second,
            Rc::clone(&shared),
        ));
    }
    while shared.in_flight.get() > 0 {
        yield_now().await;
    }
    if let Some(failure) = shared.failure.take() {
        return Err(failure);
    }
    let latencies = shared.latencies.borrow().clone();
    Ok(latencies)
}

impl LookupState {
    /// Records the time since `intended`, for the `second` of the look-up. A look-up of the warm-up has
    /// no second and does not count.
    fn record(
        &self,
        second: Option<usize>,
        which: fn(&mut LookupLatencies) -> &mut Histogram<u64>,
        intended: Instant,
    ) -> Result<()> {
        let nanoseconds = u64::try_from(intended.elapsed().as_nanos())?;
        let mut latencies = self.latencies.borrow_mut();
        if let Some(latencies) = second.and_then(|second| latencies.get_mut(second)) {
            which(latencies).record(nanoseconds)?;
        }
        Ok(())
    }
}

async fn look_up(
    line: DirectoryConnection,
    name: String,
    intended: Instant,
    second: Option<usize>,
    shared: Rc<LookupState>,
) {
    let answered = async {
        let watched = line.watch(context::current(), name, None, 0).await??;
        match watched.news {
            WatchUpdate::Snapshot(instances) if instances.len() == 10 => {}
            other => bail!("a look-up found {other:?}"),
        }
        shared.record(
            second,
            |latencies| &mut latencies.answer_latencies,
            intended,
        )
    };
    if let Err(error) = answered.await {
        *shared.failure.borrow_mut() = Some(error);
    }
    shared.in_flight.update(|count| count - 1);
}
