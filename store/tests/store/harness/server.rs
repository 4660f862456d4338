//! A PostgreSQL server for the tests: from the installed binaries, in a temporary directory, with a socket
//! there, as an unprivileged user. It ends with the last test that uses it, or with the process.

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, PgConnection};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The id of `nobody`, on every system. PostgreSQL refuses to run as root.
const UNPRIVILEGED: u32 = 65534;

pub(crate) struct Server {
    directory: TempDir,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Server {
    /// The server that tests share, each in a database of its own.
    pub(crate) async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let server = {
            // A start takes a second, and the other tests need the server too.
            let mut shared = SHARED.lock().unwrap_or_else(|error| error.into_inner());
            shared.upgrade().unwrap_or_else(|| {
                let server = Arc::new(Self::start());
                *shared = Arc::downgrade(&server);
                server
            })
        };
        server.ready().await;
        server
    }

    /// A server that a test may stop.
    pub(crate) async fn own() -> Self {
        let server = Self::start();
        server.ready().await;
        server
    }

    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        if is_root() {
            let owner = Some(UNPRIVILEGED);
            std::os::unix::fs::chown(directory.path(), owner, owner).unwrap();
        }
        let initialised = unprivileged(&find("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=pyroxene"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(directory.path().join("data"))
            .current_dir(directory.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&initialised.stderr);
        assert!(initialised.status.success(), "initdb: {told}");
        let server = Self {
            directory,
            child: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        server.run();
        server
    }

    /// Starts the process.
    pub(crate) fn run(&self) {
        let path = self.directory.path();
        let mut command = unprivileged(&find("postgres"));
        command
            .arg("-D")
            .arg(path.join("data"))
            .arg("-k")
            .arg(path)
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .args(["-c", "max_connections=300", "-c", "shared_buffers=64MB"])
            .current_dir(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        *self.child.lock().unwrap() = Some(spawn_from_a_lasting_thread(command));
    }

    /// Ends the process: `Signal::INT` in order, `Signal::QUIT` as a crash would.
    pub(crate) fn stop(&self, signal: Signal) {
        let child = self
            .child
            .lock()
            .unwrap_or_else(|error| error.into_inner())
            .take();
        if let Some(mut child) = child {
            let _ = kill_process(Pid::from_child(&child), signal);
            let _ = child.wait();
        }
    }

    pub(crate) async fn ready(&self) {
        let end = Instant::now() + super::PATIENCE;
        loop {
            let url = self.url("postgres");
            let Err(error) = PgConnection::connect(&url).await else {
                return;
            };
            assert!(Instant::now() < end, "the server does not answer: {error}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The directory with its socket.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self, database: &str) -> String {
        let host = self.directory.path().display();
        format!("postgres://pyroxene@localhost/{database}?host={host}&sslmode=disable")
    }

    /// An empty database.
    pub(crate) async fn new_database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", format!("CREATE DATABASE {name}"))
            .await;
        self.url(&name)
    }

    /// Runs a statement.
    pub(crate) async fn execute(&self, database: &str, statement: String) {
        execute(&self.url(database), statement).await;
    }
}

pub(crate) async fn execute(url: &str, statement: String) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let statement = sqlx::AssertSqlSafe(statement);
    sqlx::raw_sql(statement)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Signal::INT);
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program that runs as an unprivileged user, and ends with its parent.
pub(crate) fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        let id = UNPRIVILEGED;
        command.args([&format!("--reuid={id}"), &format!("--regid={id}")]);
        command.arg("--clear-groups");
    }
    command.args(["--pdeathsig", "INT", "--"]).arg(program);
    command
}

fn find(program: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut places: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    places.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    places.extend(std::env::split_paths(&path));
    let found = places.iter().rev().map(|place| place.join(program));
    let found = found.into_iter().find(|path| Path::is_file(path));
    found.unwrap_or_else(|| panic!("{program} is missing: install PostgreSQL's server"))
}

/// A child that is to end with its parent ends with the thread that started it.
fn spawn_from_a_lasting_thread(mut command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static ORDERS: Mutex<Option<mpsc::Sender<Order>>> = Mutex::new(None);
    let mut orders = ORDERS.lock().unwrap_or_else(|error| error.into_inner());
    let orders = orders.get_or_insert_with(|| {
        let (sender, receiver) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, started) in receiver {
                let _ = started.send(command.spawn());
            }
        });
        sender
    });
    command.stdin(Stdio::null());
    let (started, child) = mpsc::channel();
    orders.send((command, started)).unwrap();
    child.recv().unwrap().expect("setpriv starts PostgreSQL")
}
