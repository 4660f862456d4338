//! The directory of live instances: a state machine without I/O, and the service over it.
//!
//! [`InstanceDirectory`] holds sessions (leases), the objects they offer, static names, and a log of changes. It
//! reads no clock and draws no random numbers: both are passed in. [`DirectoryService`] answers the calls of
//! the interface and wakes the watchers.
//!
//! **Leases.** A session lives for its term and is renewed by heartbeats. When its held connection is lost,
//! it ends one heartbeat later unless it is renewed. [`InstanceDirectory::expire`] removes overdue sessions.
//!
//! **The brake.** If the name server itself was suspended (the process or its machine), heartbeats wait
//! unread in its sockets, and the silence of its workers says nothing. `expire` knows when it had asked to
//! run again. If a run is late, each lease that lost more than half of its term to the delay gets a fresh
//! term instead of ending. There is deliberately no second brake for many leases that end at once *without*
//! such a delay. A rack without power looks like that, and then watchers must hear of it at once, because
//! calls to it hang. If instead this machine's network has failed, no watcher hears of it before the network
//! is back, and the workers open new sessions one heartbeat later. Clients wait longer than that for an
//! object that has no other instance.
//!
//! **Exclusive names** belong to the first session that offered them and is not draining. Other workers that
//! offer the name wait, invisible to clients, in the order of arrival. The fence, a number that grows
//! whenever any name changes hands, tells holders apart. This holds within one name server. Where several
//! name servers share a store, the first ready worker is only a candidate, and the store decides
//! ([`InstanceDirectory::share_exclusive_names`]).

mod change_log;
mod exclusive_grants;
mod interner;
mod limits;
mod listing;
mod names;
mod objects;
mod open;
mod permission;
mod record;
mod selection;
mod service;
mod sessions;
mod static_names;
mod targets;

#[cfg(test)]
mod tests;

pub use limits::{
    DEFAULT_TTL, DirectoryLimits, HEARTBEAT, MAX_NAME, MAX_PATTERN, MAX_TTL, MIN_TTL,
};
pub use listing::Listing;
pub use open::SessionOwner;
pub(crate) use permission::{check_may_host, may_call};
pub use selection::Selection;
pub(crate) use service::NameStore;
pub use service::{DirectoryService, MAX_WAIT};

use exclusive_grants::Grants;
use limits::{MAX_EXPIRED, MAX_PAUSE, MIN_PAUSE};
use objects::Objects;
use pyroxene_common::{
    interfaces::directory::{Departure, DirectoryError, InstanceState, Lease, SessionId},
    message::Load,
};
use sessions::{DirectorySession, Sessions};
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};
use tokio::time::Instant;

/// The directory: which workers host which objects.
#[derive(Debug)]
pub struct InstanceDirectory {
    limits: DirectoryLimits,
    epoch: u64,
    started: Instant,
    /// When `expire` had asked to run again.
    next_run: Instant,
    sessions: Sessions,
    objects: Objects,
    static_names: usize,
    grants: Grants,
}

/// The result of a run of [`InstanceDirectory::expire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// When to run it again.
    pub next: Instant,
    /// How many sessions it ended.
    pub expired: usize,
    /// How many sessions the brake kept from ending.
    pub spared: usize,
}

impl InstanceDirectory {
    /// An empty directory. `epoch` is a random number that identifies this incarnation of the name server.
    /// Fences count up from `first_fence`: pass the microseconds since the Unix epoch, so that fences keep
    /// growing when the name server starts again.
    pub fn new(limits: DirectoryLimits, epoch: u64, first_fence: u64, now: Instant) -> Self {
        Self {
            epoch,
            started: now,
            next_run: now + MAX_PAUSE,
            sessions: Sessions::default(),
            objects: Objects::new(&limits, first_fence),
            static_names: 0,
            grants: Grants::default(),
            limits,
        }
    }

    /// The limits of the directory.
    pub fn limits(&self) -> &DirectoryLimits {
        &self.limits
    }

    /// Renews a lease and notes the worker's load. A change of load wakes no watcher.
    ///
    /// # Errors
    ///
    /// `UnknownSession`.
    pub fn renew(
        &mut self,
        session: SessionId,
        load: Load,
        now: Instant,
    ) -> Result<Lease, DirectoryError> {
        let slot = self.slot(session)?;
        self.sessions.renew(slot, load, now);
        self.lease(slot, now)
    }

    /// Notes that a connection is held open for a session.
    ///
    /// # Errors
    ///
    /// `UnknownSession`.
    pub fn connection_held(&mut self, session: SessionId) -> Result<(), DirectoryError> {
        let slot = self.slot(session)?;
        self.sessions.connection_held(slot);
        Ok(())
    }

    /// Notes the end of a held connection: the lease ends one heartbeat from now unless it is
    /// renewed. A session that is gone is no error here.
    pub fn connection_lost(&mut self, session: SessionId, now: Instant) {
        if let Some(slot) = self.sessions.slot(session) {
            self.sessions.connection_lost(slot, now);
        }
    }

