//! The live instances of an object, computed from the lists of several name servers.
//!
//! A pure state machine: name servers are numbers, and their answers are passed in.
//!
//! The rule: an instance is live if any name server in contact lists it. A name server that has just
//! started does not know all live workers yet. Until it is settled, its list adds instances but removes
//! none. While no name server is in contact, the last list remains valid: the cached set outlives every
//! name server.
//!
//! If the last instance disappears without having announced it, the set counts as missing, not as empty,
//! for a while: a name server that was cut off reports the leases that expired meanwhile before the
//! workers, which are alive, have registered with it again.

use pyroxene_common::{
    identity::HolderId,
    interfaces::directory::{
        Cursor, Departure, Instance, InstanceChange, InstanceState, WatchResponse, WatchUpdate,
    },
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// How long a set counts as incomplete after its last instance disappeared without an announcement. A
/// name server that has just started waits as long for workers to register again.
const MISSING_GRACE: Duration = Duration::from_secs(4);

/// The identity of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// The worker's name.
    pub worker: String,
    /// The worker's incarnation.
    pub incarnation: u64,
    /// The worker's endpoint.
    pub endpoint: String,
    /// The worker's key. If name servers know different keys, they know different workers: one of these
    /// may falsely claim the endpoint.
    pub key: Option<HolderId>,
}

impl InstanceKey {
    /// The key of an instance.
    pub fn of(instance: &Instance) -> Self {
        Self {
            worker: instance.worker.clone(),
            incarnation: instance.incarnation,
            endpoint: instance.endpoint.clone(),
            key: instance.key,
        }
    }
}

/// One name server's view of an object.
#[derive(Clone, Debug, Default)]
struct NameServerView {
    /// Where the next watch continues. `Some` while the name server is in contact.
    cursor: Option<Cursor>,
    /// Whether the view is complete.
    settled: bool,
    /// Whether the name server was unreachable since the last contact. It is also true for a discovered
    /// name server that has not answered yet, so that no caller waits for it.
    unreachable: bool,
    /// Whether the name server was silent, busy or gone only just now when the last watch was lost. Then it is
    /// worth waiting for, if no other name server is in contact.
    may_answer: bool,
    instances: BTreeMap<InstanceKey, Instance>,
}

/// The views of all name servers, and the set of live instances that results.
#[derive(Clone, Debug)]
pub struct Membership {
    views: BTreeMap<usize, NameServerView>,
    current: BTreeMap<InstanceKey, Instance>,
    /// Why instances left that are in no view any more.
    departures: BTreeMap<InstanceKey, Departure>,
    /// Until when the last instance may come back, if it disappeared without announcing it.
    missing_until: Option<Instant>,
}

/// The change of the set by an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipChange {
    /// Whether the set changed.
    pub changed: bool,
    /// The instances that left, and why.
    pub gone: Vec<(InstanceKey, Departure)>,
}

impl Membership {
    /// An empty set, with this many name servers that have not answered yet.
    pub fn new(nameservers: usize) -> Self {
        Self {
            views: (0..nameservers)
                .map(|nameserver| (nameserver, NameServerView::default()))
                .collect(),
            current: BTreeMap::new(),
            departures: BTreeMap::new(),
            missing_until: None,
        }
    }

    /// Adds a name server. No caller waits for its answer.
    pub fn add(&mut self, nameserver: usize) {
        self.views
            .entry(nameserver)
            .or_insert_with(|| NameServerView {
                unreachable: true,
                ..NameServerView::default()
            });
    }

    /// Removes a name server permanently.
    pub fn forget(&mut self, nameserver: usize, now: Instant) -> MembershipChange {
        self.views.remove(&nameserver);
        self.recompute(now)
    }

