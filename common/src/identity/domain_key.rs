//! The keys that sign and verify tickets, in PASERK's text format.

use super::{Claims, KeyError, KeyId, SessionClaims, Ticket, TicketError, signature};
use pasetors::{
    keys::{AsymmetricKeyPair, AsymmetricPublicKey, AsymmetricSecretKey, Generate},
    paserk::{FormatAsPaserk, Id},
    version4::V4,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

const SECRET_PREFIX: &str = "k4.secret.";
/// The first characters of a secret key that is all zeros.
const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The secret half of the Ed25519 key that signs the tickets of a domain.
///
/// Its bytes are overwritten when it is dropped.
pub struct DomainKey {
    secret: AsymmetricSecretKey<V4>,
    public: PublicKey,
}

impl DomainKey {
    /// A new key.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotMade`] if the system has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = AsymmetricKeyPair::<V4>::generate().map_err(|_| KeyError::NotMade)?;
        Ok(Self {
            secret: pair.secret,
            public: PublicKey::new(pair.public)?,
        })
    }

    /// Reads a key from its `k4.secret.…`.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotAKey`].
    pub fn from_paserk(text: &str) -> Result<Self, KeyError> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(KeyError::NotAKey)?;
        // The library would panic on a key that is all zeros.
        if encoded.starts_with(ZEROS) {
            return Err(KeyError::NotAKey);
        }
        let secret = AsymmetricSecretKey::<V4>::try_from(text).map_err(|_| KeyError::NotAKey)?;
        let public = AsymmetricPublicKey::try_from(&secret).map_err(|_| KeyError::NotAKey)?;
        Ok(Self {
            secret,
            public: PublicKey::new(public)?,
        })
    }

    /// The key as text, `k4.secret.…`.
    ///
    /// # Errors
    ///
    /// None in practice: every key has a text.
    pub fn to_paserk(&self) -> Result<Zeroizing<String>, KeyError> {
        // Large enough for the whole text: a reallocation would leave a copy of a part in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(128));
        self.secret.fmt(&mut *text).map_err(|_| KeyError::NotAKey)?;
        Ok(text)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// Makes a ticket.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotSigned`] if it would be longer than [`MAX_TICKET`](super::MAX_TICKET). No user's claims
    /// are that long.
    pub fn sign(&self, claims: &Claims) -> Result<Ticket, KeyError> {
        signature::sign(&self.secret, &self.public.id, claims)
    }

    /// Makes the text of a session. Unlike a ticket it is secret: whoever shows it is taken for the user.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotSigned`], which no user's claims give.
    pub fn sign_session(&self, claims: &SessionClaims) -> Result<String, KeyError> {
        signature::sign_session(&self.secret, &self.public.id, claims)
    }
}

impl fmt::Debug for DomainKey {
    /// Hides the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainKey")
            .field("id", &self.public.id)
            .finish_non_exhaustive()
    }
}

/// The public half of a [`DomainKey`], which verifies the tickets of a domain. As text and in messages it is
/// its `k4.public.…`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PublicKey {
    key: AsymmetricPublicKey<V4>,
    text: String,
    id: KeyId,
}

impl PublicKey {
    fn new(key: AsymmetricPublicKey<V4>) -> Result<Self, KeyError> {
        let (mut text, mut id) = (String::new(), String::new());
        key.fmt(&mut text).map_err(|_| KeyError::NotAKey)?;
        Id::from(&key).fmt(&mut id).map_err(|_| KeyError::NotAKey)?;
        let id = KeyId::try_from(id)?;
        Ok(Self { key, text, id })
    }

    /// The short text that identifies this key.
    pub fn id(&self) -> KeyId {
        self.id.clone()
    }

    /// Checks a ticket's signature and form, and returns its claims. Whether they are in force is checked by
    /// [`Claims`].
    ///
    /// # Errors
    ///
    /// [`TicketError::Malformed`], [`TicketError::OtherDomain`] or [`TicketError::Forged`].
    pub fn verify(&self, ticket: &[u8]) -> Result<Claims, TicketError> {
        signature::verify(&self.key, &self.id, ticket)
    }

    /// Checks the signature and form of a session's text, and returns its claims.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn verify_session(&self, session: &[u8]) -> Result<SessionClaims, TicketError> {
        signature::verify_session(&self.key, &self.id, session)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PublicKey {}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let key = AsymmetricPublicKey::<V4>::try_from(text).map_err(|_| KeyError::NotAKey)?;
        Self::new(key)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.text
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = DomainKey::generate().unwrap();
        let text = key.to_paserk().unwrap();
        let again = DomainKey::from_paserk(&text).unwrap();
        assert_eq!(again.to_paserk().unwrap(), text);
        assert_eq!(again.public(), key.public());
        let public = key.public().to_string();
        assert_eq!(public.parse(), Ok(key.public()));
        let json = serde_json::to_string(&key.public()).unwrap();
        assert_eq!(json, format!("\"{public}\""));
        assert_eq!(
            serde_json::from_str::<PublicKey>(&json).unwrap(),
            again.public()
        );
        assert_eq!(
            KeyId::try_from(key.public().id().to_string()),
            Ok(again.public().id())
        );
        assert_ne!(
            DomainKey::generate().unwrap().public().id(),
            key.public().id()
        );
    }

    /// The test vectors k4.secret-2, k4.public-2 and k4.pid-2 of the PASERK specification.
    #[test]
    fn texts_are_those_of_the_specification() {
        let secret = "k4.secret.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8c5WpIyC_5kWKhS8VEYSZ05dYfuTF-ZdQFV4D9vLTcNQ";
        let public = "k4.public.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8";
        let id = "k4.pid.9ShR3xc8-qVJ_di0tc9nx0IDIqbatdeM2mqLFBJsKRHs";
        let key = DomainKey::from_paserk(secret).unwrap();
        assert_eq!(*key.to_paserk().unwrap(), secret);
        let public: PublicKey = public.parse().unwrap();
        assert_eq!(public.id().to_string(), id);
    }

    #[test]
    fn nobody_sees_a_secret_key_by_accident() {
        let key = DomainKey::generate().unwrap();
        let text = key.to_paserk().unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains("k4.pid."), "{shown}");
        assert!(
            !shown.contains(&text[SECRET_PREFIX.len()..][..8]),
            "{shown}"
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let zero = format!("{SECRET_PREFIX}{}", "A".repeat(86));
        let key = DomainKey::generate().unwrap();
        let text = key.to_paserk().unwrap();
        let public = key.public().to_string();
        for text in [
            "",
            "k4.secret.",
            "k4.secret.AAAA",
            &zero,
            &public,
            &text[1..],
        ] {
            let error = DomainKey::from_paserk(text).unwrap_err();
            assert_eq!(error, KeyError::NotAKey, "{text}");
        }
        for text in ["", "k4.public.", "k4.public.AAAA", &text] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError::NotAKey), "{text}");
        }
        for text in ["", "k4.pid.", "k4.pid.AAAA", &public] {
            assert_eq!(KeyId::try_from(text.to_owned()), Err(KeyError::NotAKey));
        }
    }

    proptest! {
        #[test]
        fn reading_keys_never_panics(text in "(k4\\.(secret|public|pid)\\.)?[A-Za-z0-9_-]{0,90}") {
            let _ = DomainKey::from_paserk(&text);
            let _ = text.parse::<PublicKey>();
            let _ = KeyId::try_from(text);
        }
    }
}
