//! What a name server says of a person that has logged in, for as long as the session lasts.

use super::HolderId;
use serde::{Deserialize, Serialize};

/// The content of a session's text. It says who has logged in and how, not what the user may do: that is looked up
/// whenever the session is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionClaims {
    /// The user.
    pub user: String,
    /// The public key of the token with which the user has logged in.
    pub token: HolderId,
    /// Where the end of the session is known, and so the only place where it counts: the name servers over one store,
    /// or one name server that has none.
    pub domain: i64,
    /// When it began, in Unix milliseconds.
    pub issued_ms: u64,
    /// When it ends, in Unix milliseconds.
    pub expires_ms: u64,
}
