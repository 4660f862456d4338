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
    scope::{self, Caller},
};
use pyroxene_store::{Store, StoreError, StoredVisitor, StoredVisitorKind};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tarpc::context::{self, Context};
use tokio::time::{sleep, timeout};

/// The name of every caller of a gateway: it is not the name of a program.
pub(crate) const GATEWAY: &str = "gateway";

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

    /// Somebody who has logged in is still here.
    pub(crate) fn saw_again(&self, identity: &Identity) {
        let mut notes = self.0.lock();
        notes.saw_again(VisitorKind::Person, &identity.name, now_ms());
    }

    /// A caller has submitted tasks.
    pub(crate) fn saw_submitter(&self, caller: &Caller) {
        let host = caller.host();
        match &caller.identity {
            Some(identity) => self.saw(VisitorKind::TaskClient, &identity.name, host),
            // Whoever asks over HTTP shares one caller there, so that its address may be anybody's.
            None if caller.name == GATEWAY => {
                self.saw(VisitorKind::TaskClient, "unnamed over HTTP", "");
            }
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
        let mut unwritten = Unwritten {
            news: self.0.lock().take_news(),
            log: self,
        };
        if unwritten.news.is_empty() {
            return Ok(());
        }
        let now = now_ms();
        let rows = unwritten.news.iter().map(|one| stored(one, now)).collect();
        store.see_visitors(rows).await?;
        unwritten.news.clear();
        Ok(())
    }

    /// Writes what is new for the last time.
    pub(crate) async fn write_last(&self, store: &Store) {
        if !matches!(timeout(LAST_WRITE, self.write(store)).await, Ok(Ok(()))) {
            tracing::debug!("who was here last is not kept");
        }
    }
}

/// News that are on their way to the store. What has not arrived when this is dropped is news again.
struct Unwritten<'a> {
    log: &'a VisitorLog,
    news: Vec<Visitor>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.log.0.lock().give_back(&self.news);
    }
}

/// Whom a caller may see: everybody, or the workers and what is known of itself.
#[derive(Debug)]
enum Sight {
    All,
    Own(String),
}

impl Sight {
    /// That of the call that runs on this thread. Call it before the first await.
    fn current() -> Self {
        match scope::current().caller.identity.as_deref() {
            None => Self::All,
            Some(identity) => match identity.role {
                Role::Admin | Role::Observer => Self::All,
                Role::User | Role::Worker => Self::Own(identity.name.clone()),
            },
        }
    }

    fn shows(&self, visitor: &Visitor) -> bool {
        match self {
            Self::All => true,
            Self::Own(name) => visitor.kind == VisitorKind::Worker || visitor.name == *name,
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
        let sight = Sight::current();
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
        let known = known.into_values();
        let mut visitors: Vec<Visitor> = known.filter(|one| sight.shows(one)).collect();
        for visitor in &mut visitors {
            visitor.is_here = match visitor.kind {
                VisitorKind::Worker => workers.contains(&visitor.name),
                VisitorKind::Person | VisitorKind::TaskClient => {
                    now.abs_diff(visitor.last_seen_ms) < HERE.as_millis() as u64
                }
            };
            // A clock that is behind, or was ahead, has seen nobody in a time to come.
            visitor.last_seen_ms = visitor.last_seen_ms.min(now);
            visitor.first_seen_ms = visitor.first_seen_ms.min(visitor.last_seen_ms);
        }
        visitors.sort_by(|one, other| {
            let order = other.last_seen_ms.cmp(&one.last_seen_ms);
            order.then_with(|| (one.kind, &one.name).cmp(&(other.kind, &other.name)))
        });
        let mut listed: HashMap<VisitorKind, usize> = HashMap::new();
        visitors.retain(|one| {
            let listed = listed.entry(one.kind).or_default();
            *listed += 1;
            *listed <= MAX_VISITORS
        });
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

/// A visitor as the store keeps it, who was not seen after `now`.
fn stored(visitor: &Visitor, now: u64) -> StoredVisitor {
    let ms = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    StoredVisitor {
        kind: match visitor.kind {
            VisitorKind::Person => StoredVisitorKind::Person,
            VisitorKind::TaskClient => StoredVisitorKind::TaskClient,
            VisitorKind::Worker => StoredVisitorKind::Worker,
        },
        name: visitor.name.clone(),
        place: visitor.place.clone(),
        first_seen: ms(visitor.first_seen_ms.min(now)),
        last_seen: ms(visitor.last_seen_ms.min(now)),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    u64::try_from(ms).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
