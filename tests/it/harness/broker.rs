//! A broker: name servers and workers, each a process of its own.

mod nameserver;
mod worker;

use super::{PYROXENE, Process, Shim, ledger, process::command};
use nameserver::NameServer;
use pyroxene_client::{Client, ClientConfig, Credentials};
use pyroxene_common::tls::TlsClient;
use std::{future::IntoFuture, path::Path, pin::Pin};
use tempfile::TempDir;
use tokio::process::Command;
use worker::Worker;

/// The built-in objects that every worker of a test hosts.
pub(crate) const OBJECTS: [&str; 5] = ["calculator", "counter", "echo", "hash", "text"];

/// The directory of a disk, in that of the broker.
const DISK: &str = "disk";

/// A running broker. Dropping it kills all of it.
#[derive(Debug)]
pub(crate) struct Broker {
    nameservers: Vec<NameServer>,
    workers: Vec<Worker>,
    terms: Terms,
    dir: TempDir,
}

/// On what terms daemons are started, and how the harness itself gets into them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Further flags of every name server.
    pub(crate) nameserver: Vec<String>,
    /// Further flags of every worker.
    pub(crate) worker: Vec<String>,
    /// What daemons log, if it is not the usual.
    pub(crate) log: Option<String>,
    /// Whom the harness trusts.
    pub(crate) tls: Option<TlsClient>,
    /// As whom it logs in.
    pub(crate) credentials: Option<Credentials>,
    /// How many mebibytes there are on the disk with the store, if it is one of its own.
    pub(crate) disk: Option<u32>,
    /// Further variables of the environment of every daemon.
    pub(crate) environment: Vec<(String, String)>,
    /// The machine that daemons run on, if its clock or its disk is to be bad.
    pub(crate) shim: Option<Shim>,
}

/// Mounts a disk of a size ($0) at a directory ($1), which this program and its children alone see,
/// and becomes the program that follows.
const ON_A_DISK: &str = r#"
mkdir -p "$1" && mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"
"#;

impl Terms {
    /// The settings of a client that gets in.
    pub(crate) fn config(&self, addresses: &str) -> ClientConfig {
        let mut config = ClientConfig::new(addresses).unwrap().name("test");
        if let Some(tls) = &self.tls {
            config = config.tls(tls.clone());
        }
        if let Some(credentials) = &self.credentials {
            config = config.credentials(credentials.clone());
        }
        config
    }

    /// The command that starts a name server.
    fn nameserver_command(&self, dir: &Path) -> Command {
        let Some(disk) = self.disk else {
            return self.command(dir);
        };
        let mut command = command(Path::new("unshare"), dir);
        command
            .args(["--map-root-user", "--mount", "sh", "-c", ON_A_DISK])
            .arg(format!("{disk}m"))
            .arg(dir.join(DISK))
            .arg(PYROXENE);
        command
    }

    /// The command that starts a daemon.
    fn command(&self, dir: &Path) -> Command {
        let mut command = command(Path::new(PYROXENE), dir);
        if let Some(log) = &self.log {
            command.env("RUST_LOG", log);
        }
        if let Some(shim) = &self.shim {
            command.envs(shim.environment());
        }
        command.envs(self.environment.iter().cloned());
        command
    }
}

/// What a broker is to begin with.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    nameservers: usize,
    store: Option<String>,
    one_store: bool,
    nameserver_flags: Vec<String>,
    workers: Vec<(String, Vec<String>)>,
    terms: Terms,
    dir: Option<TempDir>,
}

impl Plan {
    /// With this store.
    pub(crate) fn store(mut self, url: &str) -> Self {
        self.store = Some(url.to_owned());
        self
    }

    /// With so many name servers.
    pub(crate) fn nameservers(mut self, count: usize) -> Self {
        self.nameservers = count;
        self
    }

    /// With one store for all name servers, in a file that outlives them.
    pub(crate) fn one_store(mut self) -> Self {
        self.one_store = true;
        self
    }

    /// With a disk of so many mebibytes for the store, which the name server alone sees.
    pub(crate) fn store_on_a_disk_of(mut self, mebibytes: u32) -> Self {
        self.terms.disk = Some(mebibytes);
        self
    }

    /// With daemons whose clock is that of this machine, and its disk.
    pub(crate) fn on(mut self, machine: &Shim) -> Self {
        self.terms.shim = Some(machine.clone());
        self
    }

