//! The public key of a token, as the users file keeps it: the token is the key's seed.

use pyroxene_common::identity::{HolderId, HolderKey};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::LazyLock};

const PREFIX: &str = "ed25519:";

/// The key against which logins of users without a token are verified, so that they take as long.
pub(super) static DUMMY_KEY: LazyLock<Option<HolderId>> =
    LazyLock::new(|| Some(HolderKey::from_seed(&[0; 32]).ok()?.id()));

/// The public key of a token. Its text is `ed25519:` and 43 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct TokenKey(pub(super) HolderId);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.0)
    }
}

impl TryFrom<String> for TokenKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        // The error does not repeat the text: a user may have put a token there.
        const WRONG: &str = "the public key of a token is 'ed25519:' and 43 letters, digits, '-' and \
                             '_'; take the line out, and 'pyroxene users rotate' makes a new token";
        let id = text.strip_prefix(PREFIX).ok_or(WRONG)?;
        HolderId::try_from(id.to_owned())
            .map(Self)
            .map_err(|_| WRONG)
    }
}

impl From<TokenKey> for String {
    fn from(TokenKey(id): TokenKey) -> Self {
        format!("{PREFIX}{id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_and_nothing_else_is_one() {
        let key = TokenKey(HolderKey::generate().unwrap().id());
        let text = String::from(key);
        assert_eq!(TokenKey::try_from(text.clone()), Ok(key));
        let token = format!("prx_{}", "A".repeat(43));
        for text in ["", "ed25519:", &text[8..], &text[..50], &token] {
            let why = TokenKey::try_from(text.to_owned()).unwrap_err();
            assert!(!why.contains(&token), "{why}");
        }
    }
}
