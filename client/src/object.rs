//! A watched object: its live instances, kept up to date by a watch at every name server.

use crate::{
    backoff::Backoff,
    balance::Balancer,
    connect::Greeting,
    error::CallError,
    instance::Instance,
    membership::{Difference, InstanceKey, Membership},
    nameserver::NameServer,
    nameservers::NameServers,
};
use arc_swap::ArcSwap;
use pyroxene_common::interfaces::directory::{Departure, DirectoryError, Watched};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tarpc::context;
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
pub(crate) struct Object<R> {
    pub(crate) name: String,
    pub(crate) balancer: Balancer,
    instances: ArcSwap<Vec<Arc<Instance<R>>>>,
    membership: Mutex<Membership>,
    /// The message of a name server that refused the watch because of the client's identity.
    refusal: Mutex<Option<String>>,
    greeting: Arc<Greeting>,
    /// Counts the updates. It wakes callers that wait for an instance.
    updates: watch::Sender<u64>,
}

impl<R> fmt::Debug for Object<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("name", &self.name)
            .field("instances", &self.instances.load())
            .finish_non_exhaustive()
    }
}

/// Whether an object has live instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// There are live instances.
    Some,
    /// No reachable name server lists an instance.
    None,
    /// No name server is reachable.
    NobodyToAsk,
    /// No name server is reachable, and one of them refuses this client, with this message.
    Refused(String),
    /// Not every name server has answered yet, or the last instance is missing.
    NotYet,
}