    /// The live instances.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.current.values()
    }

    /// Where a name server's watch continues.
    pub fn cursor(&self, nameserver: usize) -> Option<Cursor> {
        self.views.get(&nameserver).and_then(|view| view.cursor)
    }

    /// Whether every name server has answered or is unreachable, and no instance is missing. Then an empty
    /// set means that no worker hosts the object.
    pub fn is_conclusive(&self, now: Instant) -> bool {
        if self.is_missing(now) {
            return false;
        }
        self.views
            .values()
            .all(|view| view.unreachable || (view.cursor.is_some() && view.settled))
    }

    /// Whether the last instance disappeared recently without announcing it.
    pub fn is_missing(&self, now: Instant) -> bool {
        self.missing_until.is_some_and(|until| now < until)
    }

    /// Whether a name server that knows every live worker is in contact.
    pub fn is_settled(&self) -> bool {
        self.views
            .values()
            .any(|view| view.cursor.is_some() && view.settled)
    }

    /// Whether a name server that is not in contact may answer soon.
    pub fn may_answer(&self) -> bool {
        self.views.values().any(|view| view.may_answer)
    }

    /// Whether any name server is in contact.
    pub fn in_contact(&self) -> bool {
        self.views.values().any(|view| view.cursor.is_some())
    }

    /// Applies the answer of a name server.
    pub fn apply_watch(
        &mut self,
        nameserver: usize,
        watched: WatchResponse,
        now: Instant,
    ) -> MembershipChange {
        let Some(view) = self.views.get_mut(&nameserver) else {
            return MembershipChange::default();
        };
        view.unreachable = false;
        view.may_answer = false;
        view.cursor = Some(watched.cursor);
        view.settled = watched.settled;
        match watched.news {
            WatchUpdate::Snapshot(instances) => {
                view.instances = instances
                    .into_iter()
                    .map(|instance| (InstanceKey::of(&instance), instance))
                    .collect();
            }
            WatchUpdate::Changes(changes) => {
                for change in changes {
                    apply(&mut view.instances, &mut self.departures, change);
                }
            }
        }
        self.recompute(now)
    }

    /// Records that the watch at a name server failed. Its cursor may still be valid there. `may_answer` says
    /// whether the name server may answer soon.
    pub fn watch_lost(
        &mut self,
        nameserver: usize,
        may_answer: bool,
        now: Instant,
    ) -> MembershipChange {
        if let Some(view) = self.views.get_mut(&nameserver) {
            view.cursor = None;
            view.unreachable = true;
            view.may_answer = may_answer;
        }
        // If no settled name server remains, the set keeps the instances that only the lost one listed.
        self.recompute(now)
    }

    /// Records that a name server requires a new watch from the beginning.
    pub fn start_over(&mut self, nameserver: usize) {
        if let Some(view) = self.views.get_mut(&nameserver) {
            view.cursor = None;
        }
    }

    fn recompute(&mut self, now: Instant) -> MembershipChange {
        let mut next = BTreeMap::new();
        if !self.is_settled() {
            // No complete list shows that an instance is gone. Only explicit departures count.
            next.extend(
                self.current
                    .iter()
                    .filter(|(key, _)| !self.departures.contains_key(*key))
                    .map(|(key, instance)| (key.clone(), instance.clone())),
            );
        }
        for view in self.views.values().filter(|view| view.cursor.is_some()) {
            for (key, instance) in &view.instances {
                next.entry(key.clone())
                    .and_modify(|known: &mut Instance| merge(known, instance))
                    .or_insert_with(|| instance.clone());
            }
        }
        let left = self.current.keys().filter(|key| !next.contains_key(*key));
        let left: Vec<_> = left
            .map(|key| (key.clone(), self.departures.get(key).copied()))
            .collect();
        if !next.is_empty() {
            self.missing_until = None;
        } else if !left.is_empty() {
            let missed = |why: &Option<Departure>| matches!(why, None | Some(Departure::Expired));
            let is_missed = left.iter().any(|(_, why)| missed(why));
            self.missing_until = is_missed.then(|| now + MISSING_GRACE);
        }
        // A snapshot gives no reason. Calls in flight end early only for an explicit reason; otherwise
        // the pings of the connection detect whether the worker is dead.
        let gone = left
            .into_iter()
            .map(|(key, why)| (key, why.unwrap_or(Departure::Closed)))
            .collect();
        self.departures.clear();
        let changed = next != self.current;
        self.current = next;
        MembershipChange { changed, gone }
    }
}

/// Merges the entries of two name servers for an instance: it drains if either of them says so.
fn merge(known: &mut Instance, other: &Instance) {
    if other.state == InstanceState::Draining {
        known.state = InstanceState::Draining;
    }
}

