//! An object that is not safe to repeat, and that writes down what ran, so that a test can prove
//! how often each call did, even if the worker that ran it is dead.
//!
//! Its workers are processes of this same test binary, which run the "test" [`host_a_ledger`].

use super::{eventually, process};
use pyroxene_common::endpoint::Endpoint;
use pyroxene_worker::Worker;
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tarpc::context::Context;
use tokio::process::Command;

pyroxene_common::interface! {
    /// Keeps entries.
    #[name = "Test.Ledger"]
    #[version = 1]
    pub(crate) trait Ledger in ledger {
        /// Writes the entry down, then takes so many milliseconds until it answers with it.
        async fn enter(entry: u64, ms: u64) -> u64;
        /// Answers an entry, without writing it down.
        #[idempotent]
        async fn repeat(entry: u64) -> u64;
        /// Under which fence the worker holds the object's name.
        #[idempotent]
        async fn fence() -> Option<u64>;
    }
}

/// The name of the object.
pub(crate) const OBJECT: &str = "ledger";

/// The name that one ledger at a time has, of those that want it.
pub(crate) const LEAD: &str = "lead";

/// The file in which a worker writes its entries, one per line.
fn file(dir: &Path, worker: &str) -> PathBuf {
    dir.join(format!("{worker}.ledger"))
}

/// Where a worker listens, once it does.
pub(super) async fn address(dir: &Path, worker: &str) -> String {
    eventually(&format!("{worker} listens"), || async {
        let address = fs::read_to_string(address_file(dir, worker));
        address.map_err(|error| error.to_string())
    })
    .await
}

/// The file in which a worker tells its address: what is on its standard output is not all its
/// own.
pub(crate) fn address_file(dir: &Path, worker: &str) -> PathBuf {
    dir.join(format!("{worker}.address"))
}

/// Every entry of every worker, in no order; an entry that ran twice is there twice.
pub(crate) fn entries(dir: &Path) -> Vec<u64> {
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "ledger"))
        .flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let entries: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
            entries
        })
        .collect()
}

#[derive(Clone)]
struct Entries(Arc<fs::File>);

impl ledger::Ledger for Entries {
    async fn enter(self, _: Context, entry: u64, ms: u64) -> u64 {
        // One write, so that no entry is ever half there.
        (&*self.0)
            .write_all(format!("{entry}\n").as_bytes())
            .unwrap();
        tokio::time::sleep(Duration::from_millis(ms)).await;
        entry
    }

    async fn repeat(self, _: Context, entry: u64) -> u64 {
        entry
    }

    async fn fence(self, _: Context) -> Option<u64> {
        pyroxene_common::scope::current().fence
    }
}

const NAME: &str = "LEDGER_NAME";
const NAMESERVERS: &str = "LEDGER_NAMESERVERS";
const ADVERTISE: &str = "LEDGER_ADVERTISE";
const WANTS_LEAD: &str = "LEDGER_WANTS_LEAD";
const DIR: &str = "LEDGER_DIR";

/// Makes the worker want the exclusive name [`LEAD`] too.
pub(crate) fn want_lead(command: &mut Command) {
    command.env(WANTS_LEAD, "yes");
}

/// The command that starts a worker with a ledger.
pub(crate) fn command(
    name: &str,
    nameservers: &str,
    advertise: Option<&str>,
    dir: &Path,
) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = process::command(&program, dir);
    command
        .args(["--exact", "harness::ledger::host_a_ledger", "--ignored"])
        .arg("--nocapture")
        .env(NAME, name)
        .env(NAMESERVERS, nameservers)
        .env(DIR, dir);
    if let Some(address) = advertise {
        command.env(ADVERTISE, address);
    }
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is no test, but a worker that tests start as a process of its own"]
async fn host_a_ledger() {
    host().await;
}

/// Whether this process was started as a worker with a ledger.
#[allow(dead_code, reason = "for programs that are not a collection of tests")]
pub(crate) fn is_host() -> bool {
    std::env::var(NAME).is_ok()
}

/// Is a worker with a ledger, if this process was started as one, until it is told to end.
pub(crate) async fn host() {
    let Ok(name) = std::env::var(NAME) else {
        return;
    };
    std::thread::spawn(|| {
        // It closes with the test that started this process, however that test ends.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let dir = PathBuf::from(std::env::var(DIR).unwrap());
    let file = fs::File::options()
        .create(true)
        .append(true)
        .open(file(&dir, &name))
        .unwrap();
    let entries = Entries(Arc::new(file));
    let mut builder = Worker::builder()
        .name(name.clone())
        .nameserver(std::env::var(NAMESERVERS).unwrap())
        .host(OBJECT, Ledger, entries.clone());
    if std::env::var(WANTS_LEAD).is_ok() {
        builder = builder.host_exclusive(LEAD, Ledger, entries);
    }
    if let Ok(address) = std::env::var(ADVERTISE) {
        builder = builder.advertise(address.parse::<Endpoint>().unwrap());
    }
    let worker = builder.bind().await.unwrap();
    // Renamed, so that it is never half there.
    let draft = dir.join(format!("{name}.draft"));
    fs::write(&draft, worker.local_addr().to_string()).unwrap();
    fs::rename(draft, address_file(&dir, &name)).unwrap();
    worker.join().await.unwrap();
}
