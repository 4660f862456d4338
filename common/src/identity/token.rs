//! Tokens: the secrets with which users and workers log in.

use super::{HolderKey, KeyError, holder::KEY_LEN};
use ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder};
use rand::{TryRng, rngs::SysRng};
use std::{borrow::Cow, fmt, str::FromStr};
use zeroize::Zeroizing;

/// The prefix of a token's text, by which people and scanners for leaked secrets recognise it.
const PREFIX: &str = "prx_";

/// A secret of 256 random bits: the seed of an Ed25519 key. It never leaves its owner. To log in, the
/// owner signs with the key; the users file has its public half.
///
/// As text it is `prx_` and 43 characters of base64url. Its bytes are overwritten when it is dropped.
///
/// ```
/// use pyroxene_common::identity::{Token, looks_like_token};
///
/// let token = Token::generate()?;
/// let text = token.expose();
/// assert!(text.starts_with("prx_") && looks_like_token(&text));
/// assert_eq!(text.parse::<Token>()?.expose(), text);
/// assert_eq!(format!("{token:?}"), "Token { .. }", "logs do not show it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Token(Zeroizing<[u8; KEY_LEN]>);

/// A text that is not a token. The error does not contain the text, which may be nearly a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a token: one is 'prx_' and 43 letters, digits, '-' and '_'")]
pub struct InvalidToken;

impl Token {
    /// A new token.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotMade`] if the system has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        SysRng
            .try_fill_bytes(&mut *bytes)
            .map_err(|_| KeyError::NotMade)?;
        Ok(Self(bytes))
    }

    /// The text of the token. Only its owner may see it.
    pub fn expose(&self) -> Zeroizing<String> {
        // Large enough for the whole text: a reallocation would leave a copy of a part in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str(PREFIX);
        let mut buffer = Zeroizing::new([0; 64]);
        // This fails only if the buffer is too small, and it is not.
        let encoded = Base64UrlSafeNoPadding::encode_to_str(&mut *buffer, self.0.as_slice());
        text.push_str(encoded.unwrap_or_default());
        text
    }

    /// The key whose seed is the token.
    ///
    /// # Errors
    ///
    /// None in practice: every token is the seed of a key.
    pub fn key(&self) -> Result<HolderKey, KeyError> {
        HolderKey::from_seed(&self.0)
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

    /// White space around the token is ignored, because tokens are read from files.
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(InvalidToken)?;
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        match Base64UrlSafeNoPadding::decode(&mut *bytes, text, None) {
            Ok(decoded) if decoded.len() == KEY_LEN => Ok(Self(bytes)),
            _ => Err(InvalidToken),
        }
    }
}

/// Whether a text may be a token that was given in the place of a name, perhaps with a typing error. Such a
/// text must not appear in a message or a log.
pub fn looks_like_token(text: &str) -> bool {
    let text = text.trim();
    let begins_alike = text
        .get(..PREFIX.len())
        .is_some_and(|beginning| beginning.eq_ignore_ascii_case(PREFIX));
    begins_alike && text.len() >= 24
}

/// The name of a user for a message or a log. A token in its place is not shown, and control characters are
/// escaped.
pub fn printable_user(name: &str) -> Cow<'_, str> {
    if looks_like_token(name) {
        return "(a token)".into();
    }
    if name.chars().all(|c| c.is_ascii_graphic()) && name.len() <= 64 {
        return name.into();
    }
    name.escape_debug().take(64).collect::<String>().into()
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
            assert_eq!(again.key().unwrap().id(), token.key().unwrap().id());
        }
        assert_ne!(*Token::generate().unwrap().expose(), *text);
    }

    #[test]
    fn nobody_sees_a_token_by_accident() {
        let token = Token::generate().unwrap();
        assert_eq!(format!("{token:?}"), "Token { .. }");
        let text = token.expose();
        assert!(!InvalidToken.to_string().contains(&text[4..]));
        for slip in [&*text, &format!(" {}", *text), &text[..46]] {
            assert_eq!(printable_user(slip), "(a token)");
        }
        assert_eq!(printable_user("prx_"), "prx_");
        assert_eq!(printable_user("ana"), "ana");
        assert_eq!(printable_user("a\nb"), "a\\nb");
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

    /// The public key of RFC 8032's first test vector.
    #[test]
    fn a_token_is_the_seed_of_its_key() {
        let token: Token = "prx_nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
            .parse()
            .unwrap();
        let id = String::from(token.key().unwrap().id());
        assert_eq!(id, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    }
}
