//! Ed25519 keys that prove an identity: of the holder of a ticket, and of the owner of a token.

use super::KeyError;
use ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder};
use rand::{TryRng, rngs::SysRng};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::OnceLock};
use zeroize::Zeroizing;

/// The size of a seed and of a public key, in bytes.
pub const KEY_LEN: usize = 32;

/// The size of a signature, in bytes.
pub const SIGNATURE_LEN: usize = 64;

static OF_PROCESS: OnceLock<HolderKey> = OnceLock::new();

/// The secret half of an Ed25519 key.
pub struct HolderKey(Ed25519KeyPair);

impl HolderKey {
    /// A new random key.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotMade`] if the system has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; KEY_LEN]);
        SysRng
            .try_fill_bytes(&mut *seed)
            .map_err(|_| KeyError::NotMade)?;
        Self::from_seed(&seed)
    }

    /// The key that is derived from a seed.
    ///
    /// # Errors
    ///
    /// None in practice: every seed gives a key.
    pub fn from_seed(seed: &[u8; KEY_LEN]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|_| KeyError::NotAKey)
    }

    /// The key of this process. It is generated at the first call and exists only in memory. All tickets that
    /// are issued to the process are bound to it.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotMade`] if the system has no random numbers.
    pub fn of_process() -> Result<&'static Self, KeyError> {
        if let Some(key) = OF_PROCESS.get() {
            return Ok(key);
        }
        let key = Self::generate()?;
        // If another thread was faster, all threads use its key.
        Ok(OF_PROCESS.get_or_init(|| key))
    }

    /// The public half.
    pub fn id(&self) -> HolderId {
        let mut bytes = [0; KEY_LEN];
        // Both have 32 bytes. Otherwise the zip would end early, and no signature would match.
        for (byte, of_key) in bytes.iter_mut().zip(self.0.public_key().as_ref()) {
            *byte = *of_key;
        }
        HolderId(bytes)
    }

    /// Signs a message. Each kind of message has to begin with its own purpose: see [`proof`](super::proof).
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for HolderKey {
    /// Hides the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HolderKey").field(&self.id()).finish()
    }
}

/// The public half of a [`HolderKey`]. As text it is 43 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct HolderId([u8; KEY_LEN]);

impl HolderId {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Whether the key's owner has signed a message.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl TryFrom<String> for HolderId {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        let mut bytes = [0; KEY_LEN];
        match Base64UrlSafeNoPadding::decode(&mut bytes, text, None) {
            Ok(decoded) if decoded.len() == KEY_LEN => Ok(Self(bytes)),
            _ => Err(KeyError::NotAKey),
        }
    }
}

impl From<HolderId> for String {
    fn from(id: HolderId) -> Self {
        // The text's buffer is allocated as needed, and nothing else can fail.
        Base64UrlSafeNoPadding::encode_to_string(id.0).unwrap_or_default()
    }
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(*self))
    }
}

impl fmt::Debug for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HolderId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first test vector of RFC 8032.
    #[test]
    fn keys_and_signatures_are_those_of_ed25519() {
        let hex = |text: &str| -> Vec<u8> {
            let digits = text.as_bytes().chunks(2);
            digits
                .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
                .collect()
        };
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = HolderKey::from_seed(&seed.try_into().unwrap()).unwrap();
        let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(key.id().as_bytes().as_slice(), public);
        let signature = hex(concat!(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac",
            "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ));
        assert_eq!(key.sign(b""), signature);
        assert!(key.id().verifies(b"", &signature));
        assert!(!key.id().verifies(b"x", &signature));
    }

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id = HolderKey::generate().unwrap().id();
        let text = String::from(id);
        assert_eq!(text.len(), 43);
        assert_eq!(HolderId::try_from(text.clone()), Ok(id));
        for text in ["", &text[1..], &format!("{text}A"), &format!("{text}=")] {
            assert_eq!(HolderId::try_from(text.to_owned()), Err(KeyError::NotAKey));
        }
    }

    #[test]
    fn the_key_of_the_process_is_one_and_the_same() {
        let id = HolderKey::of_process().unwrap().id();
        assert_eq!(HolderKey::of_process().unwrap().id(), id);
        assert_ne!(HolderKey::generate().unwrap().id(), id);
    }
}
