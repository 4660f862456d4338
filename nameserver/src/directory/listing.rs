//! Reading the directory: snapshots and changes for watchers, lists for people.

use super::{Directory, Selection, log::Entry, objects::Member, record::Record};
use pyroxene_common::interfaces::directory::{
    Change, Cursor, DirectoryError, Instance, Load, News, ObjectEntry, Status, Watched, WorkerEntry,
};
use std::sync::Arc;
use tokio::time::Instant;

impl Directory {
    /// The instances of an object, by worker, and the cursor from which to go on.
    pub fn snapshot(&self, object: &str, now: Instant) -> Watched {
        let object = self.objects.get(object);
        let members = object.into_iter().flat_map(|object| object.visible());
        self.watched(News::Snapshot(instances(self.seen(members))), now)
    }

    /// What changed of an object since a cursor, oldest first. The load of an instance is that of
    /// the last heartbeat.
    ///
    /// # Errors
    ///
    /// `TooOld` if the cursor is from another incarnation of the name server, or from before the
    /// oldest change of the object that is remembered.
    pub fn changes(
        &self,
        object: &str,
        after: Cursor,
        now: Instant,
    ) -> Result<Watched, DirectoryError> {
        if after.epoch != self.epoch || after.revision > self.objects.log.revision() {
            return Err(DirectoryError::TooOld);
        }
        let entries = self.objects.since(object, after.revision);
        let entries = entries.ok_or(DirectoryError::TooOld)?;
        let changes = entries.into_iter().map(|entry| self.change(entry));
        Ok(self.watched(News::Changes(changes.collect()), now))
    }

    /// The objects that a selection lets through.
    pub fn list(&self, selection: &Selection) -> Listing {
        let objects = self
            .objects
            .starting_with(&selection.prefix)
            .filter(|(name, _)| selection.accepts(name))
            .map(|(name, object)| {
                let members = object.visible();
                let members = members.filter(|member| member.record.has_tags(&selection.tags));
                (Arc::clone(name), self.seen(members))
            });
        Listing {
            objects: objects.filter(|(_, seen)| !seen.is_empty()).collect(),
        }
    }

    /// Every worker with a live session, by name.
    pub fn workers(&self) -> Vec<WorkerEntry> {
        let entry = |session: &super::Session| WorkerEntry {
            name: session.origin.worker.as_ref().to_owned(),
            endpoint: session.origin.endpoint.as_ref().to_owned(),
            pid: session.pid,
            host: session.host.as_ref().to_owned(),
            state: session.state,
            load: session.load,
            objects: session
                .places
                .iter()
                .map(|offered| offered.object.as_ref().to_owned())
                .collect(),
        };
        self.sessions.by_worker().map(entry).collect()
    }

    /// How the name server is.
    pub fn status(&self, now: Instant) -> Status {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let visible = self
            .objects
            .starting_with("")
            .map(|(_, object)| object.visible_count())
            .filter(|visible| *visible > 0);
        let (objects, instances) = visible.fold((0, 0), |(objects, instances), visible| {
            (objects + 1, instances + visible)
        });
        let uptime = now.saturating_duration_since(self.started);
        Status {
            epoch: self.epoch,
            revision: self.objects.log.revision(),
            settled: self.is_settled(now),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            workers: count(self.sessions.len()),
            objects: count(objects),
            instances: count(instances),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn is_settled(&self, now: Instant) -> bool {
        now >= self.settles_at()
    }

    fn watched(&self, news: News, now: Instant) -> Watched {
        Watched {
            cursor: Cursor {
                epoch: self.epoch,
                revision: self.objects.log.revision(),
            },
            settled: self.is_settled(now),
            news,
        }
    }

    fn seen<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Seen {
        members
            .map(|member| (Arc::clone(&member.record), self.load(Some(member))))
            .collect()
    }

    fn change(&self, entry: &Entry) -> Change {
        if let Some(reason) = entry.departure {
            return entry.record.removed(reason);
        }
        let object = self.objects.get(&entry.object);
        let member = object.and_then(|object| object.member(entry.place));
        Change::Put(entry.record.instance(self.load(member)))
    }

    /// The load of a member's worker; an idle one if it is gone, or a static name.
    fn load(&self, member: Option<&Member>) -> Load {
        let session = member.and_then(|member| self.sessions.get(member.session?));
        session.map(|session| session.load).unwrap_or_default()
    }
}

/// The objects that a list found, as they were then.
///
/// It shares what it found with the directory. The strings of a large answer take far longer to
/// copy than it takes to find the objects, and they are copied by
/// [`into_entries`](Self::into_entries), when the directory is not locked any more.
#[derive(Debug)]
pub struct Listing {
    objects: Vec<(Arc<str>, Seen)>,
}

/// Instances with their loads.
type Seen = Vec<(Arc<Record>, Load)>;

impl Listing {
    /// The objects by name, their instances by worker.
    pub fn into_entries(self) -> Vec<ObjectEntry> {
        let entry = |(name, seen): (Arc<str>, Seen)| {
            let instances = instances(seen);
            let known = instances
                .iter()
                .find(|instance| !instance.interface.is_empty())
                .or(instances.first())?;
            Some(ObjectEntry {
                name: name.as_ref().to_owned(),
                interface: known.interface.clone(),
                version: known.version,
                instances,
            })
        };
        self.objects.into_iter().filter_map(entry).collect()
    }
}

/// The instances as they are sent, by worker.
fn instances(mut seen: Seen) -> Vec<Instance> {
    seen.sort_by(|(a, _), (b, _)| a.origin.worker.cmp(&b.origin.worker));
    seen.into_iter()
        .map(|(record, load)| record.instance(load))
        .collect()
}
