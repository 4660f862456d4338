//! A PostgreSQL server of the benchmark's own, of the installed programs.

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

/// A server, which listens on a socket in a directory of its own. It ends with this process, however
/// that ends, and its files go with it.
pub(super) struct Postgres {
    /// Waits for its standard input to close.
    shell: Child,
    directory: PathBuf,
    programs: PathBuf,
    databases: u32,
}

/// Runs the server ("$@") until standard input closes, and removes its directory ($0).
const SHELL: &str = r#"trap '' INT TERM
"$@" & server=$!
cat >/dev/null
kill -INT $server; wait $server
rm -rf "$0""#;

/// Who runs the server if this is root, which it refuses.
const NOBODY: u32 = 65534;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

impl Postgres {
    /// Makes and starts one. Nothing, if none is installed.
    pub(super) async fn start(parent: &Path) -> Result<Option<Self>> {
        let Some(programs) = programs() else {
            return Ok(None);
        };
        let directory = tempfile::Builder::new()
            .prefix("pyroxene-bench-pg-")
            .tempdir_in(parent)?;
        if is_root()? {
            chown(directory.path(), Some(NOBODY), Some(NOBODY))?;
        }
        let data = directory.path().join("data");
        let made = unprivileged(&programs.join("initdb"))?
            .args(["--no-sync", "--auth=trust", "--username=postgres"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data)
            .current_dir(directory.path())
            .output()
            .context("cannot run initdb")?;
        ensure!(made.status.success(), "initdb: {}", said(&made));
        // Removed by the shell from now on.
        let directory = directory.keep();
        let server = unprivileged(&programs.join("postgres"))?;
        let shell = Command::new("sh")
            .args(["-c", SHELL])
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
            shell,
            directory,
            programs,
            databases: 0,
        };
        server.ready().await?;
        Ok(Some(server))
    }

    async fn ready(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
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

    /// The URL of a new database.
    pub(super) async fn new_database(&mut self) -> Result<String> {
        self.databases += 1;
        let name = format!("bench{}", self.databases);
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        let mut connection = self.connect("postgres").await?;
        sqlx::raw_sql(create).execute(&mut connection).await?;
        // What was measured before must not be written while the next figure is taken.
        sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await?;
        Ok(self.url(&name))
    }

    /// Does now what the server would do in the background after very many rows were added.
    pub(super) async fn tidy(&self, url: &str) -> Result<()> {
        let mut connection = PgConnection::connect(url).await?;
        for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        Ok(())
    }

    /// How often per second `pgbench` goes through a script with so many connections. Nothing, if it
    /// is not installed.
    pub(super) fn pgbench(
        &self,
        script: &str,
        connections: usize,
        time: Duration,
    ) -> Result<Option<f64>> {
        let program = self.programs.join("pgbench");
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
        ensure!(done.status.success(), "pgbench: {}", said(&done));
        let text = String::from_utf8_lossy(&done.stdout);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rest| rest.split(' ').next()?.parse().ok());
        Ok(Some(rate.context("pgbench did not say how fast it was")?))
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
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// A program, run by somebody who may do nothing else.
fn unprivileged(program: &Path) -> Result<Command> {
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    let nobody = NOBODY.to_string();
    command
        .args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"])
        .arg(program);
    Ok(command)
}

/// Where the programs of the newest version are.
fn programs() -> Option<PathBuf> {
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
