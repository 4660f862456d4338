//! A child process that cannot outlive its test.

use super::{in_time, seconds};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process, prlimit, waitid,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    pid: Pid,
    /// Open for as long as this process lives: the child ends when it closes.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

/// A command without the settings of whoever runs the tests, and with its state and its contexts in `dir`.
pub(crate) fn command(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with("PYROXENE_") || shown.starts_with("OTEL_") || shown == "TRACEPARENT" {
            command.env_remove(name);
        }
    }
    command
        .env("RUST_LOG", "info")
        .env("XDG_STATE_HOME", dir)
        .env("XDG_CONFIG_HOME", dir)
        .kill_on_drop(true);
    command
}

impl Process {
    /// Starts `command`. What it writes on standard error goes to a file in `dir`.
    pub(crate) fn start(name: &str, mut command: Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let stderr = fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            name: name.to_owned(),
            pid: id.and_then(Pid::from_raw).expect("it has just started"),
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().expect("it is piped")),
            child,
            log,
        }
    }

    /// Writes lines on its standard input.
    pub(crate) async fn write(&mut self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let stdin = self.stdin.as_mut().expect("it is open");
        let what = format!("{} takes its input", self.name);
        let written = in_time(seconds(20), &what, stdin.write_all(text.as_bytes()));
        written.await.unwrap();
    }

    /// Ends its standard input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// The next line of its standard output, without its end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line);
        let what = format!("a line on the standard output of {}", self.name);
        let length = in_time(seconds(20), &what, read).await.unwrap();
        assert!(length > 0, "{} ended its standard output", self.name);
        line.trim_end_matches('\n').to_owned()
    }

    /// What is left of its standard output, up to its end.
    pub(crate) async fn rest_of_output(&mut self) -> String {
        let mut rest = String::new();
        let what = format!("the end of the standard output of {}", self.name);
        let read = self.stdout.read_to_string(&mut rest);
        in_time(seconds(60), &what, read).await.unwrap();
        rest
    }

    /// The last word of the line that says that it is ready: its address. The words before it
    /// must be `words`.
    pub(crate) async fn ready(&mut self, words: &str) -> String {
        let line = self.line().await;
        let address = line.strip_prefix(&format!("{words} "));
        let address =
            address.unwrap_or_else(|| panic!("'{line}' is not the ready line of {}", self.name));
        address.to_owned()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Asks it to stop, and does not wait.
    pub(crate) fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Kills it without a chance to say anything.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.exit().await;
    }

    /// Stops its clock, so to speak: it keeps its sockets and answers nothing. Returns once all of
    /// its threads stand still: one that runs on another processor goes on for a while.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid), stopped).unwrap();
    }

    /// Ends what [`freeze`](Self::freeze) began.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Lets it open no further file: it accepts no connection any more.
    pub(crate) fn run_out_of_files(&self) {
        // A file that is opened gets the lowest number that is free, and the limit is one of numbers.
        let is_open = |number: &u64| {
            fs::symlink_metadata(format!("/proc/{}/fd/{number}", self.pid())).is_ok()
        };
        let first_free = (0..).find(|number| !is_open(number));
        let limit = Rlimit {
            current: first_free,
            maximum: first_free,
        };
        prlimit(Some(self.pid), Resource::Nofile, limit).unwrap();
    }

    /// Asks it to read its files again.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// The words of its command line, as everybody on the machine sees them.
    pub(crate) fn command_line(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cmdline", self.pid())).unwrap()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exit().await
    }

    /// Waits until it has ended.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        in_time(seconds(30), &what, self.child.wait())
            .await
            .unwrap()
    }

    /// What it has written on standard error so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The most memory that it has ever had in use, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes: u64 = kilobytes.expect("it runs").parse().unwrap();
        kilobytes * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines.len().saturating_sub(50);
        eprintln!("--- {} wrote on standard error:", self.name);
        for line in &lines[shown..] {
            eprintln!("    {line}");
        }
    }
}
