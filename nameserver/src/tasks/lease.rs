//! The lease under which this name server runs tasks, renewed for as long as the name server lives.
//!
//! While the store cannot be reached, no other name server can take anything over; the lease is renewed as
//! soon as the store answers. Tasks that others took over in the meantime are theirs, as the record shows.

use pyroxene_store::{Fence, Store, StoreError};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// How long a dispatcher that does not renew its lease keeps its tasks.
pub(super) const TTL: Duration = Duration::from_millis(1500);

const RENEW_EVERY: Duration = Duration::from_millis(500);

/// The timeout of one renewal.
const LEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// After the store has failed for this long, calls are refused at once.
const STORE_ERROR_DELAY: Duration = Duration::from_millis(500);

/// The lease as this name server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskLease {
    /// The fence, which is written with everything about an attempt.
    pub(super) fence: Fence,
    /// No other name server takes anything over before then.
    pub(super) until: Instant,
    /// Since when the lease has been valid without a gap.
    pub(super) since: Instant,
}

impl TaskLease {
    pub(super) fn is_valid(&self, now: Instant) -> bool {
        now < self.until
    }
}

/// The current lease, and the store's last error.
#[derive(Debug)]
pub(super) struct TaskLeaseStatus {
    lease: watch::Sender<Option<TaskLease>>,
    failing_since: Mutex<Option<(Instant, StoreError)>>,
}

impl Default for TaskLeaseStatus {
    fn default() -> Self {
        Self {
            lease: watch::Sender::new(None),
            failing_since: Mutex::default(),
        }
    }
}

impl TaskLeaseStatus {
    pub(super) fn current(&self) -> Option<TaskLease> {
        *self.lease.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<TaskLease>> {
        self.lease.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, StoreError)>> {
        self.failing_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's error, if the store has failed for a while.
    pub(super) fn store_error(&self) -> Option<StoreError> {
        let trouble = self.lock();
        let (since, error) = trouble.as_ref()?;
        (since.elapsed() > STORE_ERROR_DELAY).then(|| error.clone())
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

/// Acquires the lease and renews it.
pub(super) async fn keep(ownership: Arc<TaskLeaseStatus>, store: Store) {
    loop {
        // The term counts from before the request: other name servers count it from later.
        let asked = Instant::now();
        let held = ownership.current();
        let answer = match held {
            None => timeout(LEASE_TIMEOUT, acquire(&store)).await,
            Some(held) => timeout(LEASE_TIMEOUT, renew(&store, held.fence)).await,
        };
        match answer.unwrap_or_else(|_| {
            let sentence = "it does not answer".to_owned();
            Err(StoreError::Unavailable(sentence))
        }) {
            Ok(fence) => {
                ownership.went_well();
                let unbroken = held.filter(|held| held.is_valid(Instant::now()));
                ownership.lease.send_replace(fence.map(|fence| TaskLease {
                    fence,
                    until: asked + TTL,
                    since: unbroken.map_or(asked, |held| held.since),
                }));
                if fence.is_none() {
                    tracing::warn!("the lease for running tasks is lost; their attempts end");
                    continue;
                }
            }
            Err(StoreError::Closed) => return,
            Err(error) => ownership.went_wrong(error),
        }
        sleep(RENEW_EVERY.saturating_sub(asked.elapsed())).await;
    }
}

async fn acquire(store: &Store) -> Result<Option<Fence>, StoreError> {
    store.lease(TTL).await.map(Some)
}

async fn renew(store: &Store, fence: Fence) -> Result<Option<Fence>, StoreError> {
    Ok(store.renew(fence).await?.then_some(fence))
}
