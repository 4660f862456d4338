//! The broker under test: name servers, workers, and leaders that compete for one exclusive name. Each
//! process is behind a network that can be broken, on a machine whose clock and disk can fail.

use crate::{
    arguments::Store,
    daemon::{Daemon, Launch},
    fault_proxy::FaultProxy,
    harness::{PYROXENE, Shim, ledger, postgres::Postgres, process::command},
    plan::Role,
    report::CampaignReport,
};
use pyroxene_client::{Client, ClientConfig};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

pub(crate) const NAMESERVERS: usize = 2;
pub(crate) const WORKERS: usize = 2;
pub(crate) const LEADERS: usize = 2;

/// All processes, machines and data of the campaign.
pub(crate) struct CampaignBroker {
    /// Name servers, workers, leaders.
    pub(crate) daemons: Vec<Daemon>,
    /// The machine with the name servers and workers. SQLite's files are on its disk.
    pub(crate) machine: Shim,
    /// The machine with the database server, and the server.
    pub(crate) database: Option<(Shim, Arc<Mutex<Postgres>>)>,
    /// The addresses of the name servers' data and of the accounts' data.
    pub(crate) store: String,
    pub(crate) accounts: String,
    /// The addresses of the name servers, for clients.
    pub(crate) addresses: String,
    pub(crate) dir: TempDir,
    _leading: Vec<AbortOnDropHandle<()>>,
}

impl CampaignBroker {
    pub(crate) async fn start(store: Store, verdict: &CampaignReport) -> Self {
        let dir = TempDir::new().unwrap();
        let machine = Shim::new();
        let (database, store, accounts) = match store {
            Store::Sqlite => {
                let url = |name| format!("sqlite:{}", dir.path().join(name).display());
                (None, url("state.db"), url("accounts.db"))
            }
            Store::Postgres => {
                let shim = Shim::new();
                let server = Postgres::start_in(&shim.environment(), &["fsync=on"]).await;
                let store = server.database("state").await;
                let accounts = server.database("bank").await;
                let database = (shim, Arc::new(Mutex::new(server)));
                (Some(database), store, accounts)
            }
        };
        let mut proxies = Vec::new();
        for _ in 0..NAMESERVERS + WORKERS + LEADERS {
            proxies.push(FaultProxy::start().await);
        }
        let addresses: Vec<String> = proxies[..NAMESERVERS]
            .iter()
            .map(FaultProxy::address)
            .collect();
        let addresses = addresses.join(",");
        let at = |name: &str, proxy: &FaultProxy| LaunchSettings {
            name: name.to_owned(),
            machine: machine.clone(),
            dir: dir.path().to_owned(),
            nameservers: addresses.clone(),
            advertise: proxy.address(),
        };
        let (mut daemons, mut leading) = (Vec::new(), Vec::new());
        let mut proxies = proxies.into_iter();
        let names = (1..=NAMESERVERS).map(|number| (Role::NameServer, format!("n{number}")));
        let names = names.chain((1..=WORKERS).map(|number| (Role::Worker, format!("w{number}"))));
        let names = names.chain((1..=LEADERS).map(|number| (Role::Leader, format!("l{number}"))));
        for (role, name) in names {
            let proxy = proxies.next().unwrap();
            let place = at(&name, &proxy);
            let launch = match role {
                Role::NameServer => place.nameserver(store.clone()),
                Role::Worker => place.worker(accounts.clone()),
                Role::Leader => place.leader(),
            };
            daemons.push(Daemon::start(
                &name,
                role,
                proxy,
                dir.path(),
                verdict,
                launch,
            ));
            let started = daemons.last().unwrap();
            leading.push(follow_address(started));
            assert!(started.is_ready().await, "{name} does not start");
        }
        Self {
            daemons,
            machine,
            database,
            store,
            accounts,
            addresses,
            dir,
            _leading: leading,
        }
    }

    /// A client of all name servers.
    pub(crate) async fn client(&self) -> Client {
        let config = ClientConfig::new(&self.addresses).unwrap();
        Client::connect_with(config).await.unwrap()
    }

    pub(crate) fn all(&self, role: Role) -> impl Iterator<Item = &Daemon> {
        self.daemons
            .iter()
            .filter(move |daemon| daemon.role == role)
    }

    /// Kills all processes. Returns the directory with their files.
    pub(crate) async fn stop(self) -> TempDir {
        for daemon in &self.daemons {
            daemon.take_down(rustix::process::Signal::KILL).await;
        }
        self.dir
    }
}

/// Points the proxy of a daemon at each of its processes.
fn follow_address(daemon: &Daemon) -> AbortOnDropHandle<()> {
    let proxy = daemon.proxy.signpost();
    let mut addresses = daemon.addresses();
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            if let Some(address) = addresses.borrow_and_update().clone() {
                proxy.lead_to(&address);
            }
            if addresses.changed().await.is_err() {
                return;
            }
        }
    }))
}

/// The settings with which a daemon is started.
struct LaunchSettings {
    name: String,
    machine: Shim,
    dir: std::path::PathBuf,
    nameservers: String,
    advertise: String,
}

impl LaunchSettings {
    fn nameserver(self, store: String) -> Launch {
        Box::new(move || {
            let mut command = command(Path::new(PYROXENE), &self.dir);
            command
                .envs(self.machine.environment())
                .args(["nameserver", "--exit-with-parent"])
                .args(["--listen", "127.0.0.1:0", "--store", &store])
                .args(["--advertise", &self.advertise]);
            command
        })
    }

    fn worker(self, accounts: String) -> Launch {
        Box::new(move || {
            let mut command = command(Path::new(PYROXENE), &self.dir);
            command
                .envs(self.machine.environment())
                .args(["worker", "--exit-with-parent", "--name", &self.name])
                .args([
                    "--objects",
                    "echo,chat,accounts",
                    "--accounts-db",
                    &accounts,
                ])
                .args(["--nameserver", &self.nameservers])
                .args(["--advertise", &self.advertise]);
            command
        })
    }

    fn leader(self) -> Launch {
        Box::new(move || {
            let advertise = Some(&*self.advertise);
            let mut command = ledger::command(&self.name, &self.nameservers, advertise, &self.dir);
            ledger::want_lead(&mut command);
            command
        })
    }
}
