//! Servers in child processes.
//!
//! The parent keeps the child's standard input open, and the child ends when it closes. The kernel
//! closes it however the parent dies, so no server is ever left over. When the child is ready, it prints
//! one line on standard output: `ready ADDRESS`.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};

/// The limit for the start of a child, and for its end after it was stopped.
const CHILD_TIMEOUT: Duration = Duration::from_secs(10);

const READY: &str = "ready ";

/// Raises the limit of open files to its maximum, for this process and its children. Each connection
/// needs a file.
pub(crate) fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")
}

/// A running server. Dropping it kills the process; [`ChildServer::stop`] ends it gracefully.
pub(crate) struct ChildServer {
    child: Child,
    address: SocketAddr,
}

impl ChildServer {
    /// Starts `program` and waits for its ready line. The child's standard error is that of this
    /// process.
    pub(crate) async fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::start_command(command).await
    }

    /// Starts this program with a hidden command.
    pub(crate) async fn start_this_program(arguments: &[&str]) -> Result<Self> {
        Self::start(&this_program()?, arguments).await
    }

    /// Like [`start`](Self::start), with a command that already has its arguments and environment.
    pub(crate) async fn start_command(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
        let stdout = child.stdout.take().context("the server has no output")?;
        let mut line = String::new();
        timeout(CHILD_TIMEOUT, BufReader::new(stdout).read_line(&mut line))
            .await
            .context("the server was not ready in time")?
            .context("cannot read the server's ready line")?;
        let address = parse_ready_line(&line)?;
        Ok(Self { child, address })
    }

    /// The address the server announced.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The child's process id.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// The processor time of the child so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        cpu_time(&self.pid()?.to_string())
    }

    /// Kills the child with SIGKILL and waits until it has ended.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("cannot end the server")
    }

    /// Sends the child a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid =
            Pid::from_raw(i32::try_from(self.pid()?)?).context("the server has no process id")?;
        kill_process(pid, signal).context("cannot signal the server")
    }

    /// Whether the child has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until the child has ended, with any exit status. Its standard input stays open meanwhile.
    pub(crate) async fn wait_for_exit(mut self) -> Result<()> {
        // `wait` closes the child's input, which would stop the child immediately.
        let _input = self.child.stdin.take();
        timeout(CHILD_TIMEOUT, self.child.wait())
            .await
            .context("the server did not end in time")?
            .context("cannot wait for the server")?;
        Ok(())
    }

    /// Closes the child's standard input and waits until it has ended.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = timeout(CHILD_TIMEOUT, self.child.wait())
            .await
            .context("the server did not end when its input closed")?
            .context("cannot wait for the server")?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}

/// The unit of processor times in `/proc`: a hundredth of a second, whatever the kernel's own clock is.
const TICKS_PER_SECOND: u32 = 100;

/// The processor time of a process so far, of all its threads. It is given by its id, or as `self`.
pub(crate) fn cpu_time(process: &str) -> Result<Duration> {
    let stat = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&stat).with_context(|| format!("cannot read {stat}"))?;
    // The second field is a name in parentheses, which may contain any character.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => {
            Ok(Duration::from_secs((user + system).into()) / TICKS_PER_SECOND)
        }
        _ => bail!("{stat} has no processor times"),
    }
}

/// The path of this program.
pub(crate) fn this_program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find the path of this program")
}

/// The address in a ready line. It is the last word, because a daemon of `pyroxene` prints its kind and
/// name before it.
pub(crate) fn parse_ready_line(line: &str) -> Result<SocketAddr> {
    line.strip_prefix(READY)
        .with_context(|| format!("expected a ready line from the server, got {line:?}"))?
        .split_whitespace()
        .next_back()
        .unwrap_or_default()
        .parse()
        .with_context(|| format!("no address in the server's ready line {line:?}"))
}

/// Prints the ready line. A server calls this once, when it is listening.
pub(crate) fn print_ready_line(address: SocketAddr) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{READY}{address}")?;
    stdout.flush()?;
    Ok(())
}

/// Runs `server` until it fails or standard input closes.
pub(crate) async fn serve_while_parent_lives(
    server: impl Future<Output = Result<()>>,
) -> Result<()> {
    let (gone, parent_gone) = oneshot::channel::<()>();
    // A plain thread, not a task: at its shutdown the runtime would wait for a blocking read, and so the
    // process would hang after the server failed.
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        drop(gone);
    });
    tokio::select! {
        result = server => result,
        _ = parent_gone => Ok(()),
    }
}

/// Starts this program with a hidden client command, which prints its result on standard output.
pub(crate) fn start_client(arguments: &[String]) -> Result<Child> {
    Command::new(this_program()?)
        .arg("call")
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a client")
}

/// Waits for the end of a client process and reads its result.
pub(crate) async fn read_client_output<T: DeserializeOwned>(client: Child) -> Result<T> {
    let output = client.wait_with_output().await?;
    if !output.status.success() {
        bail!("a client ended with {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> impl Future<Output = Result<ChildServer>> {
        let script = script.to_owned();
        async move { ChildServer::start(Path::new("sh"), &["-c", &script]).await }
    }

    #[tokio::test]
    async fn a_child_that_waits_for_its_input_is_stopped_by_closing_it() {
        let server = shell("echo ready 127.0.0.1:4567; cat").await.unwrap();
        assert_eq!(server.address(), "127.0.0.1:4567".parse().unwrap());
        server.stop().await.unwrap();
    }

    #[test]
    fn the_ready_line_of_a_daemon_names_its_address_last() {
        let address = parse_ready_line("ready worker w1 127.0.0.1:41233\n").unwrap();
        assert_eq!(address, "127.0.0.1:41233".parse().unwrap());
    }

    #[tokio::test]
    async fn a_child_that_ends_before_it_is_ready_is_an_error() {
        assert!(shell("exit 0").await.is_err());
        assert!(shell("echo hello; cat").await.is_err());
        assert!(shell("echo ready soon; cat").await.is_err());
    }

    #[tokio::test]
    async fn a_child_that_ends_badly_is_an_error() {
        let server = shell("echo ready 127.0.0.1:1; cat; exit 3").await.unwrap();
        let error = server.stop().await.unwrap_err();
        assert!(error.to_string().contains('3'), "{error}");
    }
}
