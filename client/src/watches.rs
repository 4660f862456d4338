//! The objects that a client watches. One that nobody has asked for in a minute is unwatched, unless a proxy holds
//! it, or its instances cannot be listed again now.

use crate::{connector::Connector, nameservers::ClientNameServers, object::WatchedObject};
use pyroxene_common::interface::Interface;
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// How long an object that is not in use stays watched.
const UNUSED_FOR: Duration = Duration::from_secs(60);

/// How often objects that are not in use are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// The maximum number of objects that are watched without being in use. Objects whose instances no name server can
/// list again now are not counted: while none is in contact, their number does not grow.
const MAX_UNUSED: usize = 256;

/// The watched objects of a client.
#[derive(Default)]
pub(crate) struct Watches(Mutex<WatchesByName>);

/// The watches by name and interface. Several versions of an interface, which have the same name, are several types.
#[derive(Default)]
struct WatchesByName {
    watches: HashMap<(String, TypeId), Watch>,
    /// Whether the sweeps have started.
    is_swept: bool,
}

struct Watch {
    /// A [`WatchedObject`] of the interface's response type. Proxies hold clones.
    object: Arc<dyn Any + Send + Sync>,
    /// When it was last asked for, or last seen in use.
    used_at: Instant,
    /// See [`WatchedObject::has_last_known_instances`].
    has_last_known_instances: Box<dyn Fn() -> bool + Send>,
    _following: AbortOnDropHandle<()>,
}

impl Watch {
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.object) > 1
    }

    /// Whether it may end, because nobody uses it and its instances can be listed again.
    fn may_end(&self) -> bool {
        !self.is_in_use() && !(self.has_last_known_instances)()
    }
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, WatchesByName> {
        // The data stays valid even if a lock holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object of this name. The first lookup starts to watch it at every name server, until `stop`.
    pub(crate) fn object<I: Interface>(
        self: &Arc<Self>,
        name: &str,
        connector: impl FnOnce() -> Connector,
        nameservers: &Arc<ClientNameServers>,
        stop: &CancellationToken,
    ) -> Arc<WatchedObject<I::Response>> {
        let mut known = self.lock();
        let now = Instant::now();
        if let Some(watch) = known.watches.get_mut(&(name.to_owned(), TypeId::of::<I>()))
            && let Ok(object) = Arc::clone(&watch.object).downcast()
        {
            watch.used_at = now;
            return object;
        }
        if !std::mem::replace(&mut known.is_swept, true) {
            let watches = Arc::clone(self);
            tokio::spawn(stop.clone().run_until_cancelled_owned(watches.sweep()));
        }
        known.make_room();
        let object = Arc::new(WatchedObject::new(
            name,
            nameservers.configured(),
            Arc::new(connector()),
        ));
        nameservers.begin_asking();
        let following = WatchedObject::follow_all(Arc::downgrade(&object), Arc::clone(nameservers));
        let following = stop.clone().run_until_cancelled_owned(following);
        let following = tokio::spawn(async move { following.await.unwrap_or_default() });
        let watched = Arc::downgrade(&object);
        let watch = Watch {
            object: Arc::clone(&object) as _,
            used_at: now,
            has_last_known_instances: Box::new(move || {
                let object = watched.upgrade();
                object.is_some_and(|object| object.has_last_known_instances())
            }),
            _following: AbortOnDropHandle::new(following),
        };
        let key = (name.to_owned(), TypeId::of::<I>());
        known.watches.insert(key, watch);
        object
    }

    /// The number of watched objects.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lock().watches.len()
    }

    async fn sweep(self: Arc<Self>) {
        loop {
            sleep(SWEEP_INTERVAL).await;
            self.lock().sweep(Instant::now());
        }
    }
}

impl WatchesByName {
    /// Ends the watches of objects that were not in use for long enough.
    fn sweep(&mut self, now: Instant) {
        self.watches.retain(|_, watch| {
            if watch.is_in_use() {
                watch.used_at = now;
            }
            now < watch.used_at + UNUSED_FOR || !watch.may_end()
        });
        self.watches.shrink_to_fit();
    }

    /// Ends the older half of the watches that may end, if there are too many.
    fn make_room(&mut self) {
        if self.watches.len() < MAX_UNUSED {
            return;
        }
        let unused = self.watches.values().filter(|watch| watch.may_end());
        let mut times: Vec<Instant> = unused.map(|watch| watch.used_at).collect();
        if times.len() < MAX_UNUSED {
            return;
        }
        times.sort_unstable();
        let oldest_kept = times.get(times.len() / 2).copied();
        self.watches
            .retain(|_, watch| Some(watch.used_at) > oldest_kept || !watch.may_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, ClientConfig};
    use pyroxene_objects::interfaces::echo::Echo;

    #[tokio::test(start_paused = true)]
    async fn objects_that_nobody_asks_for_any_more_are_unwatched() {
        let client = Client::new(ClientConfig::new("127.0.0.1:1").unwrap());
        let held = client.weak_proxy::<Echo>("held");
        for number in 0..10_000 {
            drop(client.weak_proxy::<Echo>(&format!("object {number}")));
        }
        assert!(client.watched_objects() <= MAX_UNUSED + 1);
        sleep(UNUSED_FOR / 2).await;
        client.weak_proxy::<Echo>("asked for again");
        assert!(client.watched_objects() > 1, "they may be asked for again");
        sleep(UNUSED_FOR * 3 / 4).await;
        assert_eq!(client.watched_objects(), 2);
        sleep(UNUSED_FOR + 2 * SWEEP_INTERVAL).await;
        assert_eq!((client.watched_objects(), held.instance_count()), (1, 0));
        let again = client.weak_proxy::<Echo>("held");
        assert_eq!(client.watched_objects(), 1, "{again:?} is the same object");
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_whose_instances_no_name_server_can_list_again_stays_watched() {
        let config = ClientConfig::without_nameservers();
        let stop = CancellationToken::new();
        let nameservers = ClientNameServers::new(&config, stop.clone());
        let watches = Arc::<Watches>::default();
        let look_up = |name: &str| {
            let connector = || Connector::new::<Echo>(&config, None);
            watches.object::<Echo>(name, connector, &nameservers, &stop)
        };
        let hosted = look_up("hosted");
        hosted.list_one_instance();
        hosted.lose_contact();
        drop(hosted);
        for number in 0..10 * MAX_UNUSED {
            drop(look_up(&format!("object {number}")));
        }
        assert!(watches.count() <= MAX_UNUSED + 1, "{}", watches.count());
        sleep(2 * UNUSED_FOR).await;
        assert_eq!(watches.count(), 1);
        let hosted = look_up("hosted");
        assert_eq!(hosted.instances().len(), 1);
        hosted.list_one_instance();
        drop(hosted);
        sleep(2 * UNUSED_FOR).await;
        assert_eq!(watches.count(), 0, "it can be listed again");
    }
}
