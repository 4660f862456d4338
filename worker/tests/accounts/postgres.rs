//! A PostgreSQL server for tests, from the programs that are installed on this machine.

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

/// A running server, which listens on a socket in a directory of its own.
///
/// Its shell holds the other end of a pipe: whatever ends this process also stops the server and
/// removes its files.
#[derive(Debug)]
pub(crate) struct Postgres {
    shell: Child,
    dir: PathBuf,
}

/// Starts the server ("$@"), and stops it like a crash, as it is told. At the end it removes its
/// directory ($0).
const SHELL: &str = r#"
trap '' INT TERM
"$@" & server=$!
while read -r order; do
    case $order in
        stop) kill -QUIT $server; wait $server ;;
        start) "$@" & server=$! ;;
    esac
done
kill -QUIT $server; wait $server
rm -rf "$0"
"#;

/// Who runs the server if the tests run as root, which it refuses to.
const NOBODY: u32 = 65534;

impl Postgres {
    /// Makes a new server, and starts it.
    pub(crate) async fn start() -> Self {
        let programs = programs();
        let dir = TempDir::new().unwrap().keep();
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        if is_root {
            chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let as_nobody = |program: PathBuf| {
            let nobody = NOBODY.to_string();
            let change = ["setpriv", "--reuid", &nobody, "--regid", &nobody];
            let change = change.into_iter().chain(["--clear-groups"]);
            let mut words: Vec<PathBuf> = change.filter(|_| is_root).map(PathBuf::from).collect();
            words.push(program);
            words
        };
        let data = dir.join("data");
        let words = as_nobody(programs.join("initdb"));
        let made = Command::new(&words[0])
            .args(&words[1..])
            .args(["--no-sync", "--auth=trust", "--username=postgres"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data)
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {made:?}");
        let shell = Command::new("sh")
            .args(["-c", SHELL])
            .arg(&dir)
            .args(as_nobody(programs.join("postgres")))
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .args([&dir, Path::new("-D"), &data])
            .current_dir(&dir)
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

    /// Makes a database, and answers its address.
    pub(crate) async fn database(&self, name: &str) -> String {
        let statement = format!("CREATE DATABASE {name}");
        self.execute(&statement).await;
        self.url(name)
    }

    /// Ends every connection but the one that says so.
    pub(crate) async fn end_connections(&self) {
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )
        .await;
    }

    /// Stops it in the middle of whatever it does, and waits until it answers no more.
    pub(crate) async fn crash(&mut self) {
        self.order("stop");
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
        let mut connection = self.connect().await.unwrap();
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        let executed = sqlx::raw_sql(statement).execute(&mut connection).await;
        executed.unwrap();
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

/// The directory of the newest version that is installed.
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
