//! Pyro's names over the directory: what Python's programs register and what workers host are one list.

mod instances;
mod relay;

use crate::directory::{DirectoryService, check_may_host, may_call};
use futures::future::BoxFuture;
use instances::PythonInstances;
use pyroxene_common::{
    endpoint::Endpoint,
    identity::Identity,
    interfaces::directory::{
        DirectoryError, Instance, InstanceState, ObjectFilter, directory::Directory,
    },
    scope::{self, Scope},
    tls::TlsClient,
};
use pyroxene_pyro::{
    exception::PyException,
    naming::{NameEntry, NamedInstance, Names, PyroNameServer},
    tags::INSTANCE_TAG,
    uri::{PyroUri, SCHEME},
};
pub(crate) use relay::DirectoryRelay;
use std::sync::Arc;
use tarpc::context;
use tokio_util::sync::CancellationToken;

/// The object `Pyro.NameServer` over a directory. Its background tasks end with `stop`. They speak TLS to Python's
/// programs that do, with `tls`. `relays_all` gives out every object by way of the relay.
pub(crate) fn name_server(
    directory: DirectoryService,
    tls: Option<TlsClient>,
    stop: CancellationToken,
    relays_all: bool,
) -> (PyroNameServer, DirectoryRelay) {
    let relay = DirectoryRelay::new(directory.clone());
    let instances = PythonInstances::new(directory.clone(), tls, stop);
    let names = Arc::new(DirectoryNames {
        directory,
        instances,
    });
    let object = PyroNameServer::with_relay(names, Arc::new(relay.clone()), relays_all);
    (object, relay)
}

#[derive(Debug)]
struct DirectoryNames {
    directory: DirectoryService,
    /// The instances of Python's programs that come and go with their daemons.
    instances: PythonInstances,
}

fn refused(error: DirectoryError) -> PyException {
    let class = match error {
        DirectoryError::Denied { .. } => "SecurityError",
        _ => "NamingError",
    };
    PyException::pyro(class, error.to_string())
}

/// Refuses a caller that may not use this method of the directory, or not host this name.
fn check_right(method: &str, name: &str) -> Result<(), PyException> {
    let caller = scope::current().caller;
    let Some(identity) = caller.identity.as_deref() else {
        return Ok(());
    };
    if !may_call(identity.role, method) {
        let Identity { name, role, .. } = identity;
        let sentence = format!("'{name}' ({role}) may not call directory.{method}");
        return Err(refused(DirectoryError::Denied { sentence }));
    }
    check_may_host(Some(identity), [name]).map_err(refused)
}

/// The endpoint of a name that leads to another name: Pyro's clients look further, and nobody else can.
const ANOTHER_NAME: &str = "unix:/dev/null";

/// The address of an instance for Pyro's clients.
fn uri_of(instance: &Instance) -> Option<String> {
    if instance.endpoint == ANOTHER_NAME {
        return Some(instance.target.clone());
    }
    let endpoint: Endpoint = instance.endpoint.parse().ok()?;
    let target = instance.target.strip_prefix(SCHEME);
    let object = target.or_else(|| instance.interface.strip_prefix(SCHEME));
    let uri = PyroUri {
        object: object.unwrap_or(&instance.target).to_owned(),
        endpoint,
    };
    Some(uri.to_string())
}

/// The entry of a name with these instances; `None` if Pyro's clients can reach none of them.
fn entry(name: String, instances: &[Instance]) -> Option<NameEntry> {
    let is_python = |instance: &Instance| instance.interface.starts_with(SCHEME);
    let named: Vec<NamedInstance> = instances
        .iter()
        .filter_map(|instance| {
            Some(NamedInstance {
                uri: uri_of(instance)?,
                tags: instance.tags.clone(),
                is_live: instance.state == InstanceState::Ready,
                load: instance.load.in_flight.saturating_add(instance.load.queue),
            })
        })
        .collect();
    (!named.is_empty()).then(|| NameEntry {
        is_registered: instances
            .iter()
            .any(|instance| instance.worker.is_empty() || is_python(instance)),
        name,
        instances: named,
    })
}

/// The text of a static name that leads to a Pyro object, or to another name.
fn static_uri(uri: &str) -> String {
    match PyroUri::parse(uri) {
        Ok(uri) => format!("{SCHEME}{}@{}", uri.object, uri.endpoint),
        Err(_) => format!("{uri}@{ANOTHER_NAME}"),
    }
}

impl Names for DirectoryNames {
    fn find(&self, name: String) -> BoxFuture<'_, Result<Option<NameEntry>, PyException>> {
        Box::pin(async move {
            let instances = self.directory.instances(&name);
            Ok(entry(name, &instances))
        })
    }

    fn all(&self, prefix: String) -> BoxFuture<'_, Result<Vec<NameEntry>, PyException>> {
        Box::pin(async move {
            let filter = ObjectFilter {
                prefix: Some(prefix),
                ..ObjectFilter::default()
            };
            let listing = self.directory.clone().list(context::current(), filter);
            let found = listing.await.map_err(refused)?;
            let entries = found.into_iter();
            Ok(entries
                .filter_map(|object| entry(object.name, &object.instances))
                .collect())
        })
    }

    fn register(
        &self,
        name: String,
        uri: String,
        tags: Vec<String>,
    ) -> BoxFuture<'_, Result<(), PyException>> {
        Box::pin(async move {
            check_right("register", &name)?;
            if tags.iter().any(|tag| tag == INSTANCE_TAG)
                && let Ok(uri) = PyroUri::parse(&uri)
            {
                self.directory
                    .check_pyro_target(&uri.endpoint)
                    .await
                    .map_err(refused)?;
                // The name server keeps the lease itself.
                let adding = self.instances.add(&name, uri, tags);
                let adding = Scope::default().wrap(Box::pin(adding));
                return adding.await.map_err(refused);
            }
            let directory = self.directory.clone();
            let uri = static_uri(&uri);
            let registering = directory.register(context::current(), name, uri, tags, false);
            registering.await.map_err(refused)
        })
    }

    fn set_tags(&self, name: String, tags: Vec<String>) -> BoxFuture<'_, Result<(), PyException>> {
        Box::pin(async move {
            check_right("register", &name)?;
            self.instances.set_tags(&name, &tags);
            let instances = self.directory.instances(&name);
            let fixed = instances.iter().find(|instance| instance.worker.is_empty());
            let Some(fixed) = fixed else {
                return Ok(());
            };
            let uri = format!("{}@{}", fixed.target, fixed.endpoint);
            let directory = self.directory.clone();
            let registering = directory.register(context::current(), name, uri, tags, false);
            registering.await.map_err(refused)
        })
    }

    fn remove(&self, name: String) -> BoxFuture<'_, Result<bool, PyException>> {
        Box::pin(async move {
            check_right("remove", &name)?;
            let had_instances = self.instances.remove(&name);
            let removing = self.directory.clone().remove(context::current(), name);
            match removing.await {
                Ok(()) => Ok(true),
                Err(DirectoryError::UnknownName { .. }) => Ok(had_instances),
                Err(error) => Err(refused(error)),
            }
        })
    }
}

#[cfg(test)]
mod tests;
