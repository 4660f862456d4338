//! The right to run tasks: a lease in the store, renewed for as long as the name server lives.
//!
//! While the store cannot be reached, nobody can take anything over; the lease is taken up again as
//! soon as it can. Tasks that others took over in the meantime are theirs, and the record knows.

use pyroxene_store::{Fence, Store, StoreError};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// For how long a dispatcher that says nothing keeps its tasks.
pub(super) const TTL: Duration = Duration::from_millis(1500);

const RENEW_EVERY: Duration = Duration::from_millis(500);

/// How long one renewal is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the store may be away until everybody is told so at once.
const FORBEARANCE: Duration = Duration::from_millis(500);

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// What everything that is written about an attempt carries.
    pub(super) fence: Fence,
    /// Nobody takes anything over before then.
    pub(super) until: Instant,
    /// Since when that was true without a gap.
    pub(super) since: Instant,
}

impl Held {
    pub(super) fn is_good(&self, now: Instant) -> bool {
        now < self.until
    }
}

/// What is held now, and what is wrong with the store.
#[derive(Debug)]
pub(super) struct Ownership {
    held: watch::Sender<Option<Held>>,
    trouble: Mutex<Option<(Instant, StoreError)>>,
}

impl Default for Ownership {
    fn default() -> Self {
        Self {
            held: watch::Sender::new(None),
            trouble: Mutex::default(),
        }
    }
}

impl Ownership {
    pub(super) fn held(&self) -> Option<Held> {
        *self.held.borrow()
    }

    pub(super) fn follow(&self) -> watch::Receiver<Option<Held>> {
        self.held.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, StoreError)>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the store does not answer, if it has not for a while.
    pub(super) fn trouble(&self) -> Option<StoreError> {
        let trouble = self.lock();
        let (since, error) = trouble.as_ref()?;
        (since.elapsed() > FORBEARANCE).then(|| error.clone())
    }

    fn went_well(&self) {
        *self.lock() = None;
    }

    fn went_wrong(&self, error: StoreError) {
        let mut trouble = self.lock();
        match &mut *trouble {
            Some((_, known)) => *known = error,
            None => {
                tracing::warn!(%error, "the store does not answer; running tasks go on");
                *trouble = Some((Instant::now(), error));
            }
        }
    }
}

/// Holds a lease from now on.
pub(super) async fn keep(ownership: Arc<Ownership>, store: Store) {
    loop {
        // Its end is counted from before the question: whoever watches it counts from later.
        let asked = Instant::now();
        let held = ownership.held();
        let answer = match held {
            None => timeout(PATIENCE, begin(&store)).await,
            Some(held) => timeout(PATIENCE, renew(&store, held.fence)).await,
        };
        match answer.unwrap_or_else(|_| {
            let sentence = "it does not answer".to_owned();
            Err(StoreError::Unavailable(sentence))
        }) {
            Ok(fence) => {
                ownership.went_well();
                let unbroken = held.filter(|held| held.is_good(Instant::now()));
                ownership.held.send_replace(fence.map(|fence| Held {
                    fence,
                    until: asked + TTL,
                    since: unbroken.map_or(asked, |held| held.since),
                }));
                if fence.is_none() {
                    tracing::warn!("the right to run tasks is lost; those that run are given up");
                    continue;
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) => ownership.went_wrong(error),
        }
        sleep(RENEW_EVERY.saturating_sub(asked.elapsed())).await;
    }
}

async fn begin(store: &Store) -> Result<Option<Fence>, StoreError> {
    store.lease(TTL).await.map(Some)
}

async fn renew(store: &Store, fence: Fence) -> Result<Option<Fence>, StoreError> {
    Ok(store.renew(fence).await?.then_some(fence))
}
