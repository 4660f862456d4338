//! Who was here: people, task clients and workers.
//!
//! What is seen is noted in memory, which costs a lock and a look-up; every few seconds the notes are written to the
//! store in one piece. Workers are seen in the directory: no heartbeat does anything for this.

mod notes;

use crate::directory::DirectoryService;
use notes::VisitorNotes;
use parking_lot::Mutex;
use pyroxene_common::{
    identity::{Identity, Role},
    interfaces::{
        directory::directory::Directory as _,
        visitors::{MAX_VISITORS, Visitor, VisitorKind, VisitorsError, visitors},
    },
    scope::Caller,
};
use pyroxene_store::{Store, StoreError, StoredVisitor, StoredVisitorKind};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tarpc::context::{self, Context};
use tokio::time::{sleep, timeout};

/// How often workers are looked at, and notes are written.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long the last write may take.
const LAST_WRITE: Duration = Duration::from_millis(500);

/// How long ago a visitor may have been seen that is still here.
const HERE: Duration = Duration::from_secs(60);

/// How long the store may take to say who was here.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// What the client library calls a program that has no name of its own begins so.
const UNNAMED: &str = "pid ";

/// Notes who was here. Clones share their notes.
#[derive(Clone, Debug, Default)]
pub(crate) struct VisitorLog(Arc<Mutex<VisitorNotes>>);

impl VisitorLog {
    /// Somebody was seen.
    pub(crate) fn saw(&self, kind: VisitorKind, name: &str, place: &str) {
        self.0.lock().saw(kind, name, place, now_ms());
    }

    /// Somebody has logged in. Workers are seen where they register.
    pub(crate) fn saw_login(&self, identity: &Identity, place: &str) {
        if identity.role != Role::Worker {
            self.saw(VisitorKind::Person, &identity.name, place);
        }
    }

    /// A caller has submitted tasks.
    pub(crate) fn saw_submitter(&self, caller: &Caller) {
        let host = caller.host();
        match &caller.identity {
            Some(identity) => self.saw(VisitorKind::TaskClient, &identity.name, host),
            None if caller.name.is_empty() || caller.name.starts_with(UNNAMED) => {
                self.saw(VisitorKind::TaskClient, &format!("unnamed at {host}"), host);
            }
            None => self.saw(VisitorKind::TaskClient, &caller.name, host),
        }
    }

    /// Follows the workers, and writes notes to the store if there is one, without end.
    pub(crate) async fn run(self, directory: DirectoryService, store: Option<Store>) {
        loop {
            self.see_workers(directory.clone()).await;
            if let Some(store) = &store
                && let Err(error) = self.write(store).await
            {
                tracing::debug!(%error, "cannot keep who was here");
            }
            sleep(INTERVAL).await;
        }
    }

    async fn see_workers(&self, directory: DirectoryService) {
        for worker in directory.workers(context::current()).await {
            self.saw(VisitorKind::Worker, &worker.name, &worker.endpoint);
        }
    }

    /// Writes what is new.
    async fn write(&self, store: &Store) -> Result<(), StoreError> {
        let news = self.0.lock().take_news();
        if news.is_empty() {
            return Ok(());
        }
        let rows = news.iter().map(stored).collect();
        let written = store.see_visitors(rows).await;
        if written.is_err() {
            self.0.lock().give_back(&news);
        }
        written
    }

    /// Writes what is new for the last time.
    pub(crate) async fn write_last(&self, store: &Store) {
        if !matches!(timeout(LAST_WRITE, self.write(store)).await, Ok(Ok(()))) {
            tracing::debug!("who was here last is not kept");
        }
    }
}

/// Answers the calls of the interface `Visitors`.
#[derive(Clone, Debug)]
pub(crate) struct VisitorsService {
    pub(crate) log: VisitorLog,
    pub(crate) store: Option<Store>,
    pub(crate) directory: DirectoryService,
}

impl visitors::Visitors for VisitorsService {
    async fn list(self, _: Context) -> Result<Vec<Visitor>, VisitorsError> {
        let kept = match &self.store {
            Some(store) => read(store).await?,
            None => Vec::new(),
        };
        let workers = self.directory.workers(context::current()).await;
        let workers: HashSet<String> = workers.into_iter().map(|worker| worker.name).collect();
        let mut known: HashMap<(VisitorKind, String), Visitor> = HashMap::new();
        for one in kept.into_iter().chain(self.log.0.lock().all()) {
            let key = (one.kind, one.name.clone());
            match known.get_mut(&key) {
                Some(known) => merge(known, one),
                None => {
                    known.insert(key, one);
                }
            }
        }
        let now = now_ms();
        let mut visitors: Vec<Visitor> = known.into_values().collect();
        for visitor in &mut visitors {
            visitor.is_here = match visitor.kind {
                VisitorKind::Worker => workers.contains(&visitor.name),
                VisitorKind::Person | VisitorKind::TaskClient => {
                    now.saturating_sub(visitor.last_seen_ms) < HERE.as_millis() as u64
                }
            };
        }
        visitors.sort_by(|one, other| {
            let order = other.last_seen_ms.cmp(&one.last_seen_ms);
            order.then_with(|| (one.kind, &one.name).cmp(&(other.kind, &other.name)))
        });
        visitors.truncate(MAX_VISITORS);
        Ok(visitors)
    }
}

async fn read(store: &Store) -> Result<Vec<Visitor>, VisitorsError> {
    let failed = |sentence| Err(VisitorsError::Unavailable { sentence });
    match timeout(READ_TIMEOUT, store.visitors()).await {
        Ok(Ok(kept)) => Ok(kept.into_iter().map(visitor).collect()),
        Ok(Err(error)) => failed(error.to_string()),
        Err(_) => failed("the store does not answer".to_owned()),
    }
}

fn merge(known: &mut Visitor, other: Visitor) {
    if other.last_seen_ms > known.last_seen_ms {
        (known.last_seen_ms, known.place) = (other.last_seen_ms, other.place);
    }
    known.first_seen_ms = known.first_seen_ms.min(other.first_seen_ms);
}

fn visitor(stored: StoredVisitor) -> Visitor {
    let ms = |time: i64| u64::try_from(time).unwrap_or(0);
    Visitor {
        name: stored.name,
        kind: match stored.kind {
            StoredVisitorKind::Person => VisitorKind::Person,
            StoredVisitorKind::TaskClient => VisitorKind::TaskClient,
            StoredVisitorKind::Worker => VisitorKind::Worker,
        },
        place: stored.place,
        first_seen_ms: ms(stored.first_seen),
        last_seen_ms: ms(stored.last_seen),
        is_here: false,
    }
}

fn stored(visitor: &Visitor) -> StoredVisitor {
    let ms = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    StoredVisitor {
        kind: match visitor.kind {
            VisitorKind::Person => StoredVisitorKind::Person,
            VisitorKind::TaskClient => StoredVisitorKind::TaskClient,
            VisitorKind::Worker => StoredVisitorKind::Worker,
        },
        name: visitor.name.clone(),
        place: visitor.place.clone(),
        first_seen: ms(visitor.first_seen_ms),
        last_seen: ms(visitor.last_seen_ms),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    u64::try_from(ms).unwrap_or(u64::MAX)
}
