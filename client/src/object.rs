//! A watched object: its live instances, kept up to date by a watch at every name server.

use crate::{
    backoff::Backoff,
    balance::Balancer,
    connector::Connector,
    deadline::context_within,
    error::CallError,
    instance::ObjectInstance,
    membership::{InstanceKey, Membership, MembershipChange},
    nameserver::NameServerClient,
    nameservers::ClientNameServers,
    problem::Problem,
};
use arc_swap::ArcSwap;
use pyroxene_common::interfaces::directory::{Cursor, Departure, DirectoryError, InstanceState};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

/// The timeout of a long poll: without a change the name server answers after this time.
const LONG_POLL: Duration = Duration::from_secs(25);

/// The additional time for the network in a long poll.
const SLACK: Duration = Duration::from_secs(5);

const RECONNECT: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// The live instances of one object with the response type `R`.
pub(crate) struct WatchedObject<R> {
    pub(crate) name: String,
    pub(crate) balancer: Balancer,
    instances: ArcSwap<Vec<Arc<ObjectInstance<R>>>>,
    membership: Mutex<Membership>,
    /// Why a name server refused the watch because of the client's identity.
    refusal: Mutex<Option<WatchRefusal>>,
    /// The live instances that are not called, because they have another interface.
    skipped: Mutex<Vec<SkippedInstance>>,
    connector: Arc<Connector>,
    /// Counts the updates. It wakes callers that wait for an instance.
    updates: watch::Sender<u64>,
}

impl<R> fmt::Debug for WatchedObject<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("name", &self.name)
            .field("instances", &self.instances.load())
            .finish_non_exhaustive()
    }
}

/// A live instance that is not called, because it has another interface, or another version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SkippedInstance {
    /// The name of its worker, or its endpoint if it has no name.
    pub(crate) worker: String,
    pub(crate) tags: Vec<String>,
    /// The interface and version that it has, in words.
    pub(crate) reason: String,
}

/// Why a name server refuses this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchRefusal {
    pub(crate) message: String,
    pub(crate) problem: Option<Problem>,
}

/// Whether an object has live instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// There are live instances.
    Some,
    /// No reachable name server lists an instance.
    NotHosted,
    /// All instances have another interface, as this sentence says.
    OtherInterface(String),
    /// No name server is reachable.
    NoNameServerReachable,
    /// No name server is in contact, but one of them was silent or closed the connection: it may answer soon.
    NoNameServerAnswers,
    /// No name server is reachable, and one of them refuses this client.
    Refused(WatchRefusal),
    /// Not every name server has answered yet, or the last instance is missing.
    Undecided,
}

