//! Objects, their members, the holders of exclusive names, and the log of changes.

use super::{
    change_log::{ChangeEntry, ChangeLog},
    interner::StringInterner,
    limits::DirectoryLimits,
    record::InstanceRecord,
};
use pyroxene_common::interfaces::directory::{Departure, InstanceState};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

/// The member id of an object's static name: before the id of every worker's member.
pub(super) const STATIC_MEMBER_ID: u64 = 0;

/// One member of an object: a worker's instance, or the static name.
#[derive(Debug)]
pub(super) struct Member {
    /// The slot of the worker's session; none for a static name.
    pub(super) session: Option<usize>,
    pub(super) record: Arc<InstanceRecord>,
}

/// An object: its members in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct DirectoryObject {
    members: BTreeMap<u64, Member>,
    exclusive: bool,
    /// The member that holds the name, if the name is exclusive. The other members wait and are not visible.
    holder: Option<u64>,
    /// The revision of the last change.
    last: u64,
}

impl DirectoryObject {
    /// Whether the name belongs to one member at a time.
    pub(super) fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// The members that clients may call.
    pub(super) fn visible(&self) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(|(place, _)| self.is_visible(**place))
            .map(|(_, member)| member)
    }

    /// How many members clients may call.
    pub(super) fn visible_count(&self) -> usize {
        if self.exclusive {
            usize::from(self.holder.is_some())
        } else {
            self.members.len()
        }
    }

    /// Whether it has no members, visible or not.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member with an id.
    pub(super) fn member(&self, member_id: u64) -> Option<&Member> {
        self.members.get(&member_id)
    }

    /// The members, in the order of their arrival.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The member that holds the exclusive name.
    pub(super) fn holding_member(&self) -> Option<&Member> {
        self.member(self.holder?)
    }

    /// Whether it has a static name.
    pub(super) fn has_static(&self) -> bool {
        self.members.contains_key(&STATIC_MEMBER_ID)
    }

    /// Any member of another session than `session`, static names included.
    pub(super) fn other_than(&self, session: Option<usize>) -> Option<&Member> {
        self.members
            .values()
            .find(|member| member.session.is_none() || member.session != session)
    }

    /// Any member that belongs to a worker.
    pub(super) fn worker_member(&self) -> Option<&Member> {
        self.members
            .values()
            .find(|member| member.session.is_some())
    }

    fn is_visible(&self, place: u64) -> bool {
        !self.exclusive || self.holder == Some(place)
    }
}

/// Every object, by name.
#[derive(Debug)]
pub(super) struct Objects {
    by_name: BTreeMap<Arc<str>, DirectoryObject>,
    pub(super) log: ChangeLog,
    pub(super) strings: StringInterner,
    /// The highest revision of an object that was dropped together with its changes.
    forgotten: u64,
    members: usize,
    last_member_id: u64,
    last_fence: u64,
    changed: BTreeSet<Arc<str>>,
    shared: Option<SharedExclusiveNames>,
}

/// The exclusive names of workers, where the name store grants them.
#[derive(Debug, Default)]
struct SharedExclusiveNames {
    /// Names that may have to be claimed or released.
    pending: BTreeSet<Arc<str>>,
    /// Names that have a holder.
    granted: BTreeSet<Arc<str>>,
}

impl Objects {
    pub(super) fn new(limits: &DirectoryLimits, first_fence: u64) -> Self {
        Self {
            by_name: BTreeMap::new(),
            log: ChangeLog::new(limits.changes),
            strings: StringInterner::default(),
            forgotten: 0,
            members: 0,
            last_member_id: STATIC_MEMBER_ID,
            last_fence: first_fence,
            changed: BTreeSet::new(),
            shared: None,
        }
    }

    pub(super) fn share_exclusive_names(&mut self) {
        self.shared = Some(SharedExclusiveNames::default());
    }

    pub(super) fn shares_exclusive_names(&self) -> bool {
        self.shared.is_some()
    }

