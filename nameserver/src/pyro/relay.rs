//! Calls of objects for Pyro's clients, who reach them at the name server's own address: each call is balanced, and
//! goes elsewhere when an instance is gone, as those of this broker's own clients.

mod objects;

use crate::{access::LocalCallers, directory::DirectoryService};
use futures::future::BoxFuture;
use objects::{DEADLINE, RelayClient, RelayedObject};
use pyroxene_pyro::{
    exception::PyException,
    naming::Relay,
    server::{CallError, Members, PyroAnswer, PyroCall, PyroCaller},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The most callers whose clients are kept.
const MAX_CLIENTS: usize = 1024;

/// How long the client of a caller is kept without a call.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// How long a call waits for an instance if the directory has none.
const INSTANCE_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls the objects of a directory.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryRelay(Arc<RelayInner>);

#[derive(Debug)]
struct RelayInner {
    directory: DirectoryService,
    /// Makes the clients, once the name server listens.
    callers: OnceLock<Arc<LocalCallers>>,
    /// The clients by the names of their users.
    clients: Mutex<HashMap<String, Arc<RelayClient>>>,
}

fn unknown() -> PyException {
    PyException::pyro("DaemonError", "unknown object")
}

impl DirectoryRelay {
    pub(super) fn new(directory: DirectoryService) -> Self {
        Self(Arc::new(RelayInner {
            directory,
            callers: OnceLock::new(),
            clients: Mutex::default(),
        }))
    }

    /// Lets it make its calls by clients of these callers.
    pub(crate) fn call_by(&self, callers: Arc<LocalCallers>) {
        // A name server listens once in its life.
        let _ = self.0.callers.set(callers);
    }
}

impl Relay for DirectoryRelay {
    fn find(
        &self,
        name: String,
        caller: Arc<PyroCaller>,
    ) -> BoxFuture<'static, Result<Option<Arc<Members>>, PyException>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let object = inner.object(&name, &caller).await?;
            Ok(object.map(|object| Arc::clone(object.members())))
        })
    }

    fn call(&self, call: PyroCall) -> BoxFuture<'static, Result<PyroAnswer, CallError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let object = inner.object(&call.object, &call.caller).await?;
            let object = object.ok_or_else(unknown)?;
            if object.knows_no_instance() {
                inner.wait_for_instance(&call.object).await?;
            }
            Ok(object.call(call).await?)
        })
    }
}

impl RelayInner {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<RelayClient>>> {
        // Plain data: valid even if a holder of the lock panicked.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client with the rights of a caller.
    fn client(&self, caller: &PyroCaller) -> Result<Arc<RelayClient>, PyException> {
        let callers = self.callers.get().ok_or_else(unknown)?;
        let name = caller.identity.as_ref().map(|identity| &*identity.name);
        let name = name.unwrap_or_default();
        let mut clients = self.lock();
        if let Some(client) = clients.get(name)
            && client.identity() == caller.identity.as_deref()
        {
            client.used();
            return Ok(Arc::clone(client));
        }
        let now = Instant::now();
        if clients.len() >= MAX_CLIENTS {
            clients.retain(|_, client| now < client.last_used() + IDLE);
        }
        if clients.len() >= MAX_CLIENTS {
            let oldest = clients.iter().min_by_key(|(_, client)| client.last_used());
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                clients.remove(&oldest);
            }
        }
        let config = callers.config_for(caller.to_caller()).name("pyro");
        let client = Arc::new(RelayClient::new(config, caller.identity.clone()));
        clients.insert(name.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// The object of a name; `None` if there is none.
    async fn object(
        &self,
        name: &str,
        caller: &PyroCaller,
    ) -> Result<Option<Arc<RelayedObject>>, PyException> {
        if caller.is_of_broker {
            return Ok(None);
        }
        let client = self.client(caller)?;
        if let Some(known) = client.known(name) {
            return Ok(Some(known));
        }
        // A client follows every name that it was ever asked for, so it is asked for names that exist alone.
        if self.directory.instances(name).is_empty() {
            return Ok(client.stale(name));
        }
        client.found(name).await.map(Some)
    }

    /// Waits until the directory has an instance of a name.
    async fn wait_for_instance(&self, name: &str) -> Result<(), PyException> {
        const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
        let until = Instant::now() + INSTANCE_TIMEOUT;
        while self.directory.instances(name).is_empty() {
            if Instant::now() > until {
                let text = format!("no instance of {name} has been there for {INSTANCE_TIMEOUT:?}");
                return Err(PyException::pyro("CommunicationError", text));
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }
}

/// The context of a call of Pyro's clients, who have no deadlines.
fn context() -> tarpc::context::Context {
    let mut context = tarpc::context::current();
    context.deadline = (Instant::now() + DEADLINE).into_std();
    context
}
