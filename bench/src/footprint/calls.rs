//! Whether memory grows with the number of calls: in the worker, in the name server, in the client.

use std::{net::SocketAddr, process::Stdio};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use pyroxene_client::{Client, Proxy};
use pyroxene_common::values::{Blob, Payload};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoClient};
use serde::{Deserialize, Serialize};
use tarpc::context;
use tokio::{process::Command, task::JoinSet};

use crate::{
    figure::{Figure, FigureTarget},
    process::this_program,
    program::{PyroxeneProgram, ResidentMemory},
};

/// The number of warm-up calls. After them, caches and buffers have their final size.
const WARM_UP_CALLS: u64 = 10_000;

/// Calls at the same time.
const IN_FLIGHT: u64 = 64;

/// Bytes each way.
const PAYLOAD_BYTES: usize = 64;

/// The allowed growth after the warm-up, in megabytes: a few pages that are first touched late.
const ALLOWED_GROWTH_MB: f64 = 1.0;

/// Resident bytes of the three processes.
#[derive(Debug, Serialize, Deserialize)]
struct MemorySample {
    calls: u64,
    worker: u64,
    nameserver: u64,
    client: u64,
}

/// A client in its own process calls a worker through a name server. Compares memory after the warm-up
/// calls with memory after all calls.
pub(super) async fn measure(program: &PyroxeneProgram, calls: u64) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir().context("cannot make a directory")?;
    let nameserver = program.start_nameserver(directory.path()).await?;
    let worker = program.start_worker(nameserver.address()).await?;
    let output = Command::new(this_program()?)
        .args(["call", "footprint-calls"])
        .arg(nameserver.address().to_string())
        .args([worker.pid()?, nameserver.pid()?].map(|pid| pid.to_string()))
        .arg(calls.to_string())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot start the client")?;
    ensure!(output.status.success(), "the client failed");
    let samples: Vec<MemorySample> =
        serde_json::from_slice(&output.stdout).context("the client's output is not JSON")?;
    worker.stop().await?;
    nameserver.stop().await?;
    figures(&samples)
}

fn figures(samples: &[MemorySample]) -> Result<Vec<Figure>> {
    let [warm, end] = samples else {
        anyhow::bail!("there are {} samples instead of two", samples.len());
    };
    let of = |what: &str, bytes: fn(&MemorySample) -> u64| {
        let resident = |sample: &MemorySample| {
            let what = format!("{what} after {} calls: resident memory", sample.calls);
            Figure::new(what, bytes(sample) as f64 / 1e6, "MB")
        };
        let most = bytes(warm) as f64 / 1e6 + ALLOWED_GROWTH_MB;
        [
            resident(warm),
            resident(end).target(FigureTarget::AtMost(most)),
        ]
    };
    let all = [
        of("worker", |sample| sample.worker),
        of("name server", |sample| sample.nameserver),
        of("client", |sample| sample.client),
    ];
    Ok(all.into_iter().flatten().collect())
}

/// The client process: calls, reads the memory of all three processes, and prints it as JSON.
pub(crate) async fn call(
    nameserver: SocketAddr,
    worker: u32,
    nameserver_pid: u32,
    calls: u64,
) -> Result<()> {
    let client = Client::connect(&nameserver.to_string()).await?;
    let echo: EchoClient<Proxy<Echo>> = client.object::<Echo>("echo").await?;
    let sample = |calls: u64| -> Result<MemorySample> {
        let of = |pid: u32| ResidentMemory::of(pid).map(|resident| resident.total);
        Ok(MemorySample {
            calls,
            worker: of(worker)?,
            nameserver: of(nameserver_pid)?,
            client: of(std::process::id())?,
        })
    };
    let mut samples = Vec::new();
    call_many(&echo, WARM_UP_CALLS).await?;
    samples.push(sample(WARM_UP_CALLS)?);
    call_many(&echo, calls.saturating_sub(WARM_UP_CALLS)).await?;
    samples.push(sample(calls.max(WARM_UP_CALLS))?);
    println!("{}", serde_json::to_string(&samples)?);
    Ok(())
}

async fn call_many(echo: &EchoClient<Proxy<Echo>>, calls: u64) -> Result<()> {
    let mut callers = JoinSet::new();
    for caller in 0..IN_FLIGHT {
        let echo = echo.clone();
        let share = calls / IN_FLIGHT + u64::from(caller < calls % IN_FLIGHT);
        callers.spawn(async move {
            let data = Payload::Bytes(Blob(Bytes::from(vec![7; PAYLOAD_BYTES])));
            for _ in 0..share {
                let answer = echo.echo(context::current(), data.clone()).await?;
                ensure!(answer == data, "the answer is wrong");
            }
            Ok(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.context("a caller panicked")??;
    }
    Ok(())
}
