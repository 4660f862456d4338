//! Sessions: the leases of workers.

use super::{limits::HEARTBEAT, record::Origin};
use pyroxene_common::{
    interfaces::directory::{InstanceState, SessionId},
    message::Load,
};
use slab::Slab;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// An object that a session offers.
#[derive(Debug)]
pub(super) struct SessionOffer {
    pub(super) object: Arc<str>,
    /// The id of its member of the object.
    pub(super) member_id: u64,
    pub(super) exclusive: bool,
}

/// A worker's lease and the data that the worker reported.
#[derive(Debug)]
pub(super) struct DirectorySession {
    pub(super) id: SessionId,
    pub(super) origin: Arc<Origin>,
    pub(super) pid: u32,
    pub(super) host: Arc<str>,
    /// The user that runs the worker; none without authentication.
    pub(super) owner: Option<Arc<str>>,
    pub(super) state: InstanceState,
    pub(super) load: Load,
    /// The objects, by name.
    pub(super) offers: Box<[SessionOffer]>,
    pub(super) ttl: Duration,
    deadline: Instant,
    /// When the queue checks it, no later than its deadline.
    queued_for: Instant,
    /// Its connections that are held open. A worker that reconnects has two for a moment.
    held_connections: u32,
    /// Whether its last held connection ended, with no heartbeat or connection since.
    suspect: bool,
}

impl DirectorySession {
    pub(super) fn new(
        id: SessionId,
        origin: Arc<Origin>,
        pid: u32,
        host: Arc<str>,
        load: Load,
        ttl: Duration,
        now: Instant,
    ) -> Self {
        Self {
            id,
            origin,
            pid,
            host,
            owner: None,
            state: InstanceState::Ready,
            load,
            offers: Box::default(),
            ttl,
            deadline: now + ttl,
            queued_for: now + ttl,
            held_connections: 0,
            suspect: false,
        }
    }

    /// Whether the worker may be dead: its connection was lost, or its lease is over.
    pub(super) fn is_suspect(&self, now: Instant) -> bool {
        self.suspect || self.deadline <= now
    }
}

/// Every session, with a queue of deadlines.
///
/// The queue is lazy: a renewal moves the deadline and leaves the queue alone; a session that comes up in the
/// queue before its deadline is queued again. So a renewal costs one look-up, and the queue changes once per
/// session and term instead of once per heartbeat.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Slab<DirectorySession>,
    by_id: HashMap<SessionId, usize>,
    by_worker: BTreeMap<Arc<str>, usize>,
    queue: BTreeSet<(Instant, usize)>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, slot: usize) -> Option<&DirectorySession> {
        self.slots.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut DirectorySession> {
        self.slots.get_mut(slot)
    }

    pub(super) fn slot(&self, id: SessionId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn slot_of_worker(&self, worker: &str) -> Option<usize> {
        self.by_worker.get(worker).copied()
    }

    /// The sessions in the order of their workers' names, optionally only those after a name.
    pub(super) fn by_worker_after(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = &DirectorySession> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.by_worker.range::<str, _>((from, Bound::Unbounded));
        later.filter_map(|(_, slot)| self.get(*slot))
    }

    /// Adds a session for a worker that has none.
    pub(super) fn insert(&mut self, session: DirectorySession) -> usize {
        let (id, deadline) = (session.id, session.queued_for);
        let worker = Arc::clone(&session.origin.worker);
        let slot = self.slots.insert(session);
        self.index(slot, id, worker, deadline);
        slot
    }

    /// Replaces a session by another one of the same worker.
    pub(super) fn replace(&mut self, slot: usize, session: DirectorySession) {
        let (id, deadline) = (session.id, session.queued_for);
        let worker = Arc::clone(&session.origin.worker);
        let Some(place) = self.slots.get_mut(slot) else {
            return;
        };
        let old = std::mem::replace(place, session);
        self.by_id.remove(&old.id);
        self.queue.remove(&(old.queued_for, slot));
        self.index(slot, id, worker, deadline);
    }

    fn index(&mut self, slot: usize, id: SessionId, worker: Arc<str>, deadline: Instant) {
        self.by_id.insert(id, slot);
        self.by_worker.insert(worker, slot);
        self.queue.insert((deadline, slot));
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<DirectorySession> {
        let session = self.slots.try_remove(slot)?;
        self.by_id.remove(&session.id);
        self.by_worker.remove(&session.origin.worker);
        self.queue.remove(&(session.queued_for, slot));
        Some(session)
    }

    /// Gives a session its full term from now.
    pub(super) fn renew(&mut self, slot: usize, load: Load, now: Instant) {
        if let Some(session) = self.slots.get_mut(slot) {
            session.load = load;
            session.suspect = false;
            session.deadline = now + session.ttl;
        }
    }

    /// Counts a connection that is held open for the session.
    pub(super) fn connection_held(&mut self, slot: usize) {
        if let Some(session) = self.slots.get_mut(slot) {
            session.held_connections += 1;
            session.suspect = false;
        }
    }

    /// Counts the end of a held connection. After the last one, the worker has one heartbeat's time to show
    /// that it is alive.
    pub(super) fn connection_lost(&mut self, slot: usize, now: Instant) {
        let Some(session) = self.slots.get_mut(slot) else {
            return;
        };
        session.held_connections = session.held_connections.saturating_sub(1);
        if session.held_connections > 0 {
            return;
        }
        session.suspect = true;
        session.deadline = session.deadline.min(now + HEARTBEAT);
        if session.deadline < session.queued_for {
            self.queue.remove(&(session.queued_for, slot));
            session.queued_for = session.deadline;
            self.queue.insert((session.queued_for, slot));
        }
    }

    /// When to check the queue next.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.queue.first().map(|(deadline, _)| *deadline)
    }

    /// A session whose lease is over, if there is one.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<usize> {
        while let Some((queued, slot)) = self.queue.first().copied() {
            if queued > now {
                return None;
            }
            let Some(session) = self.slots.get_mut(slot) else {
                self.queue.pop_first();
                continue;
            };
            if session.deadline <= now {
                return Some(slot);
            }
            self.queue.pop_first();
            session.queued_for = session.deadline;
            self.queue.insert((session.queued_for, slot));
        }
        None
    }

    /// Gives a fresh term to every lease that lost more than half of its term in a pause of `lost`. Returns
    /// how many leases would otherwise have ended by now.
    pub(super) fn extend_leases(&mut self, lost: Duration, now: Instant) -> usize {
        let mut spared = 0;
        for (_, session) in &mut self.slots {
            if session.ttl / 2 >= lost {
                continue;
            }
            spared += usize::from(session.deadline <= now);
            session.deadline = now + session.ttl;
        }
        spared
    }
}
