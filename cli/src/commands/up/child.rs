//! One daemon that `up` started.

use super::restarts::{MOST, Restarts};
use crate::{
    failure::{Exit, Failure},
    messages::{note, warn},
    units::StartTimeout,
};
use pyroxene_common::endpoint::Endpoint;
use std::{
    env, io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{self, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep, timeout},
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
    program: Program,
    process: process::Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    running: bool,
}

/// What a child runs, in each of its lives.
struct Program {
    /// Found before the first life: the system does not name it any more once another file has taken its place.
    path: PathBuf,
    subcommand: &'static str,
    flags: Vec<String>,
    variables: Vec<(&'static str, String)>,
}

impl Program {
    /// Starts `pyroxene`. Variables that would set flags are not inherited.
    fn start(&self) -> Result<process::Child, Failure> {
        let mut command = Command::new(&self.path);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PYROXENE_") {
                command.env_remove(name);
            }
        }
        command
            .envs(self.variables.iter().cloned())
            .arg(self.subcommand)
            .args(&self.flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A separate process group: Ctrl-C in the terminal reaches only this process, which stops the
            // children in order.
            .process_group(0)
            // Only this process reports to systemd.
            .env_remove("NOTIFY_SOCKET")
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| cannot_start(self.subcommand, &error))
    }

    /// Listens at this address in its next life.
    fn listen_at(&mut self, address: &str) {
        let mut flags = self.flags.iter_mut();
        if flags.any(|flag| flag == "--listen")
            && let Some(value) = flags.next()
        {
            *value = address.to_owned();
        }
    }
}

fn cannot_start(subcommand: &str, error: &io::Error) -> Failure {
    let sentence = format!("cannot start a {subcommand}: {error}");
    Failure::new(Exit::Failed, sentence)
}

impl Child {
    /// Starts `pyroxene` with a subcommand, flags and environment variables.
    pub(super) fn spawn(
        subcommand: &'static str,
        flags: Vec<String>,
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, Failure> {
        let path = env::current_exe().map_err(|error| cannot_start(subcommand, &error))?;
        let program = Program {
            path,
            subcommand,
            flags,
            variables: variables.into_iter().collect(),
        };
        let mut process = program.start()?;
        Ok(Self {
            name: subcommand.to_owned(),
            pid: process.id().unwrap_or_default(),
            endpoint: String::new(),
            program,
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
                // Workers and clients have this address.
                self.program.listen_at(endpoint);
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

    async fn wait(&mut self) -> Option<ExitStatus> {
        let status = self.process.wait().await.ok();
        self.running = false;
        status
    }

    /// Waits for the end of the process, and starts it again if `restarts`, until it ends too often or because
    /// it was asked to stop.
    pub(super) async fn keep_running(&mut self, restarts: bool, start_timeout: StartTimeout) {
        let mut done = Restarts::default();
        loop {
            let status = self.wait().await;
            let text = status_text(status);
            let ended = format!("{} (pid {}) ended{text}", self.name, self.pid);
            if !restarts {
                return warn(&ended);
            }
            if status.is_some_and(|status| status.success()) {
                let asked = "it was asked to stop, and is not started again";
                return warn(&format!("{ended}; {asked}"));
            }
            let Some(pause) = done.next(Instant::now()) else {
                return warn(&format!(
                    "{ended}; it was started again {MOST} times in a minute, and is not any more"
                ));
            };
            warn(&format!("{ended}; starting it again in {pause:?}"));
            sleep(pause).await;
            match self.start_again(start_timeout).await {
                Ok(()) => note(&format!("{} (pid {}) is ready", self.name, self.pid)),
                Err(failure) => failure.report(),
            }
        }
    }

    async fn start_again(&mut self, start_timeout: StartTimeout) -> Result<(), Failure> {
        let mut process = self.program.start()?;
        self.pid = process.id().unwrap_or_default();
        self.stdin = process.stdin.take();
        self.stdout = process.stdout.take();
        self.process = process;
        self.running = true;
        let ready = self.ready(start_timeout).await;
        if ready.is_err() && self.running {
            // This fails only if the process has ended meanwhile.
            let _ = self.process.start_kill();
        }
        ready
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
