//! One daemon that `up` started.

use crate::{
    failure::{Exit, Failure},
    units::StartTimeout,
};
use pyroxene_common::endpoint::Endpoint;
use std::{
    env,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{self, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How long a daemon may take until it is ready, beyond its start timeout.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// A daemon in a separate process. It is killed when this value is dropped. It stops by itself when this
/// process ends, because its standard input closes then.
pub(super) struct Child {
    pub(super) name: String,
    pub(super) pid: u32,
    /// Its address, once it is ready.
    pub(super) endpoint: String,
    process: process::Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    running: bool,
}

impl Child {
    /// Starts `pyroxene` with a subcommand, flags and environment variables. Other variables that would set
    /// flags are not inherited.
    pub(super) fn spawn(
        subcommand: &str,
        flags: &[String],
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, Failure> {
        let cannot = |why: &dyn std::fmt::Display| {
            Failure::new(Exit::Failed, format!("cannot start a {subcommand}: {why}"))
        };
        let program = env::current_exe().map_err(|error| cannot(&error))?;
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PYROXENE_") {
                command.env_remove(name);
            }
        }
        let mut process = command
            .envs(variables)
            .arg(subcommand)
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A separate process group: Ctrl-C in the terminal reaches only this process, which stops the
            // children in order.
            .process_group(0)
            // Only this process reports to systemd.
            .env_remove("NOTIFY_SOCKET")
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| cannot(&error))?;
        Ok(Self {
            name: subcommand.to_owned(),
            pid: process.id().unwrap_or_default(),
            endpoint: String::new(),
            stdin: process.stdin.take(),
            stdout: process.stdout.take(),
            process,
            running: true,
        })
    }

    /// Waits for the ready line: `ready nameserver ADDRESS` or `ready worker NAME ADDRESS`.
    pub(super) async fn ready(&mut self, start_timeout: StartTimeout) -> Result<(), Failure> {
        let Some(start_timeout) = start_timeout.0 else {
            return self.read_ready().await;
        };
        let time = start_timeout.saturating_add(READY_TIMEOUT);
        timeout(time, self.read_ready()).await.unwrap_or_else(|_| {
            let sentence = format!("a {} is not ready after {time:?}", self.name);
            Err(Failure::new(Exit::Failed, sentence))
        })
    }

    async fn read_ready(&mut self) -> Result<(), Failure> {
        let mut line = String::new();
        let Some(stdout) = &mut self.stdout else {
            return Ok(());
        };
        let mut stdout = BufReader::new(stdout);
        let read = stdout.read_line(&mut line).await;
        let words: Vec<&str> = line.split_whitespace().collect();
        match (read, words.as_slice()) {
            (Ok(_), ["ready", "nameserver", endpoint]) => {
                self.endpoint = reachable_address(endpoint);
                Ok(())
            }
            (Ok(_), ["ready", "worker", name, endpoint]) => {
                self.name = (*name).to_owned();
                self.endpoint = reachable_address(endpoint);
                Ok(())
            }
            _ => Err(self.ended_too_early().await),
        }
    }

    async fn ended_too_early(&mut self) -> Failure {
        let status = self.wait().await;
        match status.and_then(|status| status.code()) {
            // The child has reported the reason itself, on the standard error that it shares with this
            // process.
            Some(code) if code != 0 => Failure::quiet(Exit::from_code(code)),
            _ => Failure::new(
                Exit::Failed,
                format!(
                    "a {} ended before it was ready{}",
                    self.name,
                    status_text(status)
                ),
            ),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    async fn wait(&mut self) -> Option<ExitStatus> {
        let status = self.process.wait().await.ok();
        self.running = false;
        status
    }

    /// Waits for the end of the process. Returns a message about it.
    pub(super) async fn ended(&mut self) -> String {
        let status = self.wait().await;
        format!(
            "{} (pid {}) ended{}",
            self.name,
            self.pid,
            status_text(status)
        )
    }

    /// Asks the process to stop, and kills it if it does not. Fails as the process does, which has reported
    /// the reason itself.
    pub(super) async fn stop(&mut self, stop_timeout: Duration) -> Result<(), Failure> {
        if !self.running {
            return Ok(());
        }
        drop(self.stdin.take());
        let Ok(status) = timeout(stop_timeout, self.wait()).await else {
            tracing::warn!(
                name = self.name,
                pid = self.pid,
                "it did not stop; killing it"
            );
            // This fails only if the process has ended meanwhile.
            let _ = self.process.kill().await;
            self.running = false;
            return Ok(());
        };
        match status.and_then(|status| status.code()) {
            None | Some(0) => Ok(()),
            Some(code) => Err(Failure::quiet(Exit::from_code(code))),
        }
    }
}

/// The address at which this machine reaches a listener, whose own address may be that of every interface.
fn reachable_address(listening: &str) -> String {
    let endpoint = listening.parse::<Endpoint>().ok();
    match endpoint.filter(Endpoint::is_unspecified) {
        Some(Endpoint::Tcp { host, port }) if host.contains(':') => format!("[::1]:{port}"),
        Some(Endpoint::Tcp { port, .. }) => format!("127.0.0.1:{port}"),
        _ => listening.to_owned(),
    }
}

fn status_text(status: Option<ExitStatus>) -> String {
    status.map_or_else(String::new, |status| format!(": {status}"))
}

#[cfg(test)]
mod tests {
    use super::reachable_address;

    #[test]
    fn a_daemon_on_every_interface_is_reached_by_the_loopback() {
        for (listening, reached) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("10.0.0.7:9090", "10.0.0.7:9090"),
            ("unix:/x", "unix:/x"),
        ] {
            assert_eq!(reachable_address(listening), reached);
        }
    }
}
