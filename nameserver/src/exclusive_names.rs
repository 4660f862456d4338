//! The store as the name store of exclusive names.

use crate::directory::NameStore;
use pyroxene_store::{Hint, HintReceiver, NameClaim, NameClaimOutcome, Store, StoreError};
use std::{future::pending, time::Duration};

/// The store, as one name server uses it.
#[derive(Debug)]
pub(crate) struct DatabaseNameStore {
    store: Store,
    hints: HintReceiver,
}

impl DatabaseNameStore {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            hints: store.hints(),
            store,
        }
    }
}

impl NameStore for DatabaseNameStore {
    type Error = StoreError;

    async fn renew_or_begin(
        &mut self,
        lease: Option<i64>,
        ttl: Duration,
    ) -> Result<Option<i64>, StoreError> {
        self.store.renew_or_begin(lease, ttl).await
    }

    async fn claim(&mut self, claims: Vec<NameClaim>) -> Result<Vec<NameClaimOutcome>, StoreError> {
        self.store.claim_names(claims).await
    }

    async fn release(&mut self, lease: i64, names: Vec<String>) -> Result<(), StoreError> {
        self.store.release_names(lease, names).await
    }

    async fn claimed_names(&mut self, lease: i64) -> Result<Vec<String>, StoreError> {
        self.store.names_claimed_by(lease).await
    }

    async fn names_released(&mut self) {
        loop {
            match self.hints.next().await {
                Some(Hint::Names | Hint::Anything) => return,
                Some(_) => {}
                None => pending().await,
            }
        }
    }
}
