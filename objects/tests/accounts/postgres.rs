//! A PostgreSQL server for tests, from the programs that are installed on this machine.

#![allow(dead_code, reason = "two suites share it, and each uses a part")]

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// A running server, which listens on a socket in its own directory.
///
/// Its shell holds the other end of a pipe: when this process ends in any way, the server stops too, and its
/// files are removed.
#[derive(Debug)]
pub(crate) struct Postgres {
    shell: Child,
    dir: PathBuf,
}

/// Starts the server ("$@"). On command it stops it like a crash, kills it, or freezes all of its processes.
/// At the end it removes its directory ($0).
const SHELL: &str = r#"
trap '' INT TERM
"$@" & server=$!
while read -r order; do
    family="$server $(cat /proc/$server/task/$server/children)"
    case $order in
        stop) kill -QUIT $server; wait $server ;;
        start) "$@" & server=$! ;;
        kill) kill -KILL $family; wait $server ;;
        freeze) kill -STOP $family ;;
        thaw) kill -CONT $family ;;
    esac
done
kill -CONT $server
kill -QUIT $server; wait $server
rm -rf "$0"
"#;

/// The user that runs the server if the tests run as root, which the server refuses.
const NOBODY: u32 = 65534;

impl Postgres {
    /// Creates and starts a new server. It does not wait for the disk: nothing here cuts the power.
    pub(crate) async fn start() -> Self {
        Self::start_with(&["fsync=off"]).await
    }

    /// Creates and starts a new server with these settings.
    pub(crate) async fn start_with(settings: &[&str]) -> Self {
        Self::start_in(&[], settings).await
    }

    /// Creates and starts a new server with this environment and these settings.
    pub(crate) async fn start_in(environment: &[(&str, &Path)], settings: &[&str]) -> Self {
        let dir = new_directory();
        let made = as_nobody("initdb")
            .args(["--no-sync", "--auth=trust", "--username=postgres"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(dir.join("data"))
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {made:?}");
        Self::run(dir, environment, settings).await
    }

    async fn run(dir: PathBuf, environment: &[(&str, &Path)], settings: &[&str]) -> Self {
        let data = dir.join("data");
        let server = as_nobody("postgres");
        let shell = Command::new("sh")
            .args(["-c", SHELL])
            .arg(&dir)
            .arg(server.get_program())
            .args(server.get_args())
            .args(["-c", "listen_addresses=", "-k"])
            .args([&dir, Path::new("-D"), &data])
            .args(settings.iter().flat_map(|setting| ["-c", *setting]))
            .current_dir(&dir)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        let server = Self { shell, dir };
        server.ready().await;
        server
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        let dir = self.dir.display();
        format!("postgres://postgres@localhost/{database}?host={dir}")
    }

    /// Creates a database, and returns its address.
    pub(crate) async fn database(&self, name: &str) -> String {
        let statement = format!("CREATE DATABASE {name}");
        self.execute(&statement).await;
        self.url(name)
    }

    /// A standby of it, which follows it: later commits here are there too.
    pub(crate) async fn standby(&self) -> Self {
        let dir = new_directory();
        let copied = as_nobody("pg_basebackup")
            .args([
                "--username=postgres",
                "--checkpoint=fast",
                "--write-recovery-conf",
            ])
            .arg("--host")
            .arg(&self.dir)
            .arg("--pgdata")
            .arg(dir.join("data"))
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(copied.status.success(), "pg_basebackup: {copied:?}");
        let standby = Self::run(dir, &[], &["fsync=off"]).await;
        self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            .await;
        self.execute("SELECT pg_reload_conf()").await;
        let deadline = Instant::now() + Duration::from_secs(20);
        let synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        while self.is_empty(synchronous).await {
            assert!(Instant::now() < deadline, "the standby does not follow");
            sleep(Duration::from_millis(20)).await;
        }
        standby
    }

    /// Promotes a standby to the primary.
    pub(crate) async fn promote(&self) {
        self.execute("SELECT pg_promote()").await;
    }

    /// Kills all of its processes at once.
    pub(crate) async fn kill(&mut self) {
        self.order("kill");
        self.answers_no_more().await;
    }

    /// Freezes it: it keeps its sockets and answers nothing.
    pub(crate) fn freeze(&mut self) {
        self.order("freeze");
    }

    /// Ends what [`freeze`](Self::freeze) began.
    pub(crate) fn thaw(&mut self) {
        self.order("thaw");
    }

    /// The directory with its socket.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends every connection except the one that runs this.
    pub(crate) async fn end_connections(&self) {
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )
        .await;
    }

    /// Stops it in the middle of its work, and waits until it answers no more.
    pub(crate) async fn crash(&mut self) {
        self.order("stop");
        self.answers_no_more().await;
    }

    async fn answers_no_more(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.connect().await.is_ok() {
            assert!(Instant::now() < deadline, "it does not stop");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts it after a crash, and waits until it answers.
    pub(crate) async fn recover(&mut self) {
        self.order("start");
        self.ready().await;
    }

    fn order(&mut self, order: &str) {
        let shell = self.shell.stdin.as_mut().expect("it is piped");
        writeln!(shell, "{order}").unwrap();
    }

    async fn execute(&self, statement: &str) {
        self.execute_in("postgres", statement).await;
    }

    /// Runs statements in one of its databases.
    pub(crate) async fn execute_in(&self, database: &str, statement: &str) {
        let mut connection = PgConnection::connect(&self.url(database)).await.unwrap();
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        let executed = sqlx::raw_sql(statement).execute(&mut connection).await;
        executed.unwrap();
    }

    async fn is_empty(&self, question: &'static str) -> bool {
        let mut connection = self.connect().await.unwrap();
        let rows = sqlx::query(question).fetch_all(&mut connection).await;
        rows.unwrap().is_empty()
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let options: PgConnectOptions = self.url("postgres").parse()?;
        PgConnection::connect_with(&options).await
    }

    async fn ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = self.connect().await {
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{error}; its log: {}", log());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// A directory in which the server may write.
fn new_directory() -> PathBuf {
    let dir = TempDir::new().unwrap().keep();
    if is_root() {
        chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    dir
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// One of the server's programs, run by a user that it accepts.
fn as_nobody(program: &str) -> Command {
    let program = programs().join(program);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let nobody = NOBODY.to_string();
    command
        .args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"])
        .arg(program);
    command
}

/// The directory of the newest installed version.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    versions
        .map(|version| version.unwrap().path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .max_by_key(|programs| {
            let version = programs.parent().and_then(Path::file_name);
            version.and_then(|version| version.to_str()?.parse::<u32>().ok())
        })
        .expect("the server's programs of PostgreSQL are installed")
}
