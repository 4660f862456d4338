//! Reads the directory: snapshots and changes for watchers, lists for people.

use super::{
    InstanceDirectory, Selection,
    change_log::ChangeEntry,
    limits::{MAX_SEARCH, PAGE},
    names::invalid,
    objects::Member,
    record::InstanceRecord,
};
use pyroxene_common::{
    interfaces::directory::{
        Cursor, DirectoryError, Instance, InstanceChange, NameServerStatus, ObjectEntry,
        WatchResponse, WatchUpdate, WorkerEntry,
    },
    message::Load,
};
use std::sync::Arc;
use tokio::time::Instant;

impl InstanceDirectory {
    /// The instances of an object, ordered by worker, and the cursor for the next changes.
    pub fn snapshot(&self, object: &str, now: Instant) -> WatchResponse {
        let object = self.objects.get(object);
        let members = object.into_iter().flat_map(|object| object.visible());
        self.watched(
            WatchUpdate::Snapshot(instances(self.with_load(members))),
            now,
        )
    }

    /// The changes of an object since a cursor, oldest first. The load of an instance is that of its last
    /// heartbeat.
    ///
    /// # Errors
    ///
    /// `TooOld` if the cursor is from another incarnation of the name server, or older than the oldest change
    /// of the object that is kept.
    pub fn changes(
        &self,
        object: &str,
        after: Cursor,
        now: Instant,
    ) -> Result<WatchResponse, DirectoryError> {
        if after.epoch != self.epoch || after.revision > self.objects.log.revision() {
            return Err(DirectoryError::TooOld);
        }
        let entries = self.objects.since(object, after.revision);
        let entries = entries.ok_or(DirectoryError::TooOld)?;
        let changes = entries.into_iter().map(|entry| self.change(entry));
        Ok(self.watched(WatchUpdate::Changes(changes.collect()), now))
    }

    /// The next objects whose names start with the prefix, after `after`, for [`Listing::take`]. A page has a
    /// bounded number of objects.
    pub(super) fn page(&self, selection: &Selection, after: Option<&str>) -> ObjectsPage {
        let objects = self.objects.starting_with_after(&selection.prefix, after);
        let found: Vec<_> = objects
            .take(PAGE)
            .map(|(name, object)| {
                let members = object.visible();
                let members = members.filter(|member| member.record.has_tags(&selection.tags));
                (Arc::clone(name), self.with_load(members))
            })
            .collect();
        ObjectsPage(found)
    }

    /// The objects that match a selection, by name.
    ///
    /// # Errors
    ///
    /// `Invalid` if the search takes longer than a pattern may.
    pub fn list(&self, selection: &Selection) -> Result<Listing, DirectoryError> {
        Listing::take(selection, |after| self.page(selection, after))
    }

    /// Every worker with a live session, by name.
    pub fn workers(&self) -> Vec<WorkerEntry> {
        self.sessions
            .by_worker_after(None)
            .map(worker_entry)
            .collect()
    }

    /// The next workers with a live session, by name, after `after`: a bounded number.
    pub(super) fn workers_after(&self, after: Option<&str>) -> Vec<WorkerEntry> {
        let sessions = self.sessions.by_worker_after(after);
        sessions.take(PAGE).map(worker_entry).collect()
    }

    /// The status of the name server.
    pub fn status(&self, now: Instant) -> NameServerStatus {
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
        NameServerStatus {
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

    fn watched(&self, news: WatchUpdate, now: Instant) -> WatchResponse {
        WatchResponse {
            cursor: Cursor {
                epoch: self.epoch,
                revision: self.objects.log.revision(),
            },
            settled: self.is_settled(now),
            news,
        }
    }

    fn with_load<'a>(&self, members: impl Iterator<Item = &'a Member>) -> RecordsWithLoad {
        members
            .map(|member| (Arc::clone(&member.record), self.load(Some(member))))
            .collect()
    }

    fn change(&self, entry: &ChangeEntry) -> InstanceChange {
        if let Some(reason) = entry.departure {
            return entry.record.removed(reason);
        }
        let object = self.objects.get(&entry.object);
        let member = object.and_then(|object| object.member(entry.member_id));
        InstanceChange::Put(entry.record.instance(self.load(member)))
    }

    /// The load of a member's worker; the default if the worker is gone, or for a static name.
    fn load(&self, member: Option<&Member>) -> Load {
        let session = member.and_then(|member| self.sessions.get(member.session?));
        session.map(|session| session.load).unwrap_or_default()
    }
}

fn worker_entry(session: &super::DirectorySession) -> WorkerEntry {
    WorkerEntry {
        name: session.origin.worker.as_ref().to_owned(),
        endpoint: session.origin.endpoint.as_ref().to_owned(),
        pid: session.pid,
        host: session.host.as_ref().to_owned(),
        state: session.state,
        load: session.load,
        objects: session
            .offers
            .iter()
            .map(|offered| offered.object.as_ref().to_owned())
            .collect(),
    }
}

/// Objects as they were when the page was read. The page shares their records with the directory: copying the
/// strings of a large answer takes far longer than finding the objects.
#[derive(Debug)]
pub(super) struct ObjectsPage(Vec<(Arc<str>, RecordsWithLoad)>);

impl ObjectsPage {
    /// The name after which the next page starts; none if this was the last page.
    fn last(&self) -> Option<Arc<str>> {
        let (name, _) = self.0.get(PAGE - 1)?;
        Some(Arc::clone(name))
    }
}

/// The objects that match a selection, collected from pages. The directory is locked for one page at a time,
/// and not while names are matched or strings are copied.
#[derive(Debug, Default)]
pub struct Listing {
    objects: Vec<(Arc<str>, RecordsWithLoad)>,
}

/// Instances with their loads.
type RecordsWithLoad = Vec<(Arc<InstanceRecord>, Load)>;

impl Listing {
    /// Collects the objects that match a selection from the pages of `page`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the search takes longer than a pattern may.
    pub(super) fn take(
        selection: &Selection,
        page: impl Fn(Option<&str>) -> ObjectsPage,
    ) -> Result<Self, DirectoryError> {
        let mut listing = Self::default();
        let mut after: Option<Arc<str>> = None;
        let (began, mut looked_at) = (Instant::now(), 0);
        loop {
            let found = page(after.as_deref());
            after = found.last();
            for (name, seen) in found.0 {
                looked_at += 1;
                if !seen.is_empty() && selection.accepts(&name) {
                    listing.objects.push((name, seen));
                }
                if selection.has_pattern() && looked_at % 64 == 0 && began.elapsed() > MAX_SEARCH {
                    return Err(invalid(format!(
                        "the search was stopped after {} ms and {looked_at} names: ask for a prefix \
                         too, or for a simpler pattern",
                        MAX_SEARCH.as_millis()
                    )));
                }
            }
            if after.is_none() {
                return Ok(listing);
            }
        }
    }

    /// The objects by name, their instances by worker.
    pub fn into_entries(self) -> Vec<ObjectEntry> {
        let entry = |(name, seen): (Arc<str>, RecordsWithLoad)| {
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

/// The instances as they are sent to clients, by worker.
fn instances(mut seen: RecordsWithLoad) -> Vec<Instance> {
    seen.sort_by(|(a, _), (b, _)| a.origin.worker.cmp(&b.origin.worker));
    seen.into_iter()
        .map(|(record, load)| record.instance(load))
        .collect()
}