    /// Marks every instance of a session as draining.
    ///
    /// # Errors
    ///
    /// `UnknownSession`.
    pub fn drain(&mut self, session: SessionId) -> Result<(), DirectoryError> {
        let slot = self.slot(session)?;
        let Some(session) = self.sessions.get_mut(slot) else {
            return Err(DirectoryError::UnknownSession);
        };
        session.state = InstanceState::Draining;
        for offered in &session.offers {
            self.objects.drain(&offered.object, offered.member_id);
        }
        Ok(())
    }

    /// Marks the instances of a worker as draining: clients stop choosing them.
    ///
    /// # Errors
    ///
    /// `UnknownWorker` if no live worker has that name.
    pub fn drain_worker(&mut self, worker: &str) -> Result<(), DirectoryError> {
        self.drain_by_name(worker).map(drop)
    }

    /// The same. Returns the worker's name and incarnation.
    pub(crate) fn drain_by_name(&mut self, worker: &str) -> Result<String, DirectoryError> {
        let slot = self.sessions.slot_of_worker(worker);
        let session = slot.and_then(|slot| self.sessions.get(slot));
        match session.map(|session| (session.id, session.origin.holder())) {
            Some((session, holder)) => self.drain(session).map(|()| holder),
            None => Err(DirectoryError::UnknownWorker {
                worker: worker.to_owned(),
            }),
        }
    }

    /// Marks the instances of these workers as draining, which are given by name and incarnation.
    pub(crate) fn drain_holders(&mut self, holders: &HashSet<String>) {
        let ready = self.sessions.by_worker_after(None).filter(|session| {
            session.state == InstanceState::Ready && holders.contains(&session.origin.holder())
        });
        let sessions: Vec<SessionId> = ready.map(|session| session.id).collect();
        for session in sessions {
            // Each is there: nothing has changed since.
            let _ = self.drain(session);
        }
    }

    /// Ends a session.
    ///
    /// # Errors
    ///
    /// `UnknownSession`.
    pub fn close(&mut self, session: SessionId) -> Result<(), DirectoryError> {
        let slot = self.slot(session)?;
        self.end(slot, Departure::Closed);
        Ok(())
    }

    /// Ends the sessions whose leases are over, and returns when to run again: at most 250 ms later. If there
    /// is very much to remove, it removes a part and asks to run again after 10 ms.
    ///
    /// Run it at that time: a much later run is taken as a sign that this process was suspended (see "The
    /// brake" in the module's documentation).
    pub fn expire(&mut self, now: Instant) -> Expiry {
        let late = now.saturating_duration_since(self.next_run);
        let spared = if late > MIN_TTL / 2 {
            self.sessions.extend_leases(late, now)
        } else {
            0
        };
        if self.grants_expired(now) {
            self.withdraw_all();
        }
        let (mut expired, mut removed) = (0, 0);
        while removed < MAX_EXPIRED
            && let Some(slot) = self.sessions.overdue(now)
        {
            expired += 1;
            removed += 1 + self.end(slot, Departure::Expired);
        }
        let latest = now + MAX_PAUSE;
        self.next_run = self
            .sessions
            .next_look()
            .map_or(latest, |look| look.clamp(now + MIN_PAUSE, latest));
        Expiry {
            next: self.next_run,
            expired,
            spared,
        }
    }

    /// When every live worker has had the time to reconnect after the start.
    pub fn settles_at(&self) -> Instant {
        self.started + self.limits.settle
    }

    /// The names of the objects whose instances changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<Arc<str>> {
        self.objects.take_changed()
    }

    fn slot(&self, session: SessionId) -> Result<usize, DirectoryError> {
        self.sessions
            .slot(session)
            .ok_or(DirectoryError::UnknownSession)
    }

    fn lease(&self, slot: usize, now: Instant) -> Result<Lease, DirectoryError> {
        let session = self.sessions.get(slot);
        let session = session.ok_or(DirectoryError::UnknownSession)?;
        let fences = self.fences(session);
        let ttl = match self.grants.until() {
            // A worker must not rely on a name for longer than this name server does.
            Some(until) if !fences.is_empty() => {
                session.ttl.min(until.saturating_duration_since(now))
            }
            _ => session.ttl,
        };
        Ok(Lease {
            session: session.id,
            epoch: self.epoch,
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            fences,
        })
    }

    fn fences(&self, session: &DirectorySession) -> Vec<(String, u64)> {
        session
            .offers
            .iter()
            .filter(|offered| offered.exclusive)
            .filter_map(|offered| {
                let member = self
                    .objects
                    .get(&offered.object)?
                    .member(offered.member_id)?;
                Some((offered.object.as_ref().to_owned(), member.record.fence?))
            })
            .collect()
    }

    /// Ends a session. Returns how many instances it had.
    fn end(&mut self, slot: usize, reason: Departure) -> usize {
        let Some(session) = self.sessions.remove(slot) else {
            return 0;
        };
        for offered in &session.offers {
            self.objects
                .remove(&offered.object, offered.member_id, reason);
        }
        session.offers.len()
    }
}
