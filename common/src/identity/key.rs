//! What is said about the keys that sign tickets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

const ID_PREFIX: &str = "k4.pid.";
/// The length of a key's id after its prefix: 33 bytes in base64url.
const ID_LEN: usize = 44;

/// An error with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is no key.
    #[error("it is not a key of this kind")]
    NotAKey,
    /// No key could be made.
    #[error("no key could be made: the system has no random numbers")]
    NotMade,
    /// No ticket could be made.
    #[error("no ticket could be made: it would be too long")]
    NotSigned,
}

/// The short text that identifies a public key: its PASERK id, `k4.pid.…`.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct KeyId(String);

impl TryFrom<String> for KeyId {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_id = text
            .strip_prefix(ID_PREFIX)
            .is_some_and(|id| id.len() == ID_LEN && id.bytes().all(is_base64));
        is_id.then_some(Self(text)).ok_or(KeyError::NotAKey)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long the key of a name server is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyLife {
    /// The key is stored in a file. Once a name server that had it has another key, this key was replaced,
    /// perhaps because it was stolen. Then it is trusted no more, whichever other name servers had it.
    Kept,
    /// The key exists only in the memory of a process, and is lost with it. Tickets that it signed stay valid
    /// until they expire, because the restart of a name server must not cut off the holders of its tickets.
    OfProcess,
}
