//! The directory as an object: answers the interface's calls, lets watchers wait, and expires leases.

mod addresses;
mod exclusive;
mod shared_names;
mod watchers;

use super::{
    InstanceDirectory, Listing, Selection, SessionOwner,
    names::{check_name, check_worker_address, parse_address},
    permission::check_may_host,
    targets::check_target,
};
use crate::{limits::Limiter, long_poll::time_to_wait};
pub(crate) use exclusive::NameStore;
use parking_lot::{Mutex, MutexGuard};
use pyroxene_common::{
    endpoint::Endpoint,
    interfaces::directory::{
        Cursor, DirectoryError, Instance, InstanceState, Lease, NameServerStatus, ObjectEntry,
        ObjectFilter, PeerAddresses, Registration, SessionId, SpokenLists, VersionedWatchResponse,
        WatchResponse, WatchUpdate, WorkerEntry, directory,
    },
    limits::Limit,
    message::Load,
    offload::offload,
    scope,
};
use pyroxene_pyro::uri::SCHEME as PYRO_SCHEME;
use pyroxene_store::{StaticName, Store, StoreError};
use shared_names::SharedStaticNames;
use std::{
    future::{Future, pending},
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tarpc::context::Context;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};
use watchers::{WatchSlot, Watchers};

/// The longest that a watch waits for a change.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long a watch waits for more changes after the first. When many workers come or go, each of their
/// watchers gets a few answers with many changes instead of one answer per change.
const BATCH_DELAY: Duration = Duration::from_millis(2);

/// Answers the calls of the interface `Directory`. Clones share one directory.
#[derive(Clone, Debug)]
pub struct DirectoryService {
    state: Arc<Mutex<DirectoryState>>,
    /// The static names that it shares with other name servers.
    static_names: Option<SharedStaticNames>,
    /// The limits of callers.
    limiter: Arc<Limiter>,
    /// The address at which the name server listens, and the advertised one; unset before it listens.
    own_addresses: Arc<OnceLock<(Endpoint, Option<Endpoint>)>>,
    /// Where it tells other name servers which workers get no new calls.
    drains: Option<Store>,
    /// Wakes the task of the exclusive names when a name has to be claimed or released.
    names_pending: Arc<Notify>,
    /// The leases that have ended.
    expired: Arc<AtomicU64>,
}

/// The state that the clones of a service share. No task waits while it holds the lock.
#[derive(Debug)]
struct DirectoryState {
    directory: InstanceDirectory,
    watchers: Watchers,
    /// The addresses of the name servers over the same store.
    peers: Vec<String>,
}

impl DirectoryState {
    /// Wakes the watchers of the objects that changed.
    fn wake(&mut self) {
        for object in self.directory.take_changed() {
            self.watchers.wake(&object);
        }
    }
}

impl DirectoryService {
    /// A service over a directory. Nothing expires unless [`run_expiry`](Self::run_expiry) runs.
    pub fn new(directory: InstanceDirectory) -> Self {
        let watchers = Watchers::new(directory.limits().watchers);
        Self {
            state: Arc::new(Mutex::new(DirectoryState {
                directory,
                watchers,
                peers: Vec::new(),
            })),
            static_names: None,
            drains: None,
            limiter: Arc::default(),
            own_addresses: Arc::default(),
            names_pending: Arc::default(),
            expired: Arc::default(),
        }
    }

    /// Counts the leases that end there.
    pub(crate) fn count_expired(mut self, counter: Arc<AtomicU64>) -> Self {
        self.expired = counter;
        self
    }

    /// Sets the limits of callers.
    pub(crate) fn limiter(mut self, limiter: Arc<Limiter>) -> Self {
        self.limiter = limiter;
        self
    }

