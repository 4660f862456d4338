//! How many connections each user may have at a time.

use crate::{
    hello::{HelloRefusal, RefusalCode},
    identity::Identity,
    limits::LimitExceeded,
};
use std::fmt;

/// Counts the connections of each user, and refuses those beyond the limit.
pub trait ConnectionQuota: fmt::Debug + Send + Sync {
    /// Counts one more connection of this user, until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// The limit that the connection would exceed.
    fn count(&self, user: &Identity) -> Result<CountedConnection, LimitExceeded>;
}

/// A counted connection. It counts until this is dropped.
pub type CountedConnection = Box<dyn fmt::Debug + Send + Sync>;

impl From<LimitExceeded> for HelloRefusal {
    fn from(exceeded: LimitExceeded) -> Self {
        Self::new(RefusalCode::Limited, exceeded.to_string())
    }
}
