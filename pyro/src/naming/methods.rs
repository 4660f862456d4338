//! The methods of the name server.

use super::{
    NameServerInner, NamedInstance, OBJECT,
    arguments::{Arguments, NameFilter},
    naming_error, tags_value, type_error, unknown,
};
use crate::{
    PyValue,
    exception::PyException,
    server::PyroCall,
    tags::BALANCED_TAG,
    uri::{self, PyroUri},
};
use regex::Regex;
use std::collections::BTreeSet;

pub(super) const METHODS: [&str; 8] = [
    "lookup",
    "register",
    "set_metadata",
    "remove",
    "list",
    "yplookup",
    "count",
    "ping",
];

impl NameServerInner {
    pub(super) async fn call(&self, call: PyroCall) -> Result<PyValue, PyException> {
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
                Ok(self.shown(&entries, with_tags, false))
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

    async fn lookup(&self, name: &PyValue, with_tags: bool) -> Result<PyValue, PyException> {
        let Some(name) = name.as_str() else {
            let kind = name.type_name();
            return Err(type_error(format!(
                "can only concatenate str (not \"{kind}\") to str"
            )));
        };
        let entry = self.find(name).await?;
        let address = self.address(&entry, false);
        let uri = uri::value_of(&address.ok_or_else(|| unknown(name))?);
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
        filter: NameFilter,
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
        // Whoever asks for this tag asks for a name, or for other tags, by way of the name server.
        let wants_balanced = needs_all && wanted.iter().any(|tag| tag == BALANCED_TAG);
        for entry in &mut entries {
            let name = &entry.name;
            let has = |instance: &NamedInstance, tag: &String| {
                instance.tags.contains(tag)
                    || (wants_balanced && wanted.len() > 1 && (tag == name || tag == BALANCED_TAG))
            };
            entry.instances.retain(|instance| {
                let mut wanted = wanted.iter();
                match needs_all {
                    true => wanted.all(|tag| has(instance, tag)),
                    false => wanted.any(|tag| has(instance, tag)),
                }
            });
        }
        entries.retain(|entry| !entry.instances.is_empty());
        Ok(self.shown(&entries, with_tags, wants_balanced))
    }
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
