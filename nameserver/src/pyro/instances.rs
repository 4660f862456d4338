//! Instances of Python's programs: several daemons that register one name. The name server holds a lease for
//! each, and renews it while the daemon answers a ping.

use crate::directory::DirectoryService;
use pyroxene_common::{
    interfaces::directory::{
        DirectoryError, ObjectRegistration, Registration, SessionId, directory::Directory,
    },
    message::Load,
    tls::TlsClient,
};
use pyroxene_pyro::{
    client::{PyroClientError, PyroConnection},
    uri::{PyroUri, SCHEME},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tarpc::context;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The time to live of such a lease.
const LEASE: Duration = Duration::from_secs(3);

/// How often a daemon is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// How long a daemon that is gone is looked for. It registers again if it comes back later, or elsewhere.
const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);

/// The most instances.
const MAX_INSTANCES: usize = 10_000;

/// The instances, by name and address.
#[derive(Clone, Debug)]
pub(super) struct PythonInstances(Arc<InstancesInner>);

#[derive(Debug)]
struct InstancesInner {
    directory: DirectoryService,
    known: Mutex<BTreeMap<(String, String), PythonInstance>>,
    tls: Option<TlsClient>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct PythonInstance {
    tags: Vec<String>,
    /// Ends its task.
    end: CancellationToken,
}

impl PythonInstances {
    pub(super) fn new(
        directory: DirectoryService,
        tls: Option<TlsClient>,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(InstancesInner {
            directory,
            known: Mutex::default(),
            tls,
            stop,
        }))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, String), PythonInstance>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an instance, or replaces the tags of one that is known. It is listed at once: its daemon is there,
    /// as it has just registered.
    pub(super) async fn add(
        &self,
        name: &str,
        uri: PyroUri,
        tags: Vec<String>,
    ) -> Result<(), DirectoryError> {
        let key = (name.to_owned(), uri.to_string());
        let end = self.0.stop.child_token();
        let open = {
            let mut known = self.known();
            if known.len() >= MAX_INSTANCES && !known.contains_key(&key) {
                let what = format!("it holds {MAX_INSTANCES} instances of Python's programs");
                return Err(DirectoryError::Full { what });
            }
            let instance = PythonInstance {
                tags,
                end: end.clone(),
            };
            known.insert(key.clone(), instance).map(|before| before.end)
        };
        if let Some(before) = open {
            before.cancel();
        }
        let keeper = Keeper {
            instances: self.clone(),
            key,
            uri,
        };
        let session = match keeper.open().await {
            Ok(session) => session,
            Err(error) => {
                self.known().remove(&keeper.key);
                return Err(error);
            }
        };
        tokio::spawn(async move {
            let forgotten = end.run_until_cancelled(keeper.keep(session)).await;
            // Whoever cancelled it has replaced or removed the entry.
            if forgotten.is_some() {
                keeper.instances.known().remove(&keeper.key);
            }
            if end.is_cancelled() && !keeper.is_known() {
                keeper.close().await;
            }
        });
        Ok(())
    }

    /// Replaces the tags of a name's instances, from their next lease on.
    pub(super) fn set_tags(&self, name: &str, tags: &[String]) {
        for ((of, _), instance) in self.known().iter_mut() {
            if of == name {
                instance.tags = tags.to_vec();
            }
        }
    }

    /// Removes the instances of a name. Whether there were any.
    pub(super) fn remove(&self, name: &str) -> bool {
        let mut known = self.known();
        let before = known.len();
        known.retain(|(of, _), instance| {
            if of == name {
                instance.end.cancel();
            }
            of != name
        });
        known.len() < before
    }
}

/// Keeps the lease of one instance.
struct Keeper {
    instances: PythonInstances,
    key: (String, String),
    uri: PyroUri,
}

impl Keeper {
    fn directory(&self) -> DirectoryService {
        self.instances.0.directory.clone()
    }

    fn is_known(&self) -> bool {
        self.instances.known().contains_key(&self.key)
    }

