//! The store as the name store of exclusive names.

use crate::directory::{ExclusiveClaim, ExclusiveClaimOutcome, NameStore};
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

    async fn claim(
        &mut self,
        lease: i64,
        claims: Vec<ExclusiveClaim>,
    ) -> Result<Vec<ExclusiveClaimOutcome>, StoreError> {
        let claims = claims
            .into_iter()
            .map(|ExclusiveClaim { name, holder }| NameClaim {
                name,
                holder,
                nameserver: lease,
            });
        let claimed = self.store.claim_names(claims.collect()).await?;
        let answers = claimed.into_iter().map(|claimed| match claimed {
            NameClaimOutcome::Granted { fence } => {
                ExclusiveClaimOutcome::Granted(u64::try_from(fence).unwrap_or(0))
            }
            NameClaimOutcome::Taken { holder } => ExclusiveClaimOutcome::Taken(holder),
            NameClaimOutcome::LeaseLost => ExclusiveClaimOutcome::LeaseLost,
        });
        Ok(answers.collect())
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