impl<R: Send + Sync + 'static> Object<R> {
    pub(crate) fn new(
        name: &str,
        balancer: Balancer,
        nameservers: usize,
        greeting: Arc<Greeting>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            balancer,
            instances: ArcSwap::default(),
            membership: Mutex::new(Membership::new(nameservers)),
            refusal: Mutex::default(),
            greeting,
            updates: watch::Sender::new(0),
        }
    }

    pub(crate) fn instances(&self) -> arc_swap::Guard<Arc<Vec<Arc<Instance<R>>>>> {
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

    fn refusal(&self) -> MutexGuard<'_, Option<String>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known(&self) -> Known {
        if !self.instances.load().is_empty() {
            return Known::Some;
        }
        let membership = self.membership();
        // An update changes both under this lock, and may have happened since the first check.
        if !self.instances.load().is_empty() {
            return Known::Some;
        }
        match (
            membership.is_conclusive(Instant::now()),
            membership.in_contact(),
        ) {
            (false, _) => Known::NotYet,
            (true, true) => Known::None,
            (true, false) => match self.refusal().clone() {
                Some(sentence) => Known::Refused(sentence),
                None => Known::NobodyToAsk,
            },
        }
    }

    /// Whether any name server is in contact.
    pub(crate) fn in_contact(&self) -> bool {
        self.membership().in_contact()
    }

    /// Whether a name server that knows every live worker lists no instance. Other name servers may not
    /// have answered yet.
    pub(crate) fn is_probably_absent(&self) -> bool {
        let membership = self.membership();
        let is_empty = self.instances.load().is_empty();
        is_empty && membership.is_settled() && !membership.is_missed(Instant::now())
    }

    /// Whether the last instance disappeared recently and may come back.
    pub(crate) fn is_missed(&self) -> bool {
        self.membership().is_missed(Instant::now())
    }

    /// Changes the membership, and updates the list from which calls pick an instance.
    fn update(&self, change: impl FnOnce(&mut Membership, Instant) -> Difference) {
        let mut membership = self.membership();
        let difference = change(&mut membership, Instant::now());
        let known = self.instances.load_full();
        let known: HashMap<&InstanceKey, &Arc<Instance<R>>> = known
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
                instance.doubt();
            }
        }
        if difference.changed {
            let instances = membership
                .instances()
                .map(|listed| match known.get(&InstanceKey::of(listed)) {
                    Some(instance) => {
                        instance.update(listed);
                        Arc::clone(instance)
                    }
                    None => Arc::new(Instance::new(listed, Arc::clone(&self.greeting))),
                })
                .collect();
            self.instances.store(Arc::new(instances));
        }
        drop(membership);
        self.updates.send_modify(|count| *count += 1);
    }

    /// Watches the object at every name server while this future is polled.
    pub(crate) async fn follow_all(self: Arc<Self>, nameservers: Arc<NameServers>) {
        let mut changes = nameservers.changes();
        let mut following = HashMap::new();
        loop {
            let known: BTreeMap<usize, NameServer> = nameservers.numbered().into_iter().collect();
            following.retain(|number, _| {
                let is_known = known.contains_key(number);
                if !is_known {
                    self.update(|membership, now| membership.forget(*number, now));
                }
                is_known
            });
            for (number, nameserver) in known {
                following.entry(number).or_insert_with(|| {
                    self.membership().add(number);
                    let following = Arc::clone(&self).follow(number, nameserver);
                    AbortOnDropHandle::new(tokio::spawn(following))
                });
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Watches the object at one name server.
    async fn follow(self: Arc<Self>, index: usize, nameserver: NameServer) {
        let mut failures = 0;
        loop {
            match self.watch_once(index, &nameserver).await {
                Ok(Ok(watched)) => {
                    failures = 0;
                    *self.refusal() = None;
                    self.update(|membership, now| membership.heard(index, watched, now));
                    continue;
                }
                Ok(Err(DirectoryError::TooOld)) if failures == 0 => {
                    self.membership().start_over(index);
                }
                Ok(Err(error)) => {
                    tracing::debug!(object = self.name, %error, "watch refused");
                    self.update(|membership, now| membership.lost(index, now));
                }
                Err(error) => {
                    tracing::debug!(object = self.name, %error, "watch lost");
                    *self.refusal() = refused(CallError::from(error));
                    self.update(|membership, now| membership.lost(index, now));
                }
            }
            let wait = RECONNECT.wait(failures, rand::random());
            failures += 1;
            sleep(wait).await;
        }
    }

    async fn watch_once(
        &self,
        index: usize,
        nameserver: &NameServer,
    ) -> Result<Result<Watched, DirectoryError>, tarpc::client::RpcError> {
        let cursor = self.membership().cursor(index);
        let mut context = context::current();
        context.deadline = (Instant::now() + LONG_POLL + SLACK).into_std();
        let wait = u64::try_from(LONG_POLL.as_millis()).unwrap_or(u64::MAX);
        nameserver
            .directory()
            .watch(context, self.name.clone(), cursor, wait)
            .await
    }
}

/// The message of a name server that refuses this client.
fn refused(error: CallError) -> Option<String> {
    matches!(error, CallError::Refused(_)).then(|| error.last_reason())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClientConfig;
    use pyroxene_common::interfaces::directory::{Cursor, Instance as Listed, Load, News, State};
    use pyroxene_objects::interfaces::echo::Echo;
    use std::thread;

    fn one_instance() -> Watched {
        let instance = Listed {
            worker: "w1".to_owned(),
            incarnation: 1,
            key: None,
            endpoint: "w1:1".to_owned(),
            target: "echo".to_owned(),
            interface: "pyroxene.Echo".to_owned(),
            version: 1,
            state: State::Ready,
            tags: Vec::new(),
            fence: None,
            load: Load::default(),
        };
        Watched {
            cursor: Cursor {
                epoch: 1,
                revision: 1,
            },
            settled: true,
            news: News::Snapshot(vec![instance]),
        }
    }

    #[test]
    fn nobody_sees_an_object_without_instances_while_the_first_ones_arrive() {
        let config = ClientConfig::without_nameservers();
        let greeting = Arc::new(Greeting::new::<Echo>(&config));
        for _ in 0..10_000 {
            let balancer = Balancer::new(config.policy);
            let object = Object::<()>::new("echo", balancer, 1, Arc::clone(&greeting));
            thread::scope(|scope| {
                let looking = scope.spawn(|| {
                    loop {
                        match object.known() {
                            Known::NotYet => std::hint::spin_loop(),
                            known => return known,
                        }
                    }
                });
                object.update(|membership, now| membership.heard(0, one_instance(), now));
                assert_eq!(looking.join().unwrap(), Known::Some);
            });
        }
    }
}