    /// Keeps static names in the store, and takes over those that are in it.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn share_static_names(&mut self, store: Store) -> Result<(), StoreError> {
        let names = self
            .static_names
            .insert(SharedStaticNames::new(store))
            .clone();
        names.pull(self).await
    }

    /// Takes over static names that other name servers change, if names are shared, until `shutdown`
    /// resolves.
    pub async fn follow_static_names(self, shutdown: impl Future<Output = ()>) {
        let Some(names) = &self.static_names else {
            return;
        };
        tokio::select! {
            () = names.follow(&self) => {}
            () = shutdown => {}
        }
    }

    /// Tells other name servers by this store which workers get no new calls.
    pub(crate) fn share_drains(&mut self, store: Store) {
        self.drains = Some(store);
    }

    /// Marks workers as draining that another name server was asked to drain.
    pub(crate) fn know_drained(&self, workers: Vec<String>) {
        if workers.is_empty() {
            return;
        }
        let workers = workers.into_iter().collect();
        let draining = self.change(|directory| {
            directory.drain_holders(&workers);
            Ok(())
        });
        // It cannot fail.
        let _: Result<(), DirectoryError> = draining;
    }

    /// Expires leases until `shutdown` resolves.
    pub async fn run_expiry(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = sleep_until(next) => {}
            }
            let expiry = self.change(|directory| directory.expire(Instant::now()));
            next = expiry.next;
            if expiry.expired > 0 {
                let expired = u64::try_from(expiry.expired).unwrap_or(u64::MAX);
                self.expired.fetch_add(expired, Ordering::Relaxed);
                tracing::info!(sessions = expiry.expired, "leases ran out");
            }
            if expiry.spared > 0 {
                tracing::warn!(
                    sessions = expiry.spared,
                    "the name server was suspended; leases that would have ended got a new term"
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, DirectoryState> {
        let mut shared = self.state.lock();
        // After this process was suspended, a call must not read grants that have expired meanwhile.
        let is_stale = shared.directory.has_grants() && {
            let now = Instant::now();
            shared.directory.grants_expired(now)
        };
        if is_stale {
            shared.directory.withdraw_all();
            shared.wake();
            self.names_pending.notify_one();
        }
        shared
    }

    /// How many objects are watched.
    #[cfg(test)]
    pub(super) fn watched_objects(&self) -> usize {
        self.lock().watchers.objects()
    }

    /// Changes the directory, and wakes the watchers of the objects that changed.
    fn change<R>(&self, change: impl FnOnce(&mut InstanceDirectory) -> R) -> R {
        let mut shared = self.lock();
        let result = change(&mut shared.directory);
        shared.wake();
        if shared.directory.has_pending() {
            self.names_pending.notify_one();
        }
        result
    }

    /// How many calls each ready worker of an object runs at once; only `worker`'s number, if it is given.
    pub(crate) fn capacities(&self, object: &str, worker: Option<&str>) -> Vec<u32> {
        let watched = self.lock().directory.snapshot(object, Instant::now());
        let WatchUpdate::Snapshot(instances) = watched.news else {
            return Vec::new();
        };
        let is_meant = |instance: &&Instance| {
            instance.state == InstanceState::Ready
                && worker.is_none_or(|worker| instance.worker == worker)
        };
        let meant = instances.iter().filter(is_meant);
        meant.map(|instance| instance.load.capacity).collect()
    }

    /// The instances of an object.
    pub(crate) fn instances(&self, object: &str) -> Vec<Instance> {
        match self.lock().directory.snapshot(object, Instant::now()).news {
            WatchUpdate::Snapshot(instances) => instances,
            WatchUpdate::Changes(_) => Vec::new(),
        }
    }

    /// When a watch that starts now has to answer, with changes or without.
    fn answer_at(&self, wait_ms: u64, context: &Context) -> Instant {
        let now = Instant::now();
        let wait = Duration::from_millis(wait_ms).min(MAX_WAIT);
        // An answer without changes still advances the caller's cursor.
        let wait = wait.min(time_to_wait(context));
        let settles = self.lock().directory.settles_at();
        // A caller that waits for a missing object has to learn at once when the directory has settled.
        match settles > now {
            true => settles.min(now + wait),
            false => now + wait,
        }
    }
}

impl directory::Directory for DirectoryService {
    async fn open(
        self,
        _: Context,
        mut registration: Registration,
        spoken: Option<SpokenLists>,
    ) -> Result<Lease, DirectoryError> {
        if let Some(spoken) = spoken {
            registration.put_spoken(spoken)?;
        }
        let id = SessionId(rand::random());
        let caller = scope::current().caller;
        let names = registration.objects.iter().map(|offer| &*offer.object);
        check_may_host(caller.identity.as_deref(), names)?;
        check_worker_address(&caller, &registration.endpoint)?;
        let owner = caller.identity.as_ref().map(|identity| SessionOwner {
            user: &identity.name,
            key: caller.key,
        });
        self.change(|directory| directory.open(id, registration, owner, Instant::now()))
    }

    async fn renew(
        self,
        _: Context,
        session: SessionId,
        load: Load,
    ) -> Result<Lease, DirectoryError> {
        self.change(|directory| directory.renew(session, load, Instant::now()))
    }

    async fn hold(self, _: Context, session: SessionId) -> Result<(), DirectoryError> {
        self.change(|directory| directory.connection_held(session))?;
        let _held = HeldConnection {
            service: self,
            session,
        };
        pending().await
    }

    async fn drain(self, _: Context, session: SessionId) -> Result<(), DirectoryError> {
        self.change(|directory| directory.drain(session))
    }

    async fn drain_worker(self, _: Context, worker: String) -> Result<(), DirectoryError> {
        let holder = self.change(|directory| directory.drain_by_name(&worker))?;
        let Some(store) = &self.drains else {
            return Ok(());
        };
        let told = store.drain_worker(&holder).await;
        told.map_err(|error| DirectoryError::Unavailable {
            sentence: format!("only this name server knows of the drain: {error}"),
        })
    }

    async fn close(self, _: Context, session: SessionId) -> Result<(), DirectoryError> {
        self.change(|directory| directory.close(session))
    }

    async fn watch_versions(
        self,
        context: Context,
        object: String,
        after: Option<Cursor>,
        wait_ms: u64,
    ) -> Result<VersionedWatchResponse, DirectoryError> {
        let response = self.watch(context, object, after, wait_ms).await?;
        Ok(VersionedWatchResponse::new(response))
    }

    async fn watch(
        self,
        context: Context,
        object: String,
        after: Option<Cursor>,
        wait_ms: u64,
    ) -> Result<WatchResponse, DirectoryError> {
        check_name("an object", &object)?;
        let Some(after) = after else {
            return Ok(self.lock().directory.snapshot(&object, Instant::now()));
        };
        let answer_at = self.answer_at(wait_ms, &context);
        let caller = scope::current().caller;
        let held = self
            .limiter
            .acquire(caller.identity.as_deref(), Limit::Watches);
        let _held = held.map_err(|exceeded| DirectoryError::Limited {
            sentence: exceeded.to_string(),
        })?;
        drop(caller);
        let seat = WatchSlot::take(&self, &object)?;
        loop {
            // Before the read, so that no change falls between the read and the wait.
            let woken = seat.woken();
            let now = Instant::now();
            let watched = self.lock().directory.changes(&object, after, now)?;
            let quiet =
                matches!(&watched.news, WatchUpdate::Changes(changes) if changes.is_empty());
            if !quiet || now >= answer_at {
                return Ok(watched);
            }
            if timeout_at(answer_at, woken).await.is_ok() {
                sleep_until(answer_at.min(Instant::now() + BATCH_DELAY)).await;
            }
        }
    }

    async fn list(
        self,
        _: Context,
        filter: ObjectFilter,
    ) -> Result<Vec<ObjectEntry>, DirectoryError> {
        let caller = scope::current().caller;
        let searching = offload(caller.turn_name(), move || {
            let selection = Selection::new(filter)?;
            let page = |after: Option<&str>| self.lock().directory.page(&selection, after);
            Listing::take(&selection, page).map(Listing::into_entries)
        });
        searching.await.unwrap_or_else(|stopped| {
            Err(DirectoryError::Invalid {
                sentence: stopped.to_string(),
            })
        })
    }

    async fn workers(self, _: Context) -> Vec<WorkerEntry> {
        let caller = scope::current().caller;
        let listing = offload(caller.turn_name(), move || {
            let mut workers: Vec<WorkerEntry> = Vec::new();
            loop {
                let last = workers.last().map(|worker| worker.name.clone());
                let more = self.lock().directory.workers_after(last.as_deref());
                if more.is_empty() {
                    return workers;
                }
                workers.extend(more);
            }
        });
        listing.await.unwrap_or_default()
    }

    async fn register(
        self,
        _: Context,
        name: String,
        uri: String,
        tags: Vec<String>,
        exclusive: bool,
    ) -> Result<(), DirectoryError> {
        let caller = scope::current().caller;
        check_may_host(caller.identity.as_deref(), [&*name])?;
        // An invalid address is refused below, with the reason.
        let target = parse_address(&name, &uri).ok();
        if let Some(address) = target
            && let Ok(target) = address.endpoint.parse::<Endpoint>()
        {
            match address.object.starts_with(PYRO_SCHEME) {
                true => self.check_pyro_target(&target).await?,
                false => Box::pin(check_target(&self.known_nameservers(), &target)).await?,
            }
        }
        let Some(names) = &self.static_names else {
            return self.change(|directory| directory.register(&name, &uri, &tags, exclusive));
        };
        let check = |directory: &InstanceDirectory| {
            directory.check_registration(&name, &uri, &tags, exclusive)
        };
        check(&self.lock().directory)?;
        let entry = StaticName {
            name,
            uri,
            tags,
            exclusive,
        };
        // Boxed, as in `remove`: otherwise the store's large future would be part of every call, and above
        // all of the many watches that wait.
        Box::pin(names.register(&self, entry)).await
    }

    async fn remove(self, _: Context, name: String) -> Result<(), DirectoryError> {
        let caller = scope::current().caller;
        check_may_host(caller.identity.as_deref(), [&*name])?;
        match &self.static_names {
            None => self.change(|directory| directory.remove(&name)),
            Some(names) => Box::pin(names.remove(&self, &name)).await,
        }
    }

    async fn status(self, _: Context) -> NameServerStatus {
        self.lock().directory.status(Instant::now())
    }

    async fn peers(self, _: Context) -> PeerAddresses {
        let shared = self.lock();
        PeerAddresses {
            epoch: shared.directory.epoch,
            addresses: shared.peers.clone(),
        }
    }
}

/// A running call of `hold`. It is dropped when the call's connection ends.
struct HeldConnection {
    service: DirectoryService,
    session: SessionId,
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        let session = self.session;
        self.service
            .change(|directory| directory.connection_lost(session, Instant::now()));
    }
}
