//! Counts the connections of each user at this name server.

use super::Limiter;
use pyroxene_common::{
    access::{ConnectionQuota, CountedConnection},
    identity::Identity,
    limits::{Limit, LimitExceeded},
};
use std::sync::Arc;

/// Counts connections when they are authenticated.
#[derive(Debug)]
pub(crate) struct ConnectionCounter(pub(crate) Arc<Limiter>);

impl ConnectionQuota for ConnectionCounter {
    fn count(&self, user: &Identity) -> Result<CountedConnection, LimitExceeded> {
        let held = self.0.acquire(Some(user), Limit::Connections)?;
        Ok(Box::new(held))
    }
}
