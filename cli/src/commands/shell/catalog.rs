//! The current names for completion. They are requested when they are needed, and cached for a few seconds.

use super::complete::Vocabulary;
use crate::{
    commands::chat,
    nameservers::{list, workers},
};
use pyroxene_client::Client;
use pyroxene_common::{interface::MethodDescription, interfaces::directory::ObjectFilter};
use pyroxene_objects::interfaces::chat::Chat;
use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tarpc::context;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

/// The longest time that the user waits for a completion.
const COMPLETION_TIMEOUT: Duration = Duration::from_millis(800);

/// How long an answer is cached.
const CACHE_LIFETIME: Duration = Duration::from_secs(3);

/// The largest number of files that are offered.
const MAX_FILES: usize = 1000;

/// The ids of the tasks that were submitted in this shell.
pub(super) type TaskIds = Arc<Mutex<Vec<String>>>;

/// The names that the broker knows. It is only used by the editor's thread, which may block.
pub(super) struct Catalog {
    client: Client,
    runtime: Handle,
    tasks: TaskIds,
    objects: Mutex<CachedAnswer<Vec<String>>>,
    workers: Mutex<CachedAnswer<Vec<String>>>,
    members: Mutex<CachedAnswer<Vec<String>>>,
    methods: Mutex<HashMap<String, CachedAnswer<Vec<MethodDescription>>>>,
}

/// An answer, and the time at which it was requested.
#[derive(Clone)]
struct CachedAnswer<T> {
    value: T,
    asked_at: Option<Instant>,
}

impl<T: Default> Default for CachedAnswer<T> {
    fn default() -> Self {
        Self {
            value: T::default(),
            asked_at: None,
        }
    }
}

impl<T: Clone> CachedAnswer<T> {
    /// The cached answer, or the one of `ask` if the cached one is too old. If `ask` fails, the old one
    /// stays.
    fn get(&mut self, ask: impl FnOnce() -> Option<T>) -> T {
        if self
            .asked_at
            .is_none_or(|since| since.elapsed() > CACHE_LIFETIME)
        {
            if let Some(known) = ask() {
                self.value = known;
            }
            // This also holds for a failure, so that a silent name server is not asked at every key.
            self.asked_at = Some(Instant::now());
        }
        self.value.clone()
    }
}

impl Catalog {
    pub(super) fn new(client: Client, tasks: TaskIds) -> Self {
        Self {
            client,
            runtime: Handle::current(),
            tasks,
            objects: Mutex::default(),
            workers: Mutex::default(),
            members: Mutex::default(),
            methods: Mutex::default(),
        }
    }

    fn ask<T, E>(&self, question: impl Future<Output = Result<T, E>>) -> Option<T> {
        let answer = self
            .runtime
            .block_on(async { timeout(COMPLETION_TIMEOUT, question).await });
        answer.ok().and_then(Result::ok)
    }
}

fn cached_or_asked<T: Clone>(kept: &Mutex<CachedAnswer<T>>, ask: impl FnOnce() -> Option<T>) -> T {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.get(ask)
}

impl Vocabulary for Catalog {
    fn objects(&self) -> Vec<String> {
        cached_or_asked(&self.objects, || {
            let objects = self.ask(list(&self.client, &ObjectFilter::default()))?;
            Some(objects.into_iter().map(|object| object.name).collect())
        })
    }

    fn methods(&self, object: &str) -> Vec<MethodDescription> {
        let mut methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = methods.entry(object.to_owned()).or_default();
        kept.get(|| {
            let described = self.ask(self.client.dynamic(object, context::current()))?;
            Some(described.description().methods.clone())
        })
    }

    fn workers(&self) -> Vec<String> {
        cached_or_asked(&self.workers, || {
            let workers = self.ask(workers(&self.client))?;
            Some(workers.into_iter().map(|worker| worker.name).collect())
        })
    }

    fn members(&self) -> Vec<String> {
        cached_or_asked(&self.members, || {
            let chat = self.client.weak_object::<Chat>(chat::OBJECT);
            self.ask(chat.members(context::current()))?.ok()
        })
    }

    fn tasks(&self) -> Vec<String> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.clone()
    }

    fn files(&self, beginning: &str) -> Vec<String> {
        let directory = match beginning.rsplit_once('/') {
            Some((directory, _)) => format!("{directory}/"),
            None => String::new(),
        };
        let place = if directory.is_empty() {
            "."
        } else {
            &directory
        };
        let Ok(entries) = fs::read_dir(place) else {
            return Vec::new();
        };
        let path = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let slash = if entry.path().is_dir() { "/" } else { "" };
            Some(format!("{directory}{name}{slash}"))
        };
        let paths = entries.filter_map(|entry| path(entry.ok()?));
        paths
            .filter(|path| path.starts_with(beginning))
            .take(MAX_FILES)
            .collect()
    }
}
