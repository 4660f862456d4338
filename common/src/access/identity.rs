//! Somebody whom a broker knows.

use super::{Patterns, Role, token::looks_like_token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long the name of a user may be: as long as a certificate's common name.
const MAX_USER_NAME: usize = 64;

/// Somebody whom a broker knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The name in the users file or the certificate.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The objects and methods that they may do it with.
    pub allow: Patterns,
}

/// What the names of those begin with that act within the processes of a broker, such as its
/// dispatcher. Nobody has such a name who comes over a socket.
const RESERVED: &str = "pyroxene:";

/// Whether a name is kept for what acts within the processes of a broker.
pub fn is_reserved(name: &str) -> bool {
    name.get(..RESERVED.len())
        .is_some_and(|beginning| beginning.eq_ignore_ascii_case(RESERVED))
}

/// A text that is not the name of a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a name for a user: {why}", name.escape_debug())]
pub struct InvalidUserName {
    name: String,
    why: &'static str,
}

/// Accepts what can be the name of a user, which is what can be that of a certificate's holder: 1 to
/// 64 letters, digits, `.`, `_` and `-` of ASCII, the first neither a dot nor a hyphen.
///
/// # Errors
///
/// [`InvalidUserName`], which says why it cannot.
pub fn check_user_name(name: &str) -> Result<(), InvalidUserName> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if looks_like_token(name) {
        return Err(InvalidUserName {
            name: "(a token)".to_owned(),
            why: "a token is a secret",
        });
    }
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_USER_NAME {
        "it has more than 64 characters"
    } else if !name.chars().all(is_allowed) {
        "only letters, digits, '.', '_' and '-' are allowed"
    } else if name.starts_with(['.', '-']) {
        "it starts with a dot or a hyphen"
    } else {
        return Ok(());
    };
    Err(InvalidUserName {
        name: name.chars().take(MAX_USER_NAME).collect(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users_are_short_and_plain() {
        for name in ["ana", "Ada_Lovelace", "w1.example.com", "_x", "1"] {
            assert_eq!(check_user_name(name), Ok(()), "{name}");
        }
        assert!(check_user_name(&"a".repeat(64)).is_ok());
        let token = format!("prx_{}", "A".repeat(43));
        let error = check_user_name(&token).unwrap_err().to_string();
        assert!(!error.contains(&token), "{error}");
        let long = "a".repeat(65);
        for name in [
            "", ".", ".x", "-x", "a/b", "a b", "a\nb", "a*", "größe", &long,
        ] {
            let error = check_user_name(name).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.len() < 200, "{error}");
        }
    }

    #[test]
    fn an_identity_is_json_as_documented() {
        let json = r#"{"name":"ana","role":"user","allow":["calculator","accounts.q*"]}"#;
        let identity: Identity = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&identity).unwrap(), json);
        assert!(identity.allow.allows("accounts", Some("query")));
    }
}
