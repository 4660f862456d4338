//! A PostgreSQL server that the benchmark starts from the installed programs.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

/// A server that listens on a socket in its own directory. When this process ends, in any way, the
/// server is stopped and its files are removed.
pub(super) struct Postgres {
    /// The shell that stops the server when its standard input closes.
    supervisor: Child,
    directory: PathBuf,
    program_directory: PathBuf,
    databases: u32,
}

/// Runs the server ("$@") until standard input closes, and removes its directory ($0).
const SUPERVISOR_SCRIPT: &str = r#"trap '' INT TERM
"$@" & server=$!
cat >/dev/null
kill -INT $server; wait $server
rm -rf "$0""#;

/// The user that runs the server if this process is root: PostgreSQL refuses to run as root.
const NOBODY_UID: u32 = 65534;

/// The limit for the start of the server.
const START_TIMEOUT: Duration = Duration::from_secs(30);

impl Postgres {
    /// Makes a database cluster and starts its server. None if PostgreSQL is not installed.
    pub(super) async fn start(parent: &Path) -> Result<Option<Self>> {
        let Some(programs) = find_program_directory() else {
            return Ok(None);
        };
        let directory = tempfile::Builder::new()
            .prefix("pyroxene-bench-pg-")
            .tempdir_in(parent)?;
        if is_root()? {
            chown(directory.path(), Some(NOBODY_UID), Some(NOBODY_UID))?;
        }
        let data = directory.path().join("data");
        let made = unprivileged_command(&programs.join("initdb"))?
            .args(["--no-sync", "--auth=trust", "--username=postgres"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data)
            .current_dir(directory.path())
            .output()
            .context("cannot run initdb")?;
        ensure!(made.status.success(), "initdb: {}", stderr_text(&made));
        // From now on the shell removes the directory.
        let directory = directory.keep();
        let server = unprivileged_command(&programs.join("postgres"))?;
        let shell = Command::new("sh")
            .args(["-c", SUPERVISOR_SCRIPT])
            .arg(&directory)
            .arg(server.get_program())
            .args(server.get_args())
            .args(["-c", "listen_addresses=", "-c", "max_connections=400"])
            .args(["-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB"])
            .args(["-c", "fsync=on", "-c", "synchronous_commit=on"])
            .arg("-k")
            .arg(&directory)
            .arg("-D")
            .arg(&data)
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.join("log"))?)
            .spawn()
            .context("cannot start PostgreSQL")?;
        let server = Self {
            supervisor: shell,
            directory,
            program_directory: programs,
            databases: 0,
        };
        server.wait_until_ready().await?;
        Ok(Some(server))
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let end = Instant::now() + START_TIMEOUT;
        while let Err(error) = self.connect("postgres").await {
            if Instant::now() > end {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                bail!("PostgreSQL does not answer: {error}; its log: {log}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn url(&self, database: &str) -> String {
        let host = self.directory.display();
        format!("postgres://postgres@localhost/{database}?host={host}&sslmode=disable")
    }

    async fn connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect(&self.url(database)).await
    }

    /// Makes a new database and returns its URL.
    pub(super) async fn new_database(&mut self) -> Result<String> {
        self.databases += 1;
        let name = format!("bench{}", self.databases);
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        let mut connection = self.connect("postgres").await?;
        sqlx::raw_sql(create).execute(&mut connection).await?;
        // Writes the data of the last measurement now, so that this does not disturb the next one.
        sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await?;
        Ok(self.url(&name))
    }

    /// Runs now the maintenance that the server would do in the background after many rows were added.
    pub(super) async fn vacuum(&self, url: &str) -> Result<()> {
        let mut connection = PgConnection::connect(url).await?;
        for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        Ok(())
    }

    /// The number of times per second that `pgbench` runs a script with a number of connections. None if
    /// `pgbench` is not installed.
    pub(super) fn pgbench(
        &self,
        script: &str,
        connections: usize,
        time: Duration,
    ) -> Result<Option<f64>> {
        let program = self.program_directory.join("pgbench");
        if !program.is_file() {
            return Ok(None);
        }
        let file = self.directory.join("script.sql");
        fs::write(&file, script)?;
        let threads = connections.min(2).to_string();
        let done = Command::new(program)
            .args(["--no-vacuum", "--protocol=prepared", "--jobs", &threads])
            .args(["--client", &connections.to_string()])
            .args(["--time", &time.as_secs().max(1).to_string()])
            .args(["--username=postgres", "--host"])
            .arg(&self.directory)
            .arg("--file")
            .arg(&file)
            .arg("postgres")
            .output()
            .context("cannot run pgbench")?;
        ensure!(done.status.success(), "pgbench: {}", stderr_text(&done));
        let text = String::from_utf8_lossy(&done.stdout);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rest| rest.split(' ').next()?.parse().ok());
        Ok(Some(rate.context("pgbench printed no rate")?))
    }

    /// Runs statements in the database that `pgbench` uses.
    pub(super) async fn prepare(&self, script: &'static str) -> Result<()> {
        let mut connection = self.connect("postgres").await?;
        sqlx::raw_sql(script).execute(&mut connection).await?;
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

fn stderr_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// The command that runs a program without root's rights.
fn unprivileged_command(program: &Path) -> Result<Command> {
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    let nobody = NOBODY_UID.to_string();
    command
        .args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"])
        .arg(program);
    Ok(command)
}

/// The directory of the programs of the newest installed version.
fn find_program_directory() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let places = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let newest = places
        .filter(|place| place.join("initdb").is_file())
        .max_by_key(|place| {
            let version = place.parent().and_then(Path::file_name);
            version.and_then(|version| version.to_str()?.parse::<u32>().ok())
        });
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest.or_else(|| std::env::split_paths(&path).find(|place| place.join("initdb").is_file()))
}