fn apply(
    instances: &mut BTreeMap<InstanceKey, Instance>,
    departures: &mut BTreeMap<InstanceKey, Departure>,
    change: InstanceChange,
) {
    match change {
        InstanceChange::Put(instance) => {
            let key = InstanceKey::of(&instance);
            departures.remove(&key);
            instances.insert(key, instance);
        }
        InstanceChange::Removed {
            worker,
            incarnation,
            key,
            endpoint,
            reason,
        } => {
            let key = InstanceKey {
                worker,
                incarnation,
                endpoint,
                key,
            };
            instances.remove(&key);
            departures.insert(key, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::{identity::HolderKey, message::Load};

    fn instance(worker: &str) -> Instance {
        Instance {
            worker: worker.to_owned(),
            incarnation: 1,
            key: None,
            endpoint: format!("{worker}:1"),
            target: "o".into(),
            interface: "I".into(),
            version: 1,
            spoken: Vec::new(),
            state: InstanceState::Ready,
            tags: Vec::new(),
            fence: None,
            load: Load::default(),
        }
    }

    fn snapshot(epoch: u64, settled: bool, workers: &[&str]) -> WatchResponse {
        WatchResponse {
            cursor: Cursor { epoch, revision: 1 },
            settled,
            news: WatchUpdate::Snapshot(workers.iter().map(|worker| instance(worker)).collect()),
        }
    }

    fn removed(worker: &str, reason: Departure) -> WatchResponse {
        let InstanceKey {
            worker,
            incarnation,
            endpoint,
            key,
        } = InstanceKey::of(&instance(worker));
        WatchResponse {
            cursor: Cursor {
                epoch: 1,
                revision: 2,
            },
            settled: true,
            news: WatchUpdate::Changes(vec![InstanceChange::Removed {
                worker,
                incarnation,
                key,
                endpoint,
                reason,
            }]),
        }
    }

    fn workers(membership: &Membership) -> Vec<&str> {
        membership
            .instances()
            .map(|instance| instance.worker.as_str())
            .collect()
    }

    #[test]
    fn the_set_outlives_the_only_name_server_and_its_restart() {
        let now = Instant::now();
        let mut membership = Membership::new(1);
        assert!(!membership.is_conclusive(now));
        membership.apply_watch(0, snapshot(1, true, &["a", "b"]), now);
        assert!(membership.is_conclusive(now));
        assert!(!membership.watch_lost(0, false, now).changed);
        assert_eq!(workers(&membership), ["a", "b"]);
        // The name server is back and knows no worker yet.
        assert!(
            !membership
                .apply_watch(0, snapshot(2, false, &[]), now)
                .changed
        );
        assert!(
            membership
                .apply_watch(0, snapshot(2, false, &["c"]), now)
                .changed
        );
        assert_eq!(workers(&membership), ["a", "b", "c"]);
        // The name server is settled now: if `a` were alive, it would list it.
        let difference = membership.apply_watch(0, snapshot(2, true, &["b", "c"]), now);
        assert_eq!(difference.gone.len(), 1);
        assert_eq!(workers(&membership), ["b", "c"]);
    }

    #[test]
    fn whoever_says_that_it_is_reached_where_another_worker_is_does_not_stand_in_for_it() {
        let now = Instant::now();
        let key = || Some(HolderKey::generate().unwrap().id());
        let (of_a, of_other) = (key(), key());
        let listing = |key| WatchResponse {
            news: WatchUpdate::Snapshot(vec![Instance {
                key,
                ..instance("a")
            }]),
            ..snapshot(1, true, &[])
        };
        let mut membership = Membership::new(2);
        membership.apply_watch(0, listing(of_other), now);
        membership.apply_watch(1, listing(of_a), now);
        let keys: Vec<_> = membership.instances().map(|listed| listed.key).collect();
        assert!(keys.contains(&of_a) && keys.contains(&of_other), "{keys:?}");
        membership.apply_watch(0, snapshot(1, true, &[]), now);
        let keys: Vec<_> = membership.instances().map(|listed| listed.key).collect();
        assert_eq!(keys, [of_a]);
    }

    #[test]
    fn an_instance_stays_while_any_name_server_in_contact_lists_it() {
        let now = Instant::now();
        let mut membership = Membership::new(2);
        membership.apply_watch(0, snapshot(1, true, &["a"]), now);
        membership.apply_watch(1, snapshot(7, true, &["a", "b"]), now);
        assert_eq!(workers(&membership), ["a", "b"]);
        let difference = membership.apply_watch(0, removed("a", Departure::Expired), now);
        assert_eq!(difference, MembershipChange::default());
        // The other one is lost: only the view of the first one counts.
        let difference = membership.watch_lost(1, false, now);
        assert_eq!(difference.gone.len(), 2);
        assert!(workers(&membership).is_empty());
    }

    #[test]
    fn a_departure_keeps_its_reason() {
        let now = Instant::now();
        for reason in [Departure::Closed, Departure::Expired] {
            let mut membership = Membership::new(1);
            membership.apply_watch(0, snapshot(1, true, &["a", "b"]), now);
            let difference = membership.apply_watch(0, removed("a", reason), now);
            assert_eq!(difference.gone.len(), 1);
            assert_eq!(difference.gone[0].1, reason);
            assert_eq!(workers(&membership), ["b"]);
        }
    }

    #[test]
    fn an_unsettled_name_server_can_still_tell_of_a_departure_by_name() {
        let now = Instant::now();
        let mut membership = Membership::new(1);
        membership.apply_watch(0, snapshot(1, false, &["a", "b"]), now);
        let mut news = removed("a", Departure::Closed);
        news.settled = false;
        membership.apply_watch(0, news, now);
        assert_eq!(workers(&membership), ["b"]);
    }

    #[test]
    fn a_name_server_that_was_found_adds_instances_and_is_not_waited_for() {
        let now = Instant::now();
        let mut membership = Membership::new(1);
        membership.apply_watch(0, snapshot(1, true, &["a"]), now);
        membership.add(7);
        assert!(membership.is_conclusive(now));
        membership.apply_watch(7, snapshot(2, true, &["a", "b"]), now);
        assert_eq!(workers(&membership), ["a", "b"]);
        let difference = membership.forget(7, now);
        assert_eq!(difference.gone.len(), 1);
        assert_eq!(workers(&membership), ["a"]);
        assert_eq!(
            membership.apply_watch(7, snapshot(2, true, &["c"]), now),
            MembershipChange::default()
        );
    }

    #[test]
    fn the_set_outlives_a_name_server_that_was_found_too() {
        let now = Instant::now();
        let mut membership = Membership::new(1);
        membership.watch_lost(0, false, now);
        membership.add(7);
        membership.apply_watch(7, snapshot(2, true, &["a"]), now);
        assert!(!membership.forget(7, now).changed);
        assert_eq!(workers(&membership), ["a"]);
    }

    #[test]
    fn the_last_instance_is_missed_for_a_while_unless_it_said_that_it_goes() {
        let now = Instant::now();
        let empty = |reason: Option<Departure>| {
            let mut membership = Membership::new(1);
            membership.apply_watch(0, snapshot(1, true, &["a"]), now);
            let news = match reason {
                Some(reason) => removed("a", reason),
                None => snapshot(1, true, &[]),
            };
            assert_eq!(membership.apply_watch(0, news, now).gone.len(), 1);
            membership
        };
        for orderly in [Departure::Closed, Departure::Replaced] {
            assert!(empty(Some(orderly)).is_conclusive(now), "{orderly:?}");
        }
        for doubtful in [Some(Departure::Expired), None] {
            let mut membership = empty(doubtful);
            assert!(!membership.is_conclusive(now + MISSING_GRACE / 2));
            // A further empty answer does not restart the period.
            membership.apply_watch(0, snapshot(1, true, &[]), now + MISSING_GRACE / 2);
            assert!(membership.is_conclusive(now + MISSING_GRACE));
        }
        let mut membership = empty(None);
        membership.apply_watch(0, snapshot(1, true, &["a"]), now);
        membership.apply_watch(0, removed("a", Departure::Closed), now);
        assert!(membership.is_conclusive(now), "it was there once more");
    }
}
