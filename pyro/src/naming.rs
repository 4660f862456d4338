//! The object `Pyro.NameServer`: Pyro's names over the directory of a name server.

mod arguments;
mod broadcast;
mod methods;

pub use broadcast::{BROADCAST_PORT, answer_broadcasts};

use crate::{
    PyValue,
    exception::PyException,
    server::{CallError, Members, PyroAnswer, PyroCall, PyroCaller, PyroObjects},
    tags::BALANCED_TAG,
    uri::PyroUri,
};
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use methods::METHODS;
use pyroxene_common::{endpoint::Endpoint, scope::Scope};
use regex::{Regex, RegexBuilder};
use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The id and the name of the object.
pub const OBJECT: &str = "Pyro.NameServer";

/// The tag of the name server itself, by which Pyro's programs find it.
const OWN_TAG: &str = "class:Pyro5.nameserver.NameServer";

/// The memory of a compiled regular expression, in bytes.
const REGEX_SIZE: usize = 1 << 20;

/// One instance of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedInstance {
    /// Its address, of any of Pyro's kinds.
    pub uri: String,
    /// Its tags, which are Pyro's metadata.
    pub tags: Vec<String>,
    /// Whether it takes calls now.
    pub is_live: bool,
    /// How many calls run and wait there.
    pub load: u32,
}

/// A name with its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameEntry {
    /// The name.
    pub name: String,
    /// Its instances; at least one.
    pub instances: Vec<NamedInstance>,
    /// Whether it was registered, and can be removed: what a worker hosts goes with the worker.
    pub is_registered: bool,
}

/// A directory of names. The caller is that of the current [`Scope`].
pub trait Names: fmt::Debug + Send + Sync + 'static {
    /// The entry of a name, if there is one.
    fn find(&self, name: String) -> BoxFuture<'_, Result<Option<NameEntry>, PyException>>;

    /// All entries, or those that begin with a prefix, by name.
    fn all(&self, prefix: String) -> BoxFuture<'_, Result<Vec<NameEntry>, PyException>>;

    /// Registers a name, in the place of what was registered by it before.
    fn register(
        &self,
        name: String,
        uri: String,
        tags: Vec<String>,
    ) -> BoxFuture<'_, Result<(), PyException>>;

    /// Replaces the tags of a registered name.
    fn set_tags(&self, name: String, tags: Vec<String>) -> BoxFuture<'_, Result<(), PyException>>;

    /// Removes a registered name. Whether it was there.
    fn remove(&self, name: String) -> BoxFuture<'_, Result<bool, PyException>>;
}

/// Objects that the name server calls for its clients, at its own address: each call is balanced by itself.
pub trait Relay: fmt::Debug + Send + Sync + 'static {
    /// The members of an object, if there is one of this name. The error says why the caller may not use it.
    fn find(
        &self,
        name: String,
        caller: Arc<PyroCaller>,
    ) -> BoxFuture<'static, Result<Option<Arc<Members>>, PyException>>;

    /// Calls a method of an object.
    fn call(&self, call: PyroCall) -> BoxFuture<'static, Result<PyroAnswer, CallError>>;
}

/// The object.
#[derive(Clone, Debug)]
pub struct PyroNameServer(Arc<NameServerInner>);

#[derive(Debug)]
struct NameServerInner {
    names: Arc<dyn Names>,
    relay: Option<Arc<dyn Relay>>,
    /// Whether every object that has a relay is given out by it.
    relays_all: bool,
    members: Arc<Members>,
    /// The name server's address, once it listens.
    own: OnceLock<PyroUri>,
    /// Takes turns among the instances of a name.
    turn: AtomicUsize,
}

impl PyroNameServer {
    /// The object over a directory.
    pub fn new(names: Arc<dyn Names>) -> Self {
        Self::made(names, None, false)
    }

    /// The same, which also calls objects for its clients. All are given out so, or those with the tag
    /// [`BALANCED_TAG`] alone.
    pub fn with_relay(names: Arc<dyn Names>, relay: Arc<dyn Relay>, relays_all: bool) -> Self {
        Self::made(names, Some(relay), relays_all)
    }

    fn made(names: Arc<dyn Names>, relay: Option<Arc<dyn Relay>>, relays_all: bool) -> Self {
        Self(Arc::new(NameServerInner {
            names,
            relay,
            relays_all,
            members: Arc::new(Members {
                methods: METHODS.map(str::to_owned).to_vec(),
                ..Members::default()
            }),
            own: OnceLock::new(),
            turn: AtomicUsize::new(0),
        }))
    }

    /// Sets the address by which clients reach the name server.
    pub fn listens_at(&self, endpoint: Endpoint) {
        // A name server listens once in its life.
        let _ = self.0.own.set(PyroUri {
            object: OBJECT.to_owned(),
            endpoint,
        });
    }

    /// Its address, once it listens.
    pub fn uri(&self) -> Option<&PyroUri> {
        self.0.own.get()
    }
}

impl PyroObjects for PyroNameServer {
    fn ids(&self) -> Vec<String> {
        vec![OBJECT.to_owned()]
    }

    fn members(&self, object: &str) -> Option<Arc<Members>> {
        (object == OBJECT).then(|| Arc::clone(&self.0.members))
    }