    /// With further flags for every name server.
    pub(crate) fn nameserver_flags(mut self, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|&flag| flag.to_owned());
        self.nameserver_flags.extend(flags);
        self
    }

    /// With daemons that have these variables in their environment.
    pub(crate) fn environment(mut self, variables: &[(String, String)]) -> Self {
        self.terms.environment.extend_from_slice(variables);
        self
    }

    /// With so many workers: `w1`, `w2`, …
    pub(crate) fn workers(mut self, count: usize) -> Self {
        for number in 1..=count {
            self.workers.push((format!("w{number}"), Vec::new()));
        }
        self
    }

    /// With a worker of this name, started with further flags.
    pub(crate) fn worker(mut self, name: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        self.workers.push((name.to_owned(), flags));
        self
    }

    /// On these terms, with its files in a directory that is there already.
    pub(crate) fn secured(mut self, terms: Terms, dir: TempDir) -> Self {
        (self.terms, self.dir) = (terms, Some(dir));
        self
    }

    async fn start(self) -> Broker {
        let dir = self.dir.unwrap_or_else(|| TempDir::new().unwrap());
        let mut broker = Broker {
            nameservers: Vec::new(),
            workers: Vec::new(),
            terms: self.terms,
            dir,
        };
        broker.terms.nameserver.extend(self.nameserver_flags);
        let store = match (self.store, self.one_store) {
            (Some(store), _) => store,
            (None, _) if broker.terms.disk.is_some() => {
                let file = broker.dir.path().join(DISK).join("state.db");
                format!("sqlite:{}", file.display())
            }
            (None, true) => format!("sqlite:{}", broker.dir.path().join("state.db").display()),
            // Most tests do not care what outlives a name server.
            (None, false) => "memory:".to_owned(),
        };
        broker
            .terms
            .nameserver
            .extend(["--store".to_owned(), store]);
        for number in 0..self.nameservers {
            let (terms, dir) = (broker.terms.clone(), broker.dir.path());
            let nameserver = NameServer::start(number, "127.0.0.1:0", terms, dir).await;
            broker.nameservers.push(nameserver);
        }
        for (name, flags) in self.workers {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            broker.add_worker(&name, &flags).await;
        }
        broker
    }
}

impl IntoFuture for Plan {
    type Output = Broker;
    type IntoFuture = Pin<Box<dyn Future<Output = Broker> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl Broker {
    /// A broker with one name server, and with what the plan adds.
    pub(crate) fn start() -> Plan {
        Plan {
            nameservers: 1,
            ..Plan::default()
        }
    }

    /// The addresses of its name servers, separated by commas.
    pub(crate) fn addresses(&self) -> String {
        let addresses: Vec<&str> = self.nameservers.iter().map(|ns| ns.address()).collect();
        addresses.join(",")
    }

    /// A new client of all its name servers.
    pub(crate) async fn client(&self) -> Client {
        self.client_with(|config| config).await
    }

    /// A new client with other settings than the defaults.
    pub(crate) async fn client_with(
        &self,
        settings: impl FnOnce(ClientConfig) -> ClientConfig,
    ) -> Client {
        let config = self.terms.config(&self.addresses());
        Client::connect_with(settings(config)).await.unwrap()
    }

    /// Name server number `index`.
    pub(crate) fn nameserver(&mut self, index: usize) -> &mut NameServer {
        &mut self.nameservers[index]
    }

    /// The worker of this name.
    pub(crate) fn worker(&mut self, name: &str) -> &mut Worker {
        let worker = self.workers.iter_mut().find(|worker| worker.name == name);
        worker.unwrap_or_else(|| panic!("the test started no worker {name}"))
    }

    /// Asks all of it to read its files again.
    pub(crate) fn hang_up_all(&self) {
        for nameserver in &self.nameservers {
            nameserver.process().hang_up();
        }
        for worker in &self.workers {
            worker.process.hang_up();
        }
    }

    /// Starts another worker, and waits until every name server lists it.
    pub(crate) async fn add_worker(&mut self, name: &str, flags: &[&str]) {
        let mut command = self.terms.command(self.dir.path());
        command
            .args(["worker", "--exit-with-parent", "--name", name])
            .args(["--nameserver", &self.addresses()])
            .args(["--objects", &OBJECTS.join(",")])
            .args(&self.terms.worker)
            .args(flags);
        let mut process = Process::start(name, command, self.dir.path());
        let address = process.ready(&format!("ready worker {name}")).await;
        self.admit(Worker {
            name: name.to_owned(),
            address,
            process,
        })
        .await;
    }

    /// Starts a worker that hosts the object `ledger` (see [`ledger`]), which clients reach at
    /// `advertise` if that is given, and waits until every name server lists it.
    pub(crate) async fn add_ledger(&mut self, name: &str, advertise: Option<&str>) {
        let command = ledger::command(name, &self.addresses(), advertise, self.dir.path());
        self.start_ledger(name, command).await;
    }

    /// Starts a worker with a ledger that also wants the exclusive name [`ledger::LEAD`], and waits
    /// until every name server lists it.
    pub(crate) async fn add_leader(&mut self, name: &str) {
        let mut command = ledger::command(name, &self.addresses(), None, self.dir.path());
        ledger::want_lead(&mut command);
        self.start_ledger(name, command).await;
    }

    async fn start_ledger(&mut self, name: &str, command: Command) {
        let process = Process::start(name, command, self.dir.path());
        let address = ledger::address(self.dir.path(), name).await;
        self.admit(Worker {
            name: name.to_owned(),
            address,
            process,
        })
        .await;
    }

    async fn admit(&mut self, worker: Worker) {
        let name = worker.name.clone();
        self.workers.push(worker);
        for nameserver in &self.nameservers {
            nameserver.lists(&name).await;
        }
    }

    /// Which entries the ledgers of this broker's workers hold, in no order.
    pub(crate) fn ledger_entries(&self) -> Vec<u64> {
        ledger::entries(self.dir.path())
    }

    /// A directory for files, which ends with the broker.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}