impl<R: Send + Sync + 'static> WatchedObject<R> {
    pub(crate) fn new(name: &str, nameservers: usize, connector: Arc<Connector>) -> Self {
        Self {
            name: name.to_owned(),
            balancer: Balancer::new(),
            instances: ArcSwap::default(),
            membership: Mutex::new(Membership::new(nameservers)),
            refusal: Mutex::default(),
            skipped: Mutex::default(),
            connector,
            updates: watch::Sender::new(0),
        }
    }

    pub(crate) fn instances(&self) -> arc_swap::Guard<Arc<Vec<Arc<ObjectInstance<R>>>>> {
        self.instances.load()
    }

    pub(crate) fn updates(&self) -> watch::Receiver<u64> {
        self.updates.subscribe()
    }

    fn membership(&self) -> MutexGuard<'_, Membership> {
        // The data stays valid even if a lock holder panicked.
        self.membership
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self) -> MutexGuard<'_, Option<WatchRefusal>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn availability(&self) -> Availability {
        if !self.instances.load().is_empty() {
            return Availability::Some;
        }
        let membership = self.membership();
        // An update changes both under this lock, and may have happened since the first check.
        if !self.instances.load().is_empty() {
            return Availability::Some;
        }
        match (
            membership.is_conclusive(Instant::now()),
            membership.in_contact(),
        ) {
            (false, _) => Availability::Undecided,
            (true, true) => self.nothing_to_call(),
            (true, false) => match self.refusal().clone() {
                Some(refusal) => Availability::Refused(refusal),
                None if membership.may_answer() => Availability::NoNameServerAnswers,
                None => Availability::NoNameServerReachable,
            },
        }
    }

    /// Whether any name server is in contact.
    pub(crate) fn in_contact(&self) -> bool {
        self.membership().in_contact()
    }

    /// Whether it has instances that cannot be listed again now, because no name server is in contact.
    pub(crate) fn has_last_known_instances(&self) -> bool {
        !self.instances.load().is_empty() && !self.in_contact()
    }

    /// Whether a name server that knows every live worker lists no instance. Other name servers may not
    /// have answered yet.
    pub(crate) fn is_probably_not_hosted(&self) -> bool {
        let membership = self.membership();
        let is_empty = self.instances.load().is_empty();
        is_empty && membership.is_settled() && !membership.is_missing(Instant::now())
    }

    /// Why there is no instance to call, as far as name servers know.
    pub(crate) fn nothing_to_call(&self) -> Availability {
        match self.skipped().first() {
            Some(skipped) => Availability::OtherInterface(skipped.reason.clone()),
            None => Availability::NotHosted,
        }
    }

    /// The live instances that are not called, because they have another interface.
    pub(crate) fn skipped(&self) -> MutexGuard<'_, Vec<SkippedInstance>> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a name server in contact knows every live worker.
    pub(crate) fn knows_all_instances(&self) -> bool {
        self.membership().is_settled()
    }

    /// Whether the last instance disappeared recently and may come back.
    pub(crate) fn is_missing(&self) -> bool {
        self.membership().is_missing(Instant::now())
    }

    /// Changes the membership, and updates the list from which calls pick an instance.
    fn update(&self, change: impl FnOnce(&mut Membership, Instant) -> MembershipChange) {
        let mut membership = self.membership();
        let difference = change(&mut membership, Instant::now());
        let known = self.instances.load_full();
        let known: HashMap<&InstanceKey, &Arc<ObjectInstance<R>>> = known
            .iter()
            .map(|instance| (&instance.key, instance))
            .collect();
        for (key, why) in &difference.gone {
            tracing::info!(
                object = self.name,
                worker = key.worker,
                ?why,
                "instance gone"
            );
            if *why == Departure::Expired
                && let Some(instance) = known.get(key)
            {
                instance.suspect();
            }
        }
        if difference.changed {
            let spoken = &self.connector.spoken;
            let mut skipped = Vec::new();
            let mut instances = Vec::new();
            for listed in membership.instances() {
                let Some(version) = spoken.version_for(listed) else {
                    if listed.state == InstanceState::Ready {
                        skipped.push(SkippedInstance {
                            worker: listed.name().to_owned(),
                            tags: listed.tags.clone(),
                            reason: spoken.mismatch(&self.name, listed),
                        });
                    }
                    continue;
                };
                instances.push(match known.get(&InstanceKey::of(listed)) {
                    Some(instance) if instance.version == version => {
                        instance.update(listed);
                        Arc::clone(instance)
                    }
                    _ => {
                        let connector = Arc::clone(&self.connector);
                        Arc::new(ObjectInstance::new(listed, version, connector))
                    }
                });
            }
            *self.skipped() = skipped;
            self.instances.store(Arc::new(instances));
        }
        drop(membership);
        self.updates.send_modify(|count| *count += 1);
    }

    /// Watches an object at every name server while this future is polled and the object exists.
    pub(crate) async fn follow_all(watched: Weak<Self>, nameservers: Arc<ClientNameServers>) {
        let mut changes = nameservers.changes();
        let mut following = HashMap::new();
        loop {
            let known: BTreeMap<usize, NameServerClient> =
                nameservers.numbered().into_iter().collect();
            let Some(object) = watched.upgrade() else {
                return;
            };
            following.retain(|number, _| {
                let is_known = known.contains_key(number);
                if !is_known {
                    object.update(|membership, now| membership.forget(*number, now));
                }
                is_known
            });
            for (number, nameserver) in known {
                following.entry(number).or_insert_with(|| {
                    object.membership().add(number);
                    let following = Self::follow(Weak::clone(&watched), number, nameserver);
                    AbortOnDropHandle::new(tokio::spawn(following))
                });
            }
            drop(object);
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Watches an object at one name server.
    async fn follow(watched: Weak<Self>, index: usize, nameserver: NameServerClient) {
        let mut failures = 0;
        let wait_ms = u64::try_from(LONG_POLL.as_millis()).unwrap_or(u64::MAX);
        loop {
            let position = |object: Arc<Self>| (object.name.clone(), object.cursor(index));
            let Some((name, cursor)) = watched.upgrade().map(position) else {
                return;
            };
            let context = context_within(LONG_POLL + SLACK);
            let answer = nameserver.watch(context, name, cursor, wait_ms).await;
            let Some(object) = watched.upgrade() else {
                return;
            };
            match answer {
                Ok(Ok(response)) => {
                    failures = 0;
                    *object.refusal() = None;
                    object.update(|membership, now| membership.apply_watch(index, response, now));
                    continue;
                }
                Ok(Err(DirectoryError::TooOld)) if failures == 0 => {
                    object.membership().start_over(index);
                }
                Ok(Err(error)) => {
                    tracing::debug!(object = object.name, %error, "watch refused");
                    object.update(|membership, now| membership.watch_lost(index, false, now));
                }
                Err(error) => {
                    tracing::debug!(object = object.name, %error, "watch lost");
                    let may_answer = error.may_be_answered_later();
                    *object.refusal() = refused(&error);
                    object.update(|membership, now| membership.watch_lost(index, may_answer, now));
                }
            }
            // Nobody may hold the object meanwhile.
            drop(object);
            let wait = RECONNECT.wait(failures, rand::random());
            failures += 1;
            sleep(wait).await;
        }
    }

    fn cursor(&self, nameserver: usize) -> Option<Cursor> {
        self.membership().cursor(nameserver)
    }
}

/// Why a name server refuses this client, if it does.
fn refused(error: &CallError) -> Option<WatchRefusal> {
    matches!(error, CallError::Refused(_)).then(|| WatchRefusal {
        message: error.last_reason(),
        problem: error.problem(),
    })
}

#[cfg(test)]
impl<R: Send + Sync + 'static> WatchedObject<R> {
    /// A name server lists an instance.
    pub(crate) fn list_one_instance(&self) {
        self.update(|membership, now| {
            membership.add(0);
            membership.apply_watch(0, tests::one_instance(), now)
        });
    }

    /// That name server is lost.
    pub(crate) fn lose_contact(&self) {
        self.update(|membership, now| membership.watch_lost(0, false, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClientConfig;
    use pyroxene_common::{
        interfaces::directory::{Instance as Listed, WatchResponse, WatchUpdate},
        message::Load,
    };
    use pyroxene_objects::interfaces::echo::Echo;
    use std::thread;

    pub(super) fn one_instance() -> WatchResponse {
        let instance = Listed {
            worker: "w1".to_owned(),
            incarnation: 1,
            key: None,
            endpoint: "w1:1".to_owned(),
            target: "echo".to_owned(),
            interface: "pyroxene.Echo".to_owned(),
            version: 1,
            spoken: Vec::new(),
            state: InstanceState::Ready,
            tags: Vec::new(),
            fence: None,
            load: Load::default(),
        };
        WatchResponse {
            cursor: Cursor {
                epoch: 1,
                revision: 1,
            },
            settled: true,
            news: WatchUpdate::Snapshot(vec![instance]),
        }
    }

    #[test]
    fn nobody_sees_an_object_without_instances_while_the_first_ones_arrive() {
        let config = ClientConfig::without_nameservers();
        let greeting = Arc::new(Connector::new::<Echo>(&config, None));
        for _ in 0..10_000 {
            let object = WatchedObject::<()>::new("echo", 1, Arc::clone(&greeting));
            thread::scope(|scope| {
                let looking = scope.spawn(|| {
                    loop {
                        match object.availability() {
                            Availability::Undecided => std::hint::spin_loop(),
                            known => return known,
                        }
                    }
                });
                object.update(|membership, now| membership.apply_watch(0, one_instance(), now));
                assert_eq!(looking.join().unwrap(), Availability::Some);
            });
        }
    }
}