    fn find(
        &self,
        object: &str,
        caller: &Arc<PyroCaller>,
    ) -> BoxFuture<'static, Result<Option<Arc<Members>>, PyException>> {
        match &self.0.relay {
            Some(relay) if object != OBJECT => relay.find(object.to_owned(), Arc::clone(caller)),
            _ => ready(Ok(None)).boxed(),
        }
    }

    fn call(&self, call: PyroCall) -> BoxFuture<'static, Result<PyroAnswer, CallError>> {
        let inner = Arc::clone(&self.0);
        if call.object != OBJECT
            && let Some(relay) = &inner.relay
        {
            return relay.call(call);
        }
        let scope = Scope {
            caller: Arc::new(call.caller.to_caller()),
            ..Scope::default()
        };
        let calling = async move {
            let answered = inner.call(call).await;
            answered.map(PyroAnswer::from).map_err(CallError::from)
        };
        scope.wrap(calling.boxed()).boxed()
    }
}

fn naming_error(text: impl Into<String>) -> PyException {
    PyException::pyro("NamingError", text)
}

fn type_error(text: impl Into<String>) -> PyException {
    PyException::builtin("TypeError", text)
}

fn unknown(name: &str) -> PyException {
    naming_error(format!("unknown name: {name}"))
}

impl NameServerInner {
    /// The name server's own entry.
    fn own_entry(&self) -> Option<NameEntry> {
        self.own.get().map(|uri| NameEntry {
            name: OBJECT.to_owned(),
            instances: vec![NamedInstance {
                uri: uri.to_string(),
                tags: vec![OWN_TAG.to_owned()],
                is_live: true,
                load: 0,
            }],
            is_registered: false,
        })
    }

    /// The entries that match, by name.
    async fn entries(
        &self,
        prefix: Option<&str>,
        regex: Option<&Regex>,
    ) -> Result<Vec<NameEntry>, PyException> {
        let prefix = prefix.unwrap_or_default();
        let mut entries = self.names.all(prefix.to_owned()).await?;
        entries.extend(self.own_entry().filter(|own| own.name.starts_with(prefix)));
        if let Some(regex) = regex {
            entries.retain(|entry| regex.is_match(&entry.name));
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    async fn find(&self, name: &str) -> Result<NameEntry, PyException> {
        let found = match name {
            OBJECT => self.own_entry(),
            _ => self.names.find(name.to_owned()).await?,
        };
        found.ok_or_else(|| unknown(name))
    }

    /// The instance for the next client: of those that are live and not much busier than the idlest one, each
    /// in turn.
    fn next<'a>(&self, entry: &'a NameEntry) -> Option<&'a NamedInstance> {
        let live: Vec<_> = entry
            .instances
            .iter()
            .filter(|instance| instance.is_live)
            .collect();
        let idlest = live.iter().map(|instance| instance.load).min().unwrap_or(0);
        let limit = idlest.saturating_mul(2).saturating_add(4);
        let mut free: Vec<_> = live
            .into_iter()
            .filter(|instance| instance.load <= limit)
            .collect();
        if free.is_empty() {
            // Pyro keeps a name whatever becomes of its server, and its clients find out.
            free = entry.instances.iter().collect();
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let place = turn.checked_rem(free.len())?;
        free.get(place).copied()
    }

    /// The address for the next client: that of an instance, or the name server's own one, where each call is
    /// balanced by itself.
    fn address(&self, entry: &NameEntry, wants_balanced: bool) -> Option<String> {
        let next = self.next(entry)?;
        if self.relay.is_some()
            && entry.name != OBJECT
            && (wants_balanced || self.relays_all || has_tag(entry, BALANCED_TAG))
            // An address that has to be looked up again leads to another name.
            && PyroUri::parse(&next.uri).is_ok()
            && let Some(own) = self.own.get()
            && let Ok(uri) = PyroUri::parse(&format!("PYRO:{}@h:1", entry.name))
        {
            let endpoint = own.endpoint.clone();
            return Some(PyroUri { endpoint, ..uri }.to_string());
        }
        Some(next.uri.clone())
    }

    /// A dictionary of names with their addresses, and their tags if they are wanted.
    fn shown(&self, entries: &[NameEntry], with_tags: bool, wants_balanced: bool) -> PyValue {
        let shown = entries.iter().filter_map(|entry| {
            let uri = PyValue::Str(self.address(entry, wants_balanced)?);
            let value = match with_tags {
                true => PyValue::Tuple(vec![uri, tags_value(entry)]),
                false => uri,
            };
            Some((PyValue::str(&entry.name), value))
        });
        PyValue::Dict(shown.collect())
    }
}

fn has_tag(entry: &NameEntry, tag: &str) -> bool {
    let mut instances = entry.instances.iter();
    instances.any(|instance| instance.tags.iter().any(|known| known == tag))
}

/// The tags of all instances of a name.
fn tags_value(entry: &NameEntry) -> PyValue {
    let tags = entry.instances.iter().flat_map(|instance| &instance.tags);
    let tags: BTreeSet<&String> = tags.collect();
    PyValue::Set(tags.into_iter().map(PyValue::str).collect())
}

/// A regular expression as Python's `re.match` takes it: it begins where the name begins.
fn compile(pattern: &str) -> Result<Regex, PyException> {
    let anchored = RegexBuilder::new(&format!("^(?:{pattern})"))
        .size_limit(REGEX_SIZE)
        .build();
    anchored.map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        naming_error(format!("invalid regex: {reason}"))
    })
}

#[cfg(test)]
mod tests;
