//! How many connections each user may have at a time.

use crate::{
    access::{Exceeded, Identity},
    hello::{RefusalCode, Refused},
};
use std::fmt;

/// Counts the connections of each user, and says when there are too many.
pub trait ConnectionQuota: fmt::Debug + Send + Sync {
    /// One more connection of this user. It counts until what is answered is dropped.
    ///
    /// # Errors
    ///
    /// The limit that it would go beyond.
    fn count(&self, user: &Identity) -> Result<CountedConnection, Exceeded>;
}

/// A connection that counts for as long as this is kept.
pub type CountedConnection = Box<dyn fmt::Debug + Send + Sync>;

impl From<Exceeded> for Refused {
    fn from(exceeded: Exceeded) -> Self {
        Self::new(RefusalCode::Limited, exceeded.to_string())
    }
}
