//! An object whose calls take a set time and use no processor, so that two cores are enough for many
//! workers; and the workers that host it, which are healthy or have a chosen fault.

mod closing_worker;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use pyroxene_worker::{Chaos, Worker};
use serde::Serialize;
use tarpc::context;
use tokio::{sync::Semaphore, time::sleep};

use crate::process;
pub(crate) use service::{TimedRequest, TimedResponse};

pub(crate) const OBJECT: &str = "bench.timed";

pyroxene_common::interface! {
    /// Work that takes a set time and uses no processor.
    #[name = "Bench.Timed"]
    #[version = 1]
    pub trait Timed in service {
        /// Waits for a permit and keeps it for the service time. Answers the number of calls that were
        /// waiting or being served when this call arrived.
        #[idempotent]
        async fn work() -> Result<u32, String>;
        /// Answers after so many microseconds, without a permit.
        #[idempotent]
        async fn pause(us: u64);
    }
}

/// The way in which a worker fails every call immediately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WorkerFault {
    /// The worker refuses every call unread, as an overloaded worker does.
    Refuses,
    /// The worker closes every connection as soon as it is made.
    Closes,
    /// The worker aborts at its first call.
    Crashes,
    /// Every call fails outside of the method, as after a panic.
    Fails,
    /// Every call answers an error of the object.
    Errors,
}

impl WorkerFault {
    pub(crate) const ALL: [Self; 5] = [
        Self::Refuses,
        Self::Closes,
        Self::Crashes,
        Self::Fails,
        Self::Errors,
    ];

    /// The name on the command line and in results.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// The workers that one process hosts.
#[derive(Args)]
pub(crate) struct TimedWorkerArguments {
    /// The name server
    nameserver: String,
    /// The worker's name; for several workers, the prefix of their names
    name: String,
    /// The number of workers
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// The mean time for which a call keeps its permit, in microseconds
    #[arg(long)]
    service_us: u64,
    /// The number of calls that a worker serves at the same time
    #[arg(long)]
    places: usize,
    /// The fault of the worker
    #[arg(long, value_enum)]
    fault: Option<WorkerFault>,
}

/// Hosts the workers until their shutdown is requested.
pub(crate) async fn serve(arguments: TimedWorkerArguments) -> Result<()> {
    if arguments.fault == Some(WorkerFault::Closes) {
        return closing_worker::serve(&arguments.nameserver, &arguments.name).await;
    }
    let mut workers = Vec::new();
    for number in 0..arguments.count {
        let name = match arguments.count {
            1 => arguments.name.clone(),
            _ => format!("{}-{number}", arguments.name),
        };
        workers.push(start(&arguments, name).await?);
    }
    let first = workers.first().context("there is no worker to host")?;
    process::print_ready_line(first.local_addr().to_string().parse::<SocketAddr>()?)?;
    for ended in futures::future::join_all(workers.into_iter().map(Worker::join)).await {
        ended?;
    }
    Ok(())
}

async fn start(arguments: &TimedWorkerArguments, name: String) -> Result<Worker> {
    let server = TimedObject(Arc::new(TimedQueue {
        permits: Semaphore::new(arguments.places),
        service_time: Duration::from_micros(arguments.service_us),
        outstanding: AtomicU32::new(0),
        answers_errors: arguments.fault == Some(WorkerFault::Errors),
    }));
    let mut chaos = Chaos::default();
    let mut builder = Worker::builder()
        .nameserver(&arguments.nameserver)
        .name(name)
        .threads(1);
    match arguments.fault {
        None | Some(WorkerFault::Errors) => {}
        Some(WorkerFault::Refuses) => builder = builder.max_calls(0),
        Some(WorkerFault::Crashes) => chaos.crash_after = Some(1),
        Some(WorkerFault::Fails) => chaos.fail = 1.0,
        Some(WorkerFault::Closes) => bail!("a real worker cannot close every connection"),
    }
    let worker = builder.chaos(chaos).host(OBJECT, Timed, server);
    Ok(worker.bind().await?)
}

#[derive(Clone)]
struct TimedObject(Arc<TimedQueue>);

struct TimedQueue {
    permits: Semaphore,
    service_time: Duration,
    /// The number of calls that are waiting or being served.
    outstanding: AtomicU32,
    answers_errors: bool,
}

/// Counts one call as outstanding until this is dropped.
struct OutstandingCall<'a>(&'a AtomicU32);

impl Drop for OutstandingCall<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl service::Timed for TimedObject {
    async fn work(self, _: context::Context) -> Result<u32, String> {
        let queue = &self.0;
        if queue.answers_errors {
            return Err("it is broken".to_owned());
        }
        let before = queue.outstanding.fetch_add(1, Ordering::Relaxed);
        let _present = OutstandingCall(&queue.outstanding);
        if !queue.service_time.is_zero() {
            let place = queue.permits.acquire().await;
            let _place = place.map_err(|closed| closed.to_string())?;
            // The time varies, so that calls do not end at the same moments.
            sleep(queue.service_time.mul_f64(rand::random_range(0.5..1.5))).await;
        }
        Ok(before)
    }

    async fn pause(self, _: context::Context, us: u64) {
        if us > 0 {
            sleep(Duration::from_micros(us)).await;
        }
    }
}
