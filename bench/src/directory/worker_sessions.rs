//! The sessions of a thousand workers that do not exist: this process opens and renews them.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use pyroxene_client::DirectProxy;
use pyroxene_common::{
    interfaces::directory::{
        Directory, OBJECT, ObjectRegistration, Registration, SessionId, directory::DirectoryClient,
    },
    message::Load,
};
use tarpc::context;
use tokio::{task::JoinHandle, time::sleep};

const WORKERS: usize = 1_000;
const OBJECTS: usize = 10_000;
/// Each worker hosts a hundred objects, and each object has ten instances.
pub(super) const INSTANCES: usize = 100_000;

/// The number of sessions that are opened at the same time.
const CONCURRENT_OPENS: usize = 32;

/// The longest lease that a name server grants, so that few renewals disturb the measurement.
const TTL: Duration = Duration::from_secs(60);

/// A connection to the directory.
pub(super) type DirectoryConnection = DirectoryClient<DirectProxy<Directory>>;

/// Connects to the directory of a name server.
pub(super) async fn connect(nameserver: SocketAddr) -> Result<DirectoryConnection> {
    let direct = DirectProxy::<Directory>::connect(&nameserver.into(), OBJECT).await;
    Ok(direct
        .context("cannot connect to the name server")?
        .client())
}

/// Opens `count` connections.
pub(super) async fn connect_many(
    nameserver: SocketAddr,
    count: usize,
) -> Result<Vec<DirectoryConnection>> {
    let connecting = stream::iter(0..count).map(|_| connect(nameserver));
    connecting
        .buffer_unordered(CONCURRENT_OPENS)
        .try_collect()
        .await
}

/// The name of the object with a number.
pub(super) fn object_name(number: usize) -> String {
    format!("department.service-{:05}", number % OBJECTS)
}

/// The open sessions.
pub(super) struct WorkerSessions {
    nameserver: SocketAddr,
    sessions: Vec<SessionId>,
}

impl WorkerSessions {
    /// Opens all sessions.
    pub(super) async fn register(nameserver: SocketAddr) -> Result<Self> {
        let line = connect(nameserver).await?;
        let opening = stream::iter(0..WORKERS).map(|worker| {
            let line = line.clone();
            async move {
                let lease = line
                    .open(context::current(), registration(worker), None)
                    .await??;
                anyhow::Ok(lease.session)
            }
        });
        let sessions = opening
            .buffer_unordered(CONCURRENT_OPENS)
            .try_collect()
            .await?;
        Ok(Self {
            nameserver,
            sessions,
        })
    }

    pub(super) fn nameserver(&self) -> SocketAddr {
        self.nameserver
    }

    pub(super) fn sessions(&self) -> &[SessionId] {
        &self.sessions
    }

    /// Renews the leases in the background.
    pub(super) fn renew_in_background(&self) -> JoinHandle<Result<()>> {
        let (nameserver, sessions) = (self.nameserver, self.sessions.clone());
        tokio::spawn(async move {
            let line = connect(nameserver).await?;
            loop {
                for session in &sessions {
                    line.renew(context::current(), *session, Load::default())
                        .await??;
                    // Spreads the renewals over a third of the lease.
                    sleep(TTL / 3 / WORKERS as u32).await;
                }
            }
        })
    }
}

fn registration(worker: usize) -> Registration {
    let per_worker = INSTANCES / WORKERS;
    let zone = ["zone-a", "zone-b", "zone-c"].get(worker % 3);
    let tags = Vec::from_iter(zone.map(|zone| (*zone).to_owned()));
    let offer = |number| ObjectRegistration {
        object: object_name(worker * per_worker + number),
        interface: "Department.Service".to_owned(),
        version: 1,
        spoken: Vec::new(),
        tags: tags.clone(),
        exclusive: false,
    };
    Registration {
        worker: format!("worker-{worker:04}.department.example"),
        incarnation: worker as u64 + 1,
        endpoint: format!("10.1.{}.{}:41000", worker / 250, worker % 250 + 1),
        pid: 1_000,
        host: format!("host-{worker:04}.department.example"),
        capacity: 8,
        ttl_ms: TTL.as_millis() as u64,
        objects: (0..per_worker).map(offer).collect(),
    }
}
