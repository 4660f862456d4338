//! The identity of an authenticated user or worker.

use super::{Patterns, Role, token::looks_like_token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest name of a user, in characters: as long as a certificate's common name may be.
const MAX_USER_NAME: usize = 64;

/// The identity of an authenticated user or worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The name in the users file or the certificate.
    pub name: String,
    /// The role, which says which kinds of operations are allowed.
    pub role: Role,
    /// The objects and methods for which the role is valid.
    pub allow: Patterns,
}

impl Identity {
    /// Whether it may call a method of an object that has no rule of its own: admins may call every method, users
    /// those that their patterns allow, and other roles none.
    pub fn may_call(&self, object: &str, method: &str) -> bool {
        match self.role {
            Role::Admin => true,
            Role::User => self.allow.allows(object, Some(method)),
            Role::Worker | Role::Observer => false,
        }
    }
}

/// The prefix of identities that act inside the processes of a broker, such as its dispatcher. No peer of a
/// socket can have such a name.
const RESERVED: &str = "pyroxene:";

/// Whether a name is reserved for identities that act inside the processes of a broker.
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

/// Checks the name of a user. The rules are those of the name of a certificate's holder: 1 to 64 ASCII
/// letters, digits, `.`, `_` and `-`; the first character is neither a dot nor a hyphen.
///
/// ```
/// use pyroxene_common::identity::check_user_name;
///
/// assert!(check_user_name("ana.b-2").is_ok());
/// let error = check_user_name("-ana").unwrap_err();
/// assert!(error.to_string().contains("it starts with a dot or a hyphen"));
/// ```
///
/// # Errors
///
/// [`InvalidUserName`], which says why the name is not valid.
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