    fn tags(&self) -> Vec<String> {
        let known = self.instances.known();
        known
            .get(&self.key)
            .map(|instance| instance.tags.clone())
            .unwrap_or_default()
    }

    /// Opens a session with the instance as its only object.
    async fn open(&self) -> Result<SessionId, DirectoryError> {
        let (name, _) = &self.key;
        let registration = Registration {
            worker: self.worker(),
            incarnation: 1,
            endpoint: self.uri.endpoint.to_string(),
            pid: 0,
            host: "python".to_owned(),
            capacity: 1,
            ttl_ms: u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX),
            objects: vec![ObjectRegistration {
                object: name.clone(),
                interface: format!("{SCHEME}{}", self.uri.object),
                version: 0,
                spoken: Vec::new(),
                tags: self.tags(),
                exclusive: false,
            }],
        };
        let opened = self
            .directory()
            .open(context::current(), registration, None)
            .await?;
        Ok(opened.session)
    }

    /// The name of the instance in the place of a worker's.
    fn worker(&self) -> String {
        format!("python:{}@{}", self.uri.object, self.uri.endpoint)
    }

    /// Pings the daemon and renews the lease, until it has been gone for long.
    async fn keep(&self, session: SessionId) {
        let mut session = Some(session);
        let mut connection = None;
        let mut last_answer = Instant::now();
        while last_answer.elapsed() < FORGET_AFTER {
            let answer = timeout(PING_INTERVAL, self.ping(&mut connection)).await;
            match answer {
                Ok(Ok(())) => {
                    last_answer = Instant::now();
                    session = self.renewed(session).await;
                }
                Ok(Err(error)) => {
                    connection = None;
                    // Nothing listens there, or there is no such object: it is gone for certain.
                    if is_gone(&error)
                        && let Some(ended) = session.take()
                    {
                        let name = &self.key.0;
                        tracing::info!(name, %error, "an instance of a Python program is gone");
                        // A session that has ended by itself is as good.
                        let _ = self.directory().close(context::current(), ended).await;
                    }
                }
                // It is silent: its lease runs out.
                Err(_) => connection = None,
            }
            sleep(PING_INTERVAL).await;
        }
    }

    async fn ping(&self, connection: &mut Option<PyroConnection>) -> Result<(), PyroClientError> {
        if let Some(open) = connection
            && open.ping().await.is_ok()
        {
            return Ok(());
        }
        let mut fresh = self.connect().await?;
        fresh.ping().await?;
        *connection = Some(fresh);
        Ok(())
    }

    /// Connects over TLS if the daemon speaks it. A ping has nothing to hide.
    async fn connect(&self) -> Result<PyroConnection, PyroClientError> {
        if let Some(tls) = &self.instances.0.tls
            && let Ok(encrypted) = PyroConnection::connect(&self.uri, Some(tls)).await
        {
            return Ok(encrypted);
        }
        PyroConnection::connect(&self.uri, None).await
    }

    /// The session with a new term, or another session if that one has ended.
    async fn renewed(&self, session: Option<SessionId>) -> Option<SessionId> {
        let load = Load {
            capacity: 1,
            ..Load::default()
        };
        if let Some(session) = session
            && self
                .directory()
                .renew(context::current(), session, load)
                .await
                .is_ok()
        {
            return Some(session);
        }
        let opened = self.open().await;
        if let Err(error) = &opened {
            tracing::debug!(%error, "an instance of a Python program is not listed");
        }
        opened.ok()
    }

    /// Takes the instance from the list.
    async fn close(&self) {
        // Opening again finds the session, whichever that is.
        if let Ok(session) = self.open().await {
            let _ = self.directory().close(context::current(), session).await;
        }
    }
}

/// Whether an error says that the object is not there, rather than that its daemon is busy.
fn is_gone(error: &PyroClientError) -> bool {
    match error {
        PyroClientError::Unreachable { error, .. } => {
            error.kind() == std::io::ErrorKind::ConnectionRefused
        }
        PyroClientError::Refused { reason, .. } => reason == "unknown object",
        _ => false,
    }
}
