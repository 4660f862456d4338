//! Python with Pyro5, in an environment of its own that is made once for all tests.

use crate::harness::{Broker, Process, Ran, in_time, seconds};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{process::Command, sync::OnceCell};

/// The packages, as pip takes them.
const PACKAGES: [&str; 4] = ["Pyro5==5.17", "serpent>=1.43", "msgpack", "pytest"];

/// Python with Pyro5.
#[derive(Clone, Debug)]
pub(super) struct Python {
    pub(super) home: PathBuf,
}

impl Python {
    /// The environment. Where there is no Python, or pip reaches no packages, the test is skipped with a line
    /// that says so; in continuous integration (CI=true) it fails.
    pub(super) async fn with_pyro() -> Option<Self> {
        static HOME: OnceCell<Result<Python, String>> = OnceCell::const_new();
        match HOME.get_or_init(Self::make).await {
            Ok(python) => Some(python.clone()),
            Err(reason) if std::env::var_os("CI").is_some_and(|value| value == "true") => {
                panic!("Python with Pyro5 is demanded here: {reason}")
            }
            Err(reason) => {
                eprintln!("SKIPPED, because there is no Python with Pyro5: {reason}");
                None
            }
        }
    }

    async fn make() -> Result<Self, String> {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pyro5-5.17");
        let complete = home.join("complete");
        if !complete.exists() {
            // What an interrupted test left.
            let _ = fs::remove_dir_all(&home);
            let place = home.display().to_string();
            run(Path::new("python3"), &["-m", "venv", &place]).await?;
            let pip = [
                "-m",
                "pip",
                "--quiet",
                "--disable-pip-version-check",
                "install",
            ];
            let words: Vec<&str> = pip.iter().copied().chain(PACKAGES).collect();
            run(&home.join("bin/python"), &words).await?;
            fs::write(complete, "").map_err(|error| error.to_string())?;
        }
        Ok(Self { home })
    }

    /// A program of the environment, with the broker as the name server of Pyro's programs.
    pub(super) fn command(&self, broker: &Broker, program: &str) -> Command {
        let addresses = broker.addresses();
        let (host, port) = addresses.rsplit_once(':').unwrap();
        let mut command = Command::new(self.home.join("bin").join(program));
        command
            .env("PYRO_NS_HOST", host)
            .env("PYRO_NS_PORT", port)
            .env("PYTHONUNBUFFERED", "1")
            // A module of the scripts leaves no file beside them.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(broker.dir())
            .kill_on_drop(true);
        command
    }

    fn script_command(&self, broker: &Broker, script: &str, arguments: &[&str]) -> Command {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/it/pyro/scripts");
        let mut command = self.command(broker, "python");
        command.arg(scripts.join(script)).args(arguments);
        command
    }

    /// Runs a script to its end, which must be a success.
    pub(super) async fn script(&self, broker: &Broker, script: &str, arguments: &[&str]) -> Ran {
        let command = self.script_command(broker, script, arguments);
        let ran = finished(command, script).await;
        assert_eq!(ran.code, Some(0), "{script}: {ran:?}");
        ran
    }

    /// Starts a script.
    pub(super) fn start(&self, broker: &Broker, script: &str, arguments: &[&str]) -> Process {
        self.start_with(broker, script, arguments, &[])
    }

    /// Starts a script with these variables in its environment.
    pub(super) fn start_with(
        &self,
        broker: &Broker,
        script: &str,
        arguments: &[&str],
        variables: &[(&'static str, String)],
    ) -> Process {
        let mut command = self.script_command(broker, script, arguments);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let name = [&[script], arguments].concat().join("-");
        Process::start(&name, command, broker.dir())
    }

    /// Starts a script, and waits until it says that it is ready.
    pub(super) async fn server(
        &self,
        broker: &Broker,
        script: &str,
        arguments: &[&str],
    ) -> Process {
        let mut process = self.start(broker, script, arguments);
        let line = in_time(seconds(60), script, process.line()).await;
        assert!(
            line.starts_with("ready"),
            "{script}: {line} {}",
            process.log()
        );
        process
    }

    /// Runs Pyro's tool for name servers.
    pub(super) async fn nsc(&self, broker: &Broker, words: &[&str]) -> Ran {
        let addresses = broker.addresses();
        let (host, port) = addresses.rsplit_once(':').unwrap();
        let mut command = self.command(broker, "pyro5-nsc");
        command.args(["-n", host, "-p", port]).args(words);
        finished(command, "pyro5-nsc").await
    }
}

/// Runs a command to its end.
pub(super) async fn finished(mut command: Command, what: &str) -> Ran {
    let output = command.stdin(Stdio::null()).output();
    let output = in_time(seconds(300), what, output).await.unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn run(program: &Path, words: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| format!("{}: {error}", program.display()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
