//! Why a stream broke.

use crate::{channel::error::ConnectionLost, codec::CodecError};

/// A stream that broke before its end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the stream broke after {items} {}", if *.items == 1 { "item" } else { "items" })]
pub struct StreamError {
    /// How many items had arrived before.
    pub items: u64,
    /// The reason.
    #[source]
    pub failure: StreamFailure,
}

/// Why a stream broke.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamFailure {
    /// The connection was lost.
    #[error("the connection was lost")]
    Lost(#[source] ConnectionLost),
    /// The call's deadline passed.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The side that makes the items could not go on, with this message.
    #[error("{0}")]
    Failed(String),
    /// An item cannot be decoded.
    #[error("an item cannot be decoded")]
    Undecodable(#[source] CodecError),
    /// The side that makes the items gave the call up.
    #[error("the call was given up")]
    Cancelled,
}
