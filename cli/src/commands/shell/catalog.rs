//! The names that there are now, for completion: asked for when they are wanted, and kept a moment.

use super::complete::Vocabulary;
use crate::{
    commands::chat,
    nameservers::{list, workers},
};
use pyroxene_client::Client;
use pyroxene_common::{interface::MethodDescription, interfaces::directory::Filter};
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

/// How long somebody who wants a word completed waits at most.
const PATIENCE: Duration = Duration::from_millis(800);

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(3);

/// As many files are offered as anybody would look through.
const MAX_FILES: usize = 1000;

/// The ids of the tasks that were submitted here.
pub(super) type TaskIds = Arc<Mutex<Vec<String>>>;

/// The names that a broker knows. It is asked from the thread of the editor alone, which may wait.
pub(super) struct Catalog {
    client: Client,
    runtime: Handle,
    tasks: TaskIds,
    objects: Mutex<Kept<Vec<String>>>,
    workers: Mutex<Kept<Vec<String>>>,
    members: Mutex<Kept<Vec<String>>>,
    methods: Mutex<HashMap<String, Kept<Vec<MethodDescription>>>>,
}

/// An answer, and since when it is known.
#[derive(Clone)]
struct Kept<T> {
    known: T,
    since: Option<Instant>,
}

impl<T: Default> Default for Kept<T> {
    fn default() -> Self {
        Self {
            known: T::default(),
            since: None,
        }
    }
}

impl<T: Clone> Kept<T> {
    /// What is known, or what `ask` learns if that is too old. Without an answer the old one stays.
    fn get(&mut self, ask: impl FnOnce() -> Option<T>) -> T {
        if self.since.is_none_or(|since| since.elapsed() > FRESH) {
            if let Some(known) = ask() {
                self.known = known;
            }
            // Nor is one who does not answer asked at every key.
            self.since = Some(Instant::now());
        }
        self.known.clone()
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
            .block_on(async { timeout(PATIENCE, question).await });
        answer.ok().and_then(Result::ok)
    }
}

fn locked<T: Clone>(kept: &Mutex<Kept<T>>, ask: impl FnOnce() -> Option<T>) -> T {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.get(ask)
}

impl Vocabulary for Catalog {
    fn objects(&self) -> Vec<String> {
        locked(&self.objects, || {
            let objects = self.ask(list(&self.client, &Filter::default()))?;
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
        locked(&self.workers, || {
            let workers = self.ask(workers(&self.client))?;
            Some(workers.into_iter().map(|worker| worker.name).collect())
        })
    }

    fn members(&self) -> Vec<String> {
        locked(&self.members, || {
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
