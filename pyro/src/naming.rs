//! The object `Pyro.NameServer`: Pyro's names over the directory of a name server.

mod arguments;
mod broadcast;

pub use broadcast::{BROADCAST_PORT, answer_broadcasts};

use crate::{
    PyValue,
    exception::PyException,
    server::{CallError, Members, PyroAnswer, PyroCall, PyroObjects},
    uri::{self, PyroUri},
};
use arguments::Arguments;
use futures::{FutureExt, future::BoxFuture};
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

const METHODS: [&str; 8] = [
    "lookup",
    "register",
    "set_metadata",
    "remove",
    "list",
    "yplookup",
    "count",
    "ping",
];

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

/// The object.
#[derive(Clone, Debug)]
pub struct PyroNameServer(Arc<NameServerInner>);

#[derive(Debug)]
struct NameServerInner {
    names: Arc<dyn Names>,
    members: Arc<Members>,
    /// The name server's address, once it listens.
    own: OnceLock<PyroUri>,
    /// Takes turns among the instances of a name.
    turn: AtomicUsize,
}

impl PyroNameServer {
    /// The object over a directory.
    pub fn new(names: Arc<dyn Names>) -> Self {
        Self(Arc::new(NameServerInner {
            names,
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

    fn call(&self, call: PyroCall) -> BoxFuture<'static, Result<PyroAnswer, CallError>> {
        let inner = Arc::clone(&self.0);
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
    async fn call(&self, call: PyroCall) -> Result<PyValue, PyException> {
        let method = call.method.clone();
        let mut given = Arguments::of(call);
        match &*method {
            "lookup" => {
                let name = given.required("name")?;
                let with_tags = given.is_true("return_metadata", false);
                given.end()?;
                self.lookup(&name, with_tags).await
            }
            "register" => {
                let (name, uri) = (given.required("name")?, given.required("uri")?);
                let safe = given.is_true("safe", false);
                let tags = given.optional("metadata");
                given.end()?;
                self.register(name, &uri, safe, tags).await
            }
            "set_metadata" => {
                let (name, tags) = (given.required("name")?, given.required("metadata")?);
                given.end()?;
                self.set_metadata(&name, tags).await
            }
            "remove" => {
                let name = given.optional("name");
                let filter = given.filter()?;
                given.end()?;
                self.remove(name, filter).await
            }
            "list" => {
                let filter = given.filter()?;
                let with_tags = given.is_true("return_metadata", false);
                given.end()?;
                if filter.prefix.is_some() && filter.regex.is_some() {
                    let text = "you can only filter on one thing at a time";
                    return Err(PyException::builtin("ValueError", text));
                }
                let entries = self
                    .entries(filter.prefix.as_deref(), filter.regex.as_ref())
                    .await?;
                Ok(self.shown(&entries, with_tags))
            }
            "yplookup" => {
                let (all, any) = (given.optional("meta_all"), given.optional("meta_any"));
                let with_tags = given.is_true("return_metadata", true);
                given.end()?;
                self.yplookup(all, any, with_tags).await
            }
            "count" => {
                given.end()?;
                let count = self.entries(None, None).await?.len();
                Ok(PyValue::Int(i64::try_from(count).unwrap_or(i64::MAX)))
            }
            _ => {
                given.end()?;
                Ok(PyValue::None)
            }
        }
    }

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

    /// A dictionary of names with their addresses, and their tags if they are wanted.
    fn shown(&self, entries: &[NameEntry], with_tags: bool) -> PyValue {
        let shown = entries.iter().filter_map(|entry| {
            let uri = PyValue::str(&self.next(entry)?.uri);
            let value = match with_tags {
                true => PyValue::Tuple(vec![uri, tags_value(entry)]),
                false => uri,
            };
            Some((PyValue::str(&entry.name), value))
        });
        PyValue::Dict(shown.collect())
    }

    async fn lookup(&self, name: &PyValue, with_tags: bool) -> Result<PyValue, PyException> {
        let Some(name) = name.as_str() else {
            let kind = name.type_name();
            return Err(type_error(format!(
                "can only concatenate str (not \"{kind}\") to str"
            )));
        };
        let entry = self.find(name).await?;
        let next = self.next(&entry).ok_or_else(|| unknown(name))?;
        let uri = uri::value_of(&next.uri);
        Ok(match with_tags {
            true => PyValue::Tuple(vec![uri, tags_value(&entry)]),
            false => uri,
        })
    }

    async fn register(
        &self,
        name: PyValue,
        uri: &PyValue,
        safe: bool,
        tags: Option<PyValue>,
    ) -> Result<PyValue, PyException> {
        let PyValue::Str(name) = name else {
            return Err(type_error("name must be a str"));
        };
        let uri = PyroUri::text_of(uri)
            .ok_or_else(|| type_error("only URIs or strings can be registered"))?;
        let uri = uri::checked(&uri)
            .map_err(|error| PyException::pyro("PyroError", error.to_string()))?;
        let tags = tags.map(|tags| tag_list("metadata", tags)).transpose()?;
        let taken = || naming_error(format!("name already registered: {name}"));
        if name == OBJECT {
            // It keeps its address, whatever a program that was its own name server says.
            return if safe {
                Err(taken())
            } else {
                Ok(PyValue::None)
            };
        }
        if safe && self.names.find(name.clone()).await?.is_some() {
            return Err(taken());
        }
        let tags = tags.unwrap_or_default();
        self.names.register(name, uri, tags).await?;
        Ok(PyValue::None)
    }

    async fn set_metadata(&self, name: &PyValue, tags: PyValue) -> Result<PyValue, PyException> {
        let Some(name) = name.as_str() else {
            return Err(type_error("name must be a str"));
        };
        let tags = tag_list("metadata", tags)?;
        let entry = self.find(name).await?;
        if !entry.is_registered {
            let text =
                format!("the name {name} is not a registered one: its server gives the metadata");
            return Err(naming_error(text));
        }
        self.names.set_tags(name.to_owned(), tags).await?;
        Ok(PyValue::None)
    }

    async fn remove(
        &self,
        name: Option<PyValue>,
        filter: arguments::NameFilter,
    ) -> Result<PyValue, PyException> {
        let names = match (name, filter.prefix, filter.regex) {
            (Some(PyValue::Str(name)), ..) if !name.is_empty() => vec![name],
            (_, Some(prefix), _) => self.registered(Some(&prefix), None).await?,
            (_, None, Some(regex)) => self.registered(None, Some(&regex)).await?,
            _ => Vec::new(),
        };
        let mut removed = 0;
        for name in names {
            if name != OBJECT && self.names.remove(name).await? {
                removed += 1;
            }
        }
        Ok(PyValue::Int(removed))
    }

    async fn registered(
        &self,
        prefix: Option<&str>,
        regex: Option<&Regex>,
    ) -> Result<Vec<String>, PyException> {
        let entries = self.entries(prefix, regex).await?;
        let registered = entries.into_iter().filter(|entry| entry.is_registered);
        Ok(registered.map(|entry| entry.name).collect())
    }

    async fn yplookup(
        &self,
        all: Option<PyValue>,
        any: Option<PyValue>,
        with_tags: bool,
    ) -> Result<PyValue, PyException> {
        let is_given = |tags: &Option<PyValue>| tags.as_ref().is_some_and(PyValue::is_true);
        if is_given(&all) && is_given(&any) {
            let text = "you can't use meta_all or meta_any at the same time";
            return Err(PyException::builtin("ValueError", text));
        }
        let (wanted, needs_all) = match (all, any) {
            (Some(all), _) if all.is_true() => (tag_list("metadata_all", all)?, true),
            (_, Some(any)) if any.is_true() => (tag_list("metadata_any", any)?, false),
            _ => return Ok(PyValue::Dict(Vec::new())),
        };
        let mut entries = self.entries(None, None).await?;
        for entry in &mut entries {
            entry.instances.retain(|instance| {
                let mut wanted = wanted.iter();
                match needs_all {
                    true => wanted.all(|tag| instance.tags.contains(tag)),
                    false => wanted.any(|tag| instance.tags.contains(tag)),
                }
            });
        }
        entries.retain(|entry| !entry.instances.is_empty());
        Ok(self.shown(&entries, with_tags))
    }
}

/// The tags of all instances of a name.
fn tags_value(entry: &NameEntry) -> PyValue {
    let tags = entry.instances.iter().flat_map(|instance| &instance.tags);
    let tags: BTreeSet<&String> = tags.collect();
    PyValue::Set(tags.into_iter().map(PyValue::str).collect())
}

/// Tags as an argument: any iterable of texts but a text.
fn tag_list(what: &str, tags: PyValue) -> Result<Vec<String>, PyException> {
    if let PyValue::Str(_) = tags {
        let text = format!("{what} should not be a str, but another iterable (set, list, etc)");
        return Err(type_error(text));
    }
    let items = match tags {
        PyValue::None => Vec::new(),
        PyValue::Dict(entries) => entries.into_iter().map(|(key, _)| key).collect(),
        other => other.into_sequence().map_err(|other| {
            type_error(format!("'{}' object is not iterable", other.type_name()))
        })?,
    };
    let mut seen = BTreeSet::new();
    for item in items {
        match item {
            PyValue::Str(tag) => drop(seen.insert(tag)),
            other => {
                return Err(type_error(format!(
                    "metadata are texts, not {}",
                    other.type_name()
                )));
            }
        }
    }
    Ok(seen.into_iter().collect())
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
