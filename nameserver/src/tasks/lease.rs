//! The lease under which this name server runs tasks, renewed for as long as the name server lives.
//!
//! While the store cannot be reached, no other name server can take anything over; the lease is renewed as
//! soon as the store answers. Tasks that others took over in the meantime are theirs, as the record shows.

use parking_lot::Mutex;
use pyroxene_store::{HeldLease, LeaseKeeper, LeaseRenewal, Store, StoreError};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How long a dispatcher that does not renew its lease keeps its tasks.
pub(super) const TTL: Duration = Duration::from_millis(1500);

/// The timeout of one renewal.
const LEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// After the store has failed for this long, calls are refused at once.
const STORE_ERROR_DELAY: Duration = Duration::from_millis(500);

/// The current lease, and the store's last error.
#[derive(Debug)]
pub(super) struct TaskLeaseStatus {
    lease: watch::Sender<Option<HeldLease>>,
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
    pub(super) fn current(&self) -> Option<HeldLease> {
        *self.lease.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<HeldLease>> {
        self.lease.subscribe()
    }

    /// The store's error, if the store has failed for a while.
    pub(super) fn store_error(&self) -> Option<StoreError> {
        let trouble = self.failing_since.lock();
        let (since, error) = trouble.as_ref()?;
        (since.elapsed() > STORE_ERROR_DELAY).then(|| error.clone())
    }

    fn went_well(&self) {
        *self.failing_since.lock() = None;
    }

    fn went_wrong(&self, error: StoreError) {
        let mut trouble = self.failing_since.lock();
        match &mut *trouble {
            Some((_, known)) => *known = error,
            None => {
                tracing::warn!(%error, "the store does not answer; running tasks go on");
                *trouble = Some((Instant::now(), error));
            }
        }
    }
}

/// Keeps the lease.
pub(super) async fn keep(status: Arc<TaskLeaseStatus>, store: Store) {
    let mut keeper = LeaseKeeper::new(TTL, LEASE_TIMEOUT);
    loop {
        let renewal = keeper.renew(|lease, ttl| store.renew_or_begin(lease, ttl));
        match renewal.await {
            LeaseRenewal::Held(lease) => {
                status.went_well();
                status.lease.send_replace(Some(lease));
            }
            LeaseRenewal::Lost => {
                status.went_well();
                status.lease.send_replace(None);
                tracing::warn!("the lease for running tasks is lost; their attempts end");
            }
            LeaseRenewal::Failed(StoreError::Closed) => return,
            LeaseRenewal::Failed(error) => status.went_wrong(error),
            LeaseRenewal::TimedOut => {
                let silent = || StoreError::Unavailable("it does not answer".to_owned());
                status.went_wrong(store.failure().unwrap_or_else(silent));
            }
        }
        if let Some(next) = keeper.next() {
            sleep_until(next).await;
        }
    }
}
