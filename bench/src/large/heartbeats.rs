//! The lateness of a worker's heartbeats while it serves one long call.
//!
//! The worker registers through a relay, which records the times at which bytes arrive from it. That
//! connection carries nothing but heartbeats, so the longest pause shows how late one heartbeat was.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::future::join_all;
use pyroxene_client::{Client, ClientConfig};
use pyroxene_common::{dedicated::DedicatedRuntime, interfaces::directory::ObjectFilter};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{
    ValueKind,
    worker::{LargeMessageBroker, LargeMessageCaller, context},
};

/// The shortest possible lease. The worker sends three heartbeats in that time.
pub(super) const LEASE: Duration = Duration::from_millis(500);
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(167);

/// The lateness of heartbeats during one kind of work. This is an element of the JSON output.
#[derive(Debug, Serialize)]
pub(super) struct HeartbeatRow {
    pub(super) beside: &'static str,
    /// The time of the call, or of all calls together.
    pub(super) call_ms: f64,
    /// The lateness of the slowest heartbeat.
    pub(super) late_ms: f64,
}

/// A call in JSON: its object, method and arguments.
struct JsonMethodCall {
    name: &'static str,
    object: &'static str,
    method: &'static str,
    arguments: fn() -> String,
}

const JSON_CALLS: [JsonMethodCall; 5] = [
    JsonMethodCall {
        name: "factorial of 1,000,000, in JSON",
        object: "calculator",
        method: "factorial",
        arguments: || r#"{"n":1000000}"#.to_owned(),
    },
    JsonMethodCall {
        name: "fibonacci of 10,000, in JSON",
        object: "calculator",
        method: "fibonacci",
        arguments: || r#"{"n":10000}"#.to_owned(),
    },
    JsonMethodCall {
        name: "sort of 2,000,000 numbers, in JSON",
        object: "calculator",
        method: "sort",
        arguments: || format!(r#"{{"values":{}}}"#, numbers(2_000_000)),
    },
    JsonMethodCall {
        name: "product of 700 × 700, in JSON",
        object: "calculator",
        method: "matrix_multiply",
        arguments: || {
            let row = numbers(700);
            let rows = vec![row; 700].join(",");
            format!(r#"{{"a":[{rows}],"b":[{rows}]}}"#)
        },
    },
    JsonMethodCall {
        name: "echo of 3,000,000 numbers, in JSON",
        object: "echo",
        method: "echo",
        arguments: || format!(r#"{{"data":{}}}"#, numbers(3_000_000)),
    },
];

fn numbers(count: u32) -> String {
    let numbers: Vec<String> = (0..count).rev().map(|number| number.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

/// A pattern that takes the most time and memory that a pattern is allowed to take.
const COSTLY_PATTERN: &str = r"(\w{1,9}x){1,9}";

/// The number of list calls with this pattern at the same time.
const LIST_CALLS: usize = 200;

/// Measures the heartbeats during each call in turn.
pub(super) async fn measure() -> Result<Vec<HeartbeatRow>> {
    let relay_runtime = DedicatedRuntime::start("relay")?;
    let broker = LargeMessageBroker::start_with_relay(|nameserver| {
        HeartbeatRelay::start(&relay_runtime, nameserver)
    })
    .await?;
    let (broker, relay) = broker;
    let mut rows = vec![measure_beside("nothing", &relay, sleep_a_while()).await?];
    let client = Client::connect_with(ClientConfig::new(&broker.address)?).await?;
    for call in JSON_CALLS {
        let object = client.dynamic(call.object, context()).await?;
        let arguments = (call.arguments)();
        let calling = async {
            let called = object.call_with_progress(context(), call.method, arguments, None);
            let answered = called.await?;
            if answered.attempts != 1 {
                bail!("{} took {} attempts", call.name, answered.attempts);
            }
            Ok(())
        };
        rows.push(measure_beside(call.name, &relay, calling).await?);
    }
    let caller = LargeMessageCaller::connect(&broker.address).await?;
    let sorting = async {
        caller
            .call_large(ValueKind::Numbers, 64_000_000)
            .await
            .map(drop)
    };
    rows.push(measure_beside("sort of 64 MB, typed", &relay, sorting).await?);
    let lists = (0..LIST_CALLS).map(|_| {
        let directory = client.nameservers().first().map(|one| one.directory());
        async move {
            let filter = ObjectFilter {
                pattern: Some(COSTLY_PATTERN.to_owned()),
                ..ObjectFilter::default()
            };
            let directory = directory.context("there is no name server")?;
            // A refusal is an acceptable answer too.
            let _ = directory.list(context(), filter).await?;
            anyhow::Ok(())
        }
    });
    let listing = async { join_all(lists).await.into_iter().collect::<Result<()>>() };
    rows.push(measure_beside("200 lists with a costly pattern", &relay, listing).await?);
    broker.worker.stop().await?;
    Ok(rows)
}

async fn sleep_a_while() -> Result<()> {
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

async fn measure_beside(
    beside: &'static str,
    relay: &HeartbeatRelay,
    work: impl Future<Output = Result<()>>,
) -> Result<HeartbeatRow> {
    eprintln!("heartbeats beside {beside}");
    relay.reset();
    let start = Instant::now();
    work.await.with_context(|| beside.to_owned())?;
    let call = start.elapsed();
    // A late heartbeat arrives after the end of the call.
    sleep(LEASE).await;
    let late = relay.longest_pause().saturating_sub(HEARTBEAT_INTERVAL);
    Ok(HeartbeatRow {
        beside,
        call_ms: call.as_secs_f64() * 1e3,
        late_ms: late.as_secs_f64() * 1e3,
    })
}

/// Forwards bytes between a worker and its name server.
pub(super) struct HeartbeatRelay {
    pub(super) address: SocketAddr,
    pauses: Arc<Mutex<HeartbeatPauses>>,
}

struct HeartbeatPauses {
    last_read: Instant,
    longest: Duration,
}

impl HeartbeatRelay {
    async fn start(runtime: &DedicatedRuntime, nameserver: SocketAddr) -> Result<Self> {
        let heard = Arc::new(Mutex::new(HeartbeatPauses {
            last_read: Instant::now(),
            longest: Duration::ZERO,
        }));
        let listening = runtime.handle().spawn(TcpListener::bind("127.0.0.1:0"));
        let listener = listening.await??;
        let address = listener.local_addr()?;
        let hearing = Arc::clone(&heard);
        runtime.handle().spawn(async move {
            while let Ok((worker, _)) = listener.accept().await {
                let heard = Arc::clone(&hearing);
                tokio::spawn(async move {
                    // It ends when either side closes its connection.
                    let _ = forward_timed(worker, nameserver, &heard).await;
                });
            }
        });
        Ok(Self {
            address,
            pauses: heard,
        })
    }

    fn reset(&self) {
        let mut heard = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        heard.longest = Duration::ZERO;
    }

    /// The longest pause so far, including the current one.
    fn longest_pause(&self) -> Duration {
        let heard = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        heard.longest.max(heard.last_read.elapsed())
    }
}

async fn forward_timed(
    worker: TcpStream,
    nameserver: SocketAddr,
    heard: &Mutex<HeartbeatPauses>,
) -> Result<()> {
    let there = TcpStream::connect(nameserver).await?;
    worker.set_nodelay(true)?;
    there.set_nodelay(true)?;
    let (mut from_worker, mut to_worker) = worker.into_split();
    let (mut from_there, mut to_there) = there.into_split();
    let back = async { copy(&mut from_there, &mut to_worker).await.map(drop) };
    let forth = async {
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = from_worker.read(&mut buffer).await?;
            if count == 0 {
                return std::io::Result::Ok(());
            }
            {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                heard.longest = heard.longest.max(now - heard.last_read);
                heard.last_read = now;
            }
            to_there
                .write_all(buffer.get(..count).unwrap_or_default())
                .await?;
        }
    };
    tokio::try_join!(forth, back)?;
    Ok(())
}