    pub(super) fn has_pending(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|shared| !shared.pending.is_empty())
    }

    pub(super) fn take_pending(&mut self) -> BTreeSet<Arc<str>> {
        let shared = self.shared.as_mut();
        shared.map_or_else(BTreeSet::new, |shared| mem::take(&mut shared.pending))
    }

    /// An object that has members, or had some recently.
    pub(super) fn get(&self, name: &str) -> Option<&DirectoryObject> {
        self.by_name.get(name)
    }

    /// The objects whose names start with `prefix`, by name.
    pub(super) fn starting_with<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a DirectoryObject)> {
        self.starting_with_after(prefix, None)
    }

    /// As [`starting_with`](Self::starting_with), but only those after a name.
    pub(super) fn starting_with_after<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a DirectoryObject)> {
        let from = match after {
            Some(after) => std::ops::Bound::Excluded(after),
            None => std::ops::Bound::Included(prefix),
        };
        self.by_name
            .range::<str, _>((from, std::ops::Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
    }

    /// The number of members of all objects.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// The changes of an object after a revision; none if some of them are no longer kept.
    pub(super) fn since(&self, name: &str, after: u64) -> Option<Vec<&ChangeEntry>> {
        let last = self.get(name).map_or(self.forgotten, |object| object.last);
        self.log.since(last, after)
    }

    /// The names of the objects that changed since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<Arc<str>> {
        mem::take(&mut self.changed)
    }

    /// Adds a worker's instance. Returns its member id.
    pub(super) fn add(
        &mut self,
        name: &Arc<str>,
        session: usize,
        record: InstanceRecord,
        exclusive: bool,
    ) -> u64 {
        self.last_member_id += 1;
        self.insert(name, self.last_member_id, Some(session), record, exclusive);
        self.last_member_id
    }

    /// Adds a static name to an object that has none.
    pub(super) fn add_static(&mut self, name: &Arc<str>, record: InstanceRecord, exclusive: bool) {
        self.insert(name, STATIC_MEMBER_ID, None, record, exclusive);
    }

    fn insert(
        &mut self,
        name: &Arc<str>,
        place: u64,
        session: Option<usize>,
        record: InstanceRecord,
        exclusive: bool,
    ) {
        let forgotten = self.forgotten;
        let object = self
            .by_name
            .entry(Arc::clone(name))
            .or_insert_with(|| DirectoryObject {
                last: forgotten,
                ..DirectoryObject::default()
            });
        // The caller has checked that the new member agrees with the existing ones.
        object.exclusive = exclusive;
        let record = Arc::new(record);
        let member = Member {
            session,
            record: Arc::clone(&record),
        };
        object.members.insert(place, member);
        self.members += 1;
        if self.is_visible(name, place) {
            self.log_change(name, place, record, None);
        }
        self.elect(name);
    }

    /// Replaces the record of a member; its fence stays.
    pub(super) fn update(&mut self, name: &Arc<str>, place: u64, mut record: InstanceRecord) {
        let Some(object) = self.by_name.get_mut(name) else {
            return;
        };
        let shows = object.is_visible(place);
        let Some(member) = object.members.get_mut(&place) else {
            return;
        };
        record.fence = member.record.fence;
        if *member.record == record {
            return;
        }
        let record = Arc::new(record);
        member.record = Arc::clone(&record);
        if shows {
            self.log_change(name, place, record, None);
        }
        self.elect(name);
    }

    /// Removes a member. If it held the name, the next candidate takes over.
    pub(super) fn remove(&mut self, name: &Arc<str>, place: u64, reason: Departure) {
        let Some(object) = self.by_name.get_mut(name) else {
            return;
        };
        let shown = object.is_visible(place);
        let Some(member) = object.members.remove(&place) else {
            return;
        };
        self.members -= 1;
        if object.holder == Some(place) {
            object.holder = None;
        }
        if shown {
            self.log_change(name, place, member.record, Some(reason));
        }
        self.elect(name);
    }

    /// Marks a member as draining. If it held the name, the next candidate takes over.
    pub(super) fn drain(&mut self, name: &Arc<str>, place: u64) {
        let member = self.get(name).and_then(|object| object.member(place));
        let Some(member) = member else { return };
        let record = InstanceRecord {
            state: InstanceState::Draining,
            ..InstanceRecord::clone(&member.record)
        };
        self.update(name, place, record);
    }

    /// Grants an exclusive name to the first ready member, unless its holder is ready. A holder that drains
    /// keeps the name until another member can take it. Where the name store grants names, the name only
    /// becomes pending.
    fn elect(&mut self, name: &Arc<str>) {
        let Some(object) = self.by_name.get_mut(name) else {
            return;
        };
        let takes_calls = |member: &Member| member.record.state == InstanceState::Ready;
        let holder = object.holder;
        let is_settled = object.holding_member().is_some_and(takes_calls);
        if let Some(shared) = &mut self.shared
            && object.exclusive
            && !object.has_static()
        {
            if holder.is_none() {
                shared.granted.remove(name);
            }
            if !is_settled {
                shared.pending.insert(Arc::clone(name));
            }
            return;
        }
        if !object.exclusive || is_settled {
            return;
        }
        let next = object
            .members
            .iter()
            .find(|(_, member)| takes_calls(member))
            .map(|(place, _)| *place);
        let Some(next) = next else { return };

        object.holder = Some(next);
        self.last_fence += 1;
        let fence = self.last_fence;
        if let Some(place) = holder
            && let Some((_, before)) = self.set_fence(name, place, None)
        {
            self.log_change(name, place, before, Some(Departure::Replaced));
        }
        if let Some((record, _)) = self.set_fence(name, next, Some(fence)) {
            self.log_change(name, next, record, None);
        }
    }

    /// Makes a worker's member the holder of a name, where the name store grants names.
    pub(super) fn grant(&mut self, name: &str, holder: &str, fence: u64) -> bool {
        let Some((name, object)) = self.by_name.get_key_value(name) else {
            return false;
        };
        let name = Arc::clone(name);
        let is_meant = |member: &Member| member.record.origin.is_holder(holder);
        let meant = object.members.iter().find(|(_, member)| is_meant(member));
        let Some((&place, member)) = meant else {
            return false;
        };
        if object.holder == Some(place) && member.record.fence == Some(fence) {
            return true;
        }
        self.withdraw(&name);
        if let Some(object) = self.by_name.get_mut(&name) {
            object.holder = Some(place);
        }
        if let Some(shared) = &mut self.shared {
            shared.granted.insert(Arc::clone(&name));
        }
        if let Some((record, _)) = self.set_fence(&name, place, Some(fence)) {
            self.log_change(&name, place, record, None);
        }
        true
    }

    /// Withdraws a name from its holder, where the name store grants names.
    pub(super) fn withdraw(&mut self, name: &str) {
        let granted = self.shared.as_ref();
        let Some(name) = granted.and_then(|shared| shared.granted.get(name).cloned()) else {
            return;
        };
        let object = self.by_name.get_mut(&name);
        let place = object.and_then(|object| object.holder.take());
        if let Some(place) = place
            && let Some((_, before)) = self.set_fence(&name, place, None)
        {
            self.log_change(&name, place, before, Some(Departure::Replaced));
        }
        self.elect(&name);
    }

    pub(super) fn withdraw_all(&mut self) {
        let shared = self.shared.as_ref();
        let granted = shared.map_or_else(BTreeSet::new, |shared| shared.granted.clone());
        for name in granted {
            self.withdraw(&name);
        }
    }

    /// Sets or removes a fence. Returns the record after and before.
    fn set_fence(
        &mut self,
        name: &str,
        place: u64,
        fence: Option<u64>,
    ) -> Option<(Arc<InstanceRecord>, Arc<InstanceRecord>)> {
        let member = self.by_name.get_mut(name)?.members.get_mut(&place)?;
        let after = Arc::new(InstanceRecord {
            fence,
            ..InstanceRecord::clone(&member.record)
        });
        let before = mem::replace(&mut member.record, Arc::clone(&after));
        Some((after, before))
    }

    fn is_visible(&self, name: &str, place: u64) -> bool {
        self.get(name)
            .is_some_and(|object| object.is_visible(place))
    }

    /// Logs a change that was made.
    fn log_change(
        &mut self,
        name: &Arc<str>,
        place: u64,
        record: Arc<InstanceRecord>,
        departure: Option<Departure>,
    ) {
        let Some(object) = self.by_name.get_mut(name) else {
            return;
        };
        let previous = mem::replace(&mut object.last, self.log.revision() + 1);
        self.changed.insert(Arc::clone(name));
        let fell_out = self.log.push(ChangeEntry {
            object: Arc::clone(name),
            previous,
            member_id: place,
            record,
            departure,
        });
        if let Some((revision, entry)) = fell_out {
            self.drop_if_forgotten(&entry.object, revision);
        }
    }

    /// Drops an object without members once its last change is no longer kept. Until then the object stays,
    /// so that a watcher still learns of the removal.
    fn drop_if_forgotten(&mut self, name: &str, revision: u64) {
        let over = self
            .get(name)
            .is_some_and(|object| object.members.is_empty() && object.last == revision);
        if over {
            self.by_name.remove(name);
            self.forgotten = revision;
        }
    }
}
