//! Tests of the directory. [`DirectoryFixture`] is their fixture: a directory, and a clock that the test sets.

mod exclusive;
mod following;
mod leases;
mod naming;
mod sizes;
mod waking;
mod watching;

use super::{DirectoryLimits, InstanceDirectory, SessionOwner};
use pyroxene_common::{
    identity::HolderId,
    interfaces::directory::{
        Cursor, DirectoryError, Instance, InstanceChange, Lease, ObjectRegistration, Registration,
        SessionId, WatchUpdate,
    },
    message::Load,
};
use std::time::Duration;
use tokio::time::Instant;

const EPOCH: u64 = 77;
const FIRST_FENCE: u64 = 1_000;

struct DirectoryFixture {
    directory: InstanceDirectory,
    now: Instant,
    /// When the directory wants to expire leases next.
    next_run: Instant,
    opened: u64,
}

impl DirectoryFixture {
    fn new() -> Self {
        Self::with(DirectoryLimits::default())
    }

    fn with(limits: DirectoryLimits) -> Self {
        let now = Instant::now();
        Self {
            directory: InstanceDirectory::new(limits, EPOCH, FIRST_FENCE, now),
            now,
            next_run: now,
            opened: 0,
        }
    }

    fn try_open(&mut self, registration: Registration) -> Result<Lease, DirectoryError> {
        self.opened += 1;
        let id = SessionId([self.opened, 0]);
        self.directory.open(id, registration, None, self.now)
    }

    fn open(&mut self, registration: Registration) -> SessionId {
        self.try_open(registration).unwrap().session
    }

    fn renew(&mut self, session: SessionId) -> Result<Lease, DirectoryError> {
        self.directory.renew(session, Load::default(), self.now)
    }

    fn lose_connection(&mut self, session: SessionId) {
        self.directory.connection_lost(session, self.now);
    }

    /// Advances the clock, and expires leases whenever the directory wants to.
    fn pass(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while self.next_run <= end {
            self.next_run = self.directory.expire(self.next_run).next;
        }
        self.now = end;
    }

    /// Suspends the name server for a while, then expires leases at once.
    fn freeze(&mut self, milliseconds: u64) -> usize {
        self.now = self.next_run.max(self.now) + Duration::from_millis(milliseconds);
        let expiry = self.directory.expire(self.now);
        self.next_run = expiry.next;
        expiry.spared
    }

    fn instances(&self, object: &str) -> Vec<Instance> {
        match self.directory.snapshot(object, self.now).news {
            WatchUpdate::Snapshot(instances) => instances,
            WatchUpdate::Changes(_) => panic!("a snapshot was asked for"),
        }
    }

    /// The workers that clients may call.
    fn workers_of(&self, object: &str) -> Vec<String> {
        let instances = self.instances(object).into_iter();
        instances.map(|instance| instance.worker).collect()
    }

    fn cursor(&self) -> Cursor {
        self.directory.snapshot("any", self.now).cursor
    }

    fn changes(&self, object: &str, after: Cursor) -> Result<Vec<InstanceChange>, DirectoryError> {
        match self.directory.changes(object, after, self.now)?.news {
            WatchUpdate::Changes(changes) => Ok(changes),
            WatchUpdate::Snapshot(_) => panic!("changes were asked for"),
        }
    }

    /// The changes of an object since a cursor, such as `+w1`, `-w2 Expired`.
    fn told(&self, object: &str, after: Cursor) -> Vec<String> {
        let changes = self.changes(object, after).unwrap();
        changes.iter().map(brief).collect()
    }
}

fn brief(change: &InstanceChange) -> String {
    match change {
        InstanceChange::Put(instance) => format!("+{}", instance.worker),
        InstanceChange::Removed { worker, reason, .. } => format!("-{worker} {reason:?}"),
    }
}

fn shared(object: &str) -> ObjectRegistration {
    ObjectRegistration {
        object: object.to_owned(),
        interface: "Example.Thing".to_owned(),
        version: 1,
        spoken: Vec::new(),
        tags: Vec::new(),
        exclusive: false,
    }
}

fn exclusive(object: &str) -> ObjectRegistration {
    ObjectRegistration {
        exclusive: true,
        ..shared(object)
    }
}

fn tagged(object: &str, tags: &[&str]) -> ObjectRegistration {
    ObjectRegistration {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..shared(object)
    }
}

fn worker(name: &str, objects: &[ObjectRegistration]) -> Registration {
    Registration {
        worker: name.to_owned(),
        incarnation: 1,
        endpoint: format!("{name}.example:4000"),
        pid: 4,
        host: "example".to_owned(),
        capacity: 2,
        ttl_ms: 3_000,
        objects: objects.to_vec(),
    }
}

/// A worker that opens sessions.
fn by(user: &str, key: Option<HolderId>) -> SessionOwner<'_> {
    SessionOwner { user, key }
}

/// The same worker after a restart.
fn restarted(registration: &Registration) -> Registration {
    Registration {
        incarnation: registration.incarnation + 1,
        ..registration.clone()
    }
}

/// The same worker at another address.
fn moved(registration: Registration) -> Registration {
    Registration {
        endpoint: "elsewhere:1".to_owned(),
        ..registration
    }
}
