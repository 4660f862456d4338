//! Tickets, keys, tokens, patterns and users files.

use super::Verdict;
use pyroxene_common::identity::{
    Claims, DomainKey, KeyId, MAX_PATTERN, MAX_TICKET, Pattern, Patterns, PublicKey, Role, Token,
    key_id,
};
use pyroxene_nameserver::users::Users;
use std::sync::LazyLock;

/// The key k4.secret-2 of the PASERK specification.
const SECRET: &str = "k4.secret.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8c5WpIyC_5kWKhS8VEYSZ05dYfuTF-ZdQFV4D9vLTcNQ";

/// The key that signs the tickets in the corpus.
pub(crate) static KEY: LazyLock<DomainKey> =
    LazyLock::new(|| DomainKey::from_paserk(SECRET).unwrap());

static PUBLIC: LazyLock<PublicKey> = LazyLock::new(|| KEY.public());

/// Reads bytes as each of these formats.
pub fn run(bytes: &[u8]) -> Verdict {
    let mut accepted = is_ticket(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        accepted |= is_key(text) | is_token(text) | is_json(text) | is_users(text);
        check_pattern(text);
    }
    Verdict::accepted_if(accepted)
}

/// Whether the bytes are a ticket that the key has signed. Ed25519 is deterministic, so only one text can be
/// a ticket with these claims.
fn is_ticket(bytes: &[u8]) -> bool {
    let named = key_id(bytes);
    match PUBLIC.verify(bytes) {
        Ok(claims) => {
            assert_eq!(named, Some(PUBLIC.id()));
            assert!(bytes.len() <= MAX_TICKET);
            let signed = KEY.sign(&claims).unwrap();
            assert_eq!(signed.as_bytes(), bytes, "a forged ticket was accepted");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Whether it is a key of any kind. A valid key must be the same after it is written and parsed again.
fn is_key(text: &str) -> bool {
    let public = text.parse::<PublicKey>().is_ok_and(|key| {
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert!(KeyId::try_from(key.id().to_string()).is_ok());
        true
    });
    let secret = DomainKey::from_paserk(text).is_ok_and(|key| {
        let again = DomainKey::from_paserk(&key.to_paserk().unwrap()).unwrap();
        assert_eq!(again.public(), key.public());
        true
    });
    let id = KeyId::try_from(text.to_owned()).is_ok_and(|id| {
        assert_eq!(id.to_string(), text);
        true
    });
    public || secret || id
}

fn is_token(text: &str) -> bool {
    text.parse::<Token>().is_ok_and(|token| {
        assert_eq!(*token.expose(), text.trim());
        true
    })
}

/// Whether it is the JSON of claims, patterns or a role.
fn is_json(text: &str) -> bool {
    let claims = serde_json::from_str::<Claims>(text).is_ok_and(|claims| {
        let again = serde_json::to_string(&claims).unwrap();
        assert_eq!(serde_json::from_str::<Claims>(&again).unwrap(), claims);
        let _ = claims.check(claims.issued_ms, claims.expires_ms);
        true
    });
    let patterns = serde_json::from_str::<Patterns>(text).is_ok_and(|patterns| {
        let _ = patterns.allows("object", Some("method"));
        true
    });
    claims || patterns || serde_json::from_str::<Role>(text).is_ok()
}

/// Whether it is a users file. Valid users must be the same after they are written and parsed again.
fn is_users(text: &str) -> bool {
    let Ok(users) = toml::from_str::<Users>(text) else {
        return false;
    };
    let written = toml::to_string(&users).expect("users who cannot be written");
    assert_eq!(toml::from_str::<Users>(&written).unwrap(), users);
    for (name, _) in users.iter() {
        assert!(users.contains(name));
        let _ = users.identity(name);
    }
    let _ = users.revocations(0);
    true
}

/// Compares the pattern in the first line with another implementation, for the object and the method in the
/// next lines.
fn check_pattern(text: &str) {
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or("");
    let (first, object, method) = (line(), line(), line());
    let Ok(pattern) = first.parse::<Pattern>() else {
        return;
    };
    assert!(first.len() <= MAX_PATTERN);
    assert_eq!(pattern.to_string(), first);
    // A longer name is covered only together with its object.
    if object.len() + method.len() > 255 {
        return;
    }
    let whole = reference_match(first.as_bytes(), object.as_bytes());
    assert_eq!(pattern.allows(object, None), whole);
    let joined = format!("{object}.{method}");
    let expected = whole || reference_match(first.as_bytes(), joined.as_bytes());
    assert_eq!(pattern.allows(object, Some(method)), expected);
}

/// Whether a pattern covers a text, by dynamic programming: for each prefix of the pattern, the prefixes of
/// the text that it covers.
fn reference_match(pattern: &[u8], text: &[u8]) -> bool {
    let mut covered = vec![false; text.len() + 1];
    covered.splice(..1, [true]);
    for wanted in pattern {
        let mut before = covered.first().copied().unwrap_or(false);
        let mut any = before && *wanted == b'*';
        covered.splice(..1, [any]);
        for (byte, place) in text.iter().zip(covered.iter_mut().skip(1)) {
            let above = std::mem::replace(&mut before, *place);
            any = match wanted {
                b'*' => any || *place,
                _ => above && wanted == byte,
            };
            *place = any;
        }
    }
    covered.last().copied().unwrap_or(false)
}
