//! Tokens: what users and workers prove themselves with.

use super::UsersError;
use ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder, Hex};
use rand::{TryRng, rngs::SysRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What the text of a token begins with, so that people and scanners for leaked secrets know it.
const PREFIX: &str = "prx_";
const TOKEN_LEN: usize = 32;
const HASH_LEN: usize = 32;
const HASH_PREFIX: &str = "sha256:";

/// A secret of 256 random bits. Nobody can guess it, so a fast hash keeps it well enough.
///
/// As text it is `prx_` and 43 characters of base64url. Its bytes are overwritten when it is dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<[u8; TOKEN_LEN]>);

/// A text that is not a token. It does not repeat the text, which may be nearly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a token: one is 'prx_' and 43 letters, digits, '-' and '_'")]
pub struct InvalidToken;

impl Token {
    /// A new token.
    ///
    /// # Errors
    ///
    /// [`UsersError::NoToken`] if the system has no random numbers.
    pub fn generate() -> Result<Self, UsersError> {
        let mut bytes = Zeroizing::new([0; TOKEN_LEN]);
        SysRng
            .try_fill_bytes(&mut *bytes)
            .map_err(|_| UsersError::NoToken)?;
        Ok(Self(bytes))
    }

    /// The text of the token, for its holder alone.
    pub fn expose(&self) -> Zeroizing<String> {
        // With room for all of it, so that no part stays behind where it has grown from.
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str(PREFIX);
        let mut buffer = Zeroizing::new([0; 64]);
        // The buffer is large enough, which is all that could go wrong.
        let encoded = Base64UrlSafeNoPadding::encode_to_str(&mut *buffer, self.0.as_slice());
        text.push_str(encoded.unwrap_or_default());
        text
    }

    pub(super) fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_slice()).into())
    }
}

impl fmt::Debug for Token {
    /// Hides the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    /// White space around it is no part of it: tokens are read from files.
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(InvalidToken)?;
        let mut bytes = Zeroizing::new([0; TOKEN_LEN]);
        match Base64UrlSafeNoPadding::decode(&mut *bytes, text, None) {
            Ok(decoded) if decoded.len() == TOKEN_LEN => Ok(Self(bytes)),
            _ => Err(InvalidToken),
        }
    }
}

/// The SHA-256 of a token's bytes, which is all that is kept of it. As text `sha256:` and 64
/// hexadecimal digits.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct TokenHash([u8; HASH_LEN]);

impl TokenHash {
    /// No token is known to have this hash.
    pub(super) const OF_NOTHING: Self = Self([0; HASH_LEN]);

    /// Whether two hashes are the same, in a time that does not depend on where they differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenHash").finish_non_exhaustive()
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let mut bytes = [0; HASH_LEN];
        let decoded = text
            .strip_prefix(HASH_PREFIX)
            .and_then(|digits| Hex::decode(&mut bytes, digits, None).ok())
            .map(<[u8]>::len);
        match decoded {
            Some(HASH_LEN) => Ok(Self(bytes)),
            // The text is not repeated: it may be a token that somebody has put in.
            _ => Err("the hash of a token is 'sha256:' and 64 hexadecimal digits"),
        }
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        let digits = hash.0.iter().map(|byte| format!("{byte:02x}"));
        std::iter::once(HASH_PREFIX.to_owned())
            .chain(digits)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written_with_white_space_around_it() {
        let token = Token::generate().unwrap();
        let text = token.expose();
        assert_eq!(text.len(), 47);
        assert!(text.starts_with("prx_"));
        for text in [text.to_string(), format!(" {}\r\n", *text)] {
            let again: Token = text.parse().unwrap();
            assert!(again.hash().is(&token.hash()));
        }
        assert_ne!(*Token::generate().unwrap().expose(), *text);
    }

    #[test]
    fn nobody_sees_a_token_by_accident() {
        let token = Token::generate().unwrap();
        assert_eq!(format!("{token:?}"), "Token { .. }");
        assert!(!InvalidToken.to_string().contains(&token.expose()[4..]));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let text = Token::generate().unwrap().expose();
        let inner = &text[4..];
        let zero = format!("prx_{}", "A".repeat(43));
        assert!(zero.parse::<Token>().is_ok());
        for text in [
            "",
            "prx_",
            inner,
            &format!("PRX_{inner}"),
            &format!("prx_{inner}A"),
            &format!("prx_ {inner}"),
            &text[..46],
            // Bits beyond the last byte, and padding: another text would be the same token.
            &format!("prx_{}B", "A".repeat(42)),
            &format!("{zero}="),
            &"A".repeat(100_000),
        ] {
            assert_eq!(text.parse::<Token>().unwrap_err(), InvalidToken, "{text}");
        }
    }

    /// The hash is of the bytes. SHA-256 of 32 zero bytes, as `head -c 32 /dev/zero | sha256sum` has it.
    #[test]
    fn hashes_are_sha_256() {
        let token: Token = format!("prx_{}", "A".repeat(43)).parse().unwrap();
        let text = String::from(token.hash());
        let expected = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
        assert_eq!(text, format!("sha256:{expected}"));
        assert!(TokenHash::try_from(text).unwrap().is(&token.hash()));
        for text in ["", expected, "sha256:", "sha256:66", "sha1:66"] {
            assert!(TokenHash::try_from(text.to_owned()).is_err(), "{text}");
        }
        let long = format!("sha256:{expected}00");
        assert!(TokenHash::try_from(long).is_err());
    }
}
