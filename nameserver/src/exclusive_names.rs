//! The store as the name store of exclusive names.

use crate::directory::{Answer, Arbiter, Claim};
use pyroxene_store::{Hint, HintReceiver, NameClaim, NameClaimed, Store, StoreError};
use std::{future::pending, time::Duration};

/// The store, as one name server uses it.
#[derive(Debug)]
pub(crate) struct StoreArbiter {
    store: Store,
    hints: HintReceiver,
}

impl StoreArbiter {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            hints: store.hints(),
            store,
        }
    }
}

impl Arbiter for StoreArbiter {
    type Error = StoreError;

    async fn go_on(
        &mut self,
        lease: Option<i64>,
        ttl: Duration,
    ) -> Result<Option<i64>, StoreError> {
        match lease {
            Some(number) => Ok(self.store.renew(number).await?.then_some(number)),
            None => self.store.lease(ttl).await.map(Some),
        }
    }

    async fn claim(&mut self, lease: i64, claims: Vec<Claim>) -> Result<Vec<Answer>, StoreError> {
        let claims = claims.into_iter().map(|Claim { name, holder }| NameClaim {
            name,
            holder,
            nameserver: lease,
        });
        let claimed = self.store.claim_names(claims.collect()).await?;
        let answers = claimed.into_iter().map(|claimed| match claimed {
            NameClaimed::Held { fence } => Answer::Held(u64::try_from(fence).unwrap_or(0)),
            NameClaimed::Taken { holder } => Answer::Taken(holder),
            NameClaimed::LeaseLost => Answer::LeaseLost,
        });
        Ok(answers.collect())
    }

    async fn leave(&mut self, lease: i64, names: Vec<String>) -> Result<(), StoreError> {
        self.store.leave_names(lease, names).await
    }

    async fn stands_up_for(&mut self, lease: i64) -> Result<Vec<String>, StoreError> {
        self.store.names_of(lease).await
    }

    async fn news(&mut self) {
        loop {
            match self.hints.next().await {
                Some(Hint::Names | Hint::Anything) => return,
                Some(_) => {}
                None => pending().await,
            }
        }
    }
}
