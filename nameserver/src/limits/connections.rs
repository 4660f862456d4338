//! Counts the connections of each user at this name server.

use super::Limiter;
use pyroxene_common::access::{ConnectionQuota, CountedConnection, Exceeded, Identity, Limit};
use std::sync::Arc;

/// Counts connections when they are authenticated.
#[derive(Debug)]
pub(crate) struct Connections(pub(crate) Arc<Limiter>);

impl ConnectionQuota for Connections {
    fn count(&self, user: &Identity) -> Result<CountedConnection, Exceeded> {
        let held = self.0.hold(Some(user), Limit::Connections)?;
        Ok(Box::new(held))
    }
}
