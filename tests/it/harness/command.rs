//! The program as a person runs it: one command, its output, its exit code.

use super::{Broker, PYROXENE, Process, in_time, process, seconds};
use serde_json::Value;
use std::{fs, path::Path, process::Stdio};
use tokio::{io::AsyncWriteExt, process::Command};

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Runs the program in `dir`, with nothing on its standard input.
    pub(crate) async fn in_dir(dir: &Path, arguments: &[&str]) -> Self {
        Self::with(dir, &[], arguments).await
    }

    /// The same, with these variables in its environment.
    pub(crate) async fn with(dir: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = process::command(Path::new(PYROXENE), dir);
        command.envs(environment.iter().copied());
        Self::of(command, dir, arguments, None).await
    }

    /// Runs the program in `dir` where names mean these addresses (in the form of `/etc/hosts`).
    pub(crate) async fn where_names_mean(dir: &Path, hosts: &str, arguments: &[&str]) -> Self {
        /// Mounts a file ($0) over the machine's own, which this program alone sees.
        const WITH_HOSTS: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
        let file = dir.join("hosts");
        fs::write(&file, hosts).unwrap();
        let mut command = process::command(Path::new("unshare"), dir);
        command
            .args(["--map-root-user", "--mount", "sh", "-c", WITH_HOSTS])
            .arg(file)
            .arg(PYROXENE);
        Self::of(command, dir, arguments, None).await
    }

    /// Runs the program in `dir`, with this on its standard input.
    pub(crate) async fn fed(dir: &Path, arguments: &[&str], input: &str) -> Self {
        let command = process::command(Path::new(PYROXENE), dir);
        Self::of(command, dir, arguments, Some(input)).await
    }

    /// Runs a command that begins so.
    async fn of(mut command: Command, dir: &Path, arguments: &[&str], input: Option<&str>) -> Self {
        let mut child = command
            .args(arguments)
            .current_dir(dir)
            .stdin(input.map_or_else(Stdio::null, |_| Stdio::piped()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let feed = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                stdin.write_all(input.as_bytes()).await.unwrap();
            }
        };
        let run = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = in_time(seconds(60), &arguments.join(" "), run).await;
        let output = output.unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Its standard output, which must be all that it wrote, without the last line's end.
    pub(crate) fn out(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout.strip_suffix('\n').unwrap_or(&self.stdout)
    }

    /// Its standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.out()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The sentence of its error. It must have ended with this code, printed nothing else, and
    /// said one line that begins with `error: `, and at most one hint.
    pub(crate) fn error(&self, code: i32) -> &str {
        assert_eq!(self.stdout, "", "{self:?}");
        self.complaint(code)
    }

    /// What the user may do about its error.
    pub(crate) fn hint(&self) -> &str {
        let mut lines = self.stderr.lines();
        let hint = lines.find_map(|line| line.strip_prefix("hint: "));
        hint.unwrap_or_else(|| panic!("{self:?}"))
    }

    /// As [`error`](Self::error), for a command that had printed something before.
    pub(crate) fn complaint(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let mut lines = self.stderr.lines();
        let sentence = lines.next().and_then(|line| line.strip_prefix("error: "));
        let rest: Vec<&str> = lines.collect();
        assert!(
            rest.len() <= 1 && rest.iter().all(|line| line.starts_with("hint: ")),
            "{self:?}"
        );
        sentence.unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// Starts a command of the program in `dir`, which goes on while the test does.
pub(crate) fn start_command(dir: &Path, subcommand: &str, arguments: &[&str]) -> Process {
    start_command_with(dir, &[], subcommand, arguments)
}

/// The same, with these variables in its environment.
pub(crate) fn start_command_with(
    dir: &Path,
    environment: &[(&str, &str)],
    subcommand: &str,
    arguments: &[&str],
) -> Process {
    let mut command = process::command(Path::new(PYROXENE), dir);
    command.envs(environment.iter().copied());
    command.arg(subcommand).args(arguments).current_dir(dir);
    Process::start(subcommand, command, dir)
}

/// Starts another program than this one in `dir`, with these variables in its environment.
pub(crate) fn start_program(
    program: &Path,
    dir: &Path,
    environment: &[(String, String)],
    arguments: &[&str],
) -> Process {
    let mut command = process::command(program, dir);
    command.envs(environment.iter().cloned()).args(arguments);
    Process::start("program", command, dir)
}

impl Broker {
    /// Runs a client command of the program on this broker, in its directory.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        let addresses = self.addresses();
        let all = [arguments, &["--nameserver", &addresses]].concat();
        Ran::in_dir(self.dir(), &all).await
    }

    /// As [`run`](Self::run), with this on the command's standard input.
    pub(crate) async fn feed(&self, arguments: &[&str], input: &str) -> Ran {
        let addresses = self.addresses();
        let all = [arguments, &["--nameserver", &addresses]].concat();
        Ran::fed(self.dir(), &all, input).await
    }

    /// As [`run`](Self::run), for a command that takes its time.
    pub(crate) fn start_command(&self, subcommand: &str, arguments: &[&str]) -> Process {
        let addresses = self.addresses();
        let all = [arguments, &["--nameserver", &addresses]].concat();
        start_command(self.dir(), subcommand, &all)
    }
}
