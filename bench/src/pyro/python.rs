//! The real Pyro5, as servers and as clients.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::process::Command;

use crate::process::ChildServer;

const SCRIPT: &str = include_str!("peer.py");

/// How long before the measurement its clients are started: Python takes its time.
const HEAD_START: Duration = Duration::from_secs(3);

/// A Python that has Pyro5.
pub(super) struct PyroPython {
    program: PathBuf,
}

/// What one client did.
#[derive(Deserialize)]
pub(super) struct ClientRun {
    pub(super) calls: f64,
    pub(super) seconds: f64,
}

#[derive(Deserialize)]
struct OnewayRun {
    median_ms: f64,
}

/// What unmodified clients did together.
pub(super) struct ClientsRun {
    /// Calls per second of all of them.
    pub(super) per_second: f64,
    /// The processor time of the server for one call.
    pub(super) server_cpu: Duration,
}

impl PyroPython {
    /// This Python, if it has Pyro5 with MessagePack.
    pub(super) async fn find(program: &Path) -> Result<Self> {
        let check = Command::new(program)
            .args(["-c", "import Pyro5, msgpack"])
            .stderr(Stdio::null())
            .status()
            .await;
        if !check.is_ok_and(|status| status.success()) {
            bail!(
                "{} has no Pyro5: make an environment with `python3 -m venv DIR` and \
                 `DIR/bin/pip install Pyro5==5.17 msgpack`, and give --python DIR/bin/python",
                program.display()
            );
        }
        Ok(Self {
            program: program.to_owned(),
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-c", SCRIPT]).args(arguments);
        command.kill_on_drop(true);
        command
    }

    /// Starts Pyro's daemon with the object of this benchmark, or its name server.
    pub(super) async fn start(&self, mode: &str) -> Result<ChildServer> {
        ChildServer::start_command(self.command(&[mode])).await
    }

    async fn output<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let output = self
            .command(arguments)
            .stdin(Stdio::null())
            .output()
            .await?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            bail!("a Python client failed: {}", reason.trim_end());
        }
        serde_json::from_slice(&output.stdout).context("what a Python client says is no JSON")
    }

    /// Lets clients in processes of their own call a server at the same time.
    pub(super) async fn clients(
        &self,
        mode: &str,
        count: usize,
        server: &ChildServer,
        seconds: Duration,
    ) -> Result<ClientsRun> {
        let uri = object_uri(server);
        let at = SystemTime::now().duration_since(UNIX_EPOCH)? + HEAD_START;
        let (at, length) = (
            at.as_secs_f64().to_string(),
            seconds.as_secs_f64().to_string(),
        );
        let arguments = [mode, &uri, &at, &length];
        let clients = (0..count).map(|_| self.output::<ClientRun>(&arguments));
        let server_time = async {
            tokio::time::sleep(HEAD_START).await;
            let before = server.cpu_time()?;
            tokio::time::sleep(seconds).await;
            anyhow::Ok(server.cpu_time()?.saturating_sub(before))
        };
        let (runs, cpu) = tokio::join!(futures::future::try_join_all(clients), server_time);
        let runs = runs?;
        let per_second = runs.iter().map(|run| run.calls / run.seconds).sum();
        let calls: f64 = runs.iter().map(|run| run.calls).sum();
        Ok(ClientsRun {
            per_second,
            server_cpu: cpu?.div_f64(calls.max(1.0)),
        })
    }

    /// The median time of a call that follows a oneway call, in milliseconds.
    pub(super) async fn after_oneway(&self, server: &ChildServer) -> Result<f64> {
        let run: OnewayRun = self.output(&["oneway", &object_uri(server), "51"]).await?;
        Ok(run.median_ms)
    }
}

/// The address of the object that both kinds of servers have.
fn object_uri(server: &ChildServer) -> String {
    format!("PYRO:{}@{}", super::OBJECT, server.address())
}
