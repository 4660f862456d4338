//! Which names a caller may use, and the rules for names, ids and texts.

use crate::interfaces::chat::{ChatError, MAX_ID, MAX_NAME, MAX_TEXT};
use pyroxene_common::{
    clean,
    identity::{Identity, Role},
    scope,
};
use std::sync::Arc;

/// The caller of the current call, where it is authenticated.
#[derive(Clone, Debug)]
pub(super) struct Speaker(Option<Arc<Identity>>);

impl Speaker {
    /// Must be called before the first await.
    pub(super) fn current() -> Self {
        Self(scope::current().caller.identity.clone())
    }

    /// The user that the caller has proved to be; empty without authentication.
    pub(super) fn user(&self) -> String {
        self.0
            .as_ref()
            .map_or_else(String::new, |identity| identity.name.clone())
    }

    /// Whether the caller is authenticated.
    pub(super) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Refuses to speak or read under another user's name.
    pub(super) fn check(&self, name: &str) -> Result<(), ChatError> {
        match self.0.as_deref() {
            Some(identity) if identity.role != Role::Admin && identity.name != name => {
                Err(ChatError::Denied {
                    user: identity.name.clone(),
                    name: name.to_owned(),
                })
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn check_name(parameter: &str, name: &str) -> Result<(), ChatError> {
    if name.is_empty() || name.chars().nth(MAX_NAME).is_some() {
        let rule = format!("must have 1 to {MAX_NAME} characters");
        return Err(invalid(parameter, rule));
    }
    if !clean::is_word(name) {
        let rule = "must have no blanks, no control characters and no invisible ones";
        return Err(invalid(parameter, rule.to_owned()));
    }
    Ok(())
}

/// Checks an id or a session.
pub(super) fn check_id(parameter: &str, id: String) -> Result<String, ChatError> {
    if id.is_empty() || id.chars().nth(MAX_ID).is_some() || !clean::is_line(&id) {
        let rule = format!("must have 1 to {MAX_ID} characters, and no control characters");
        return Err(invalid(parameter, rule));
    }
    Ok(id)
}

pub(super) fn check_text(text: &str) -> Result<(), ChatError> {
    if text.is_empty() || text.chars().nth(MAX_TEXT).is_some() {
        let rule = format!("must have 1 to {MAX_TEXT} characters");
        return Err(invalid("text", rule));
    }
    // Control characters could change the terminal of a reader.
    let forbidden = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.chars().any(forbidden) {
        let rule = "must have no control characters but line breaks and tabs";
        return Err(invalid("text", rule.to_owned()));
    }
    Ok(())
}

fn invalid(parameter: &str, rule: String) -> ChatError {
    ChatError::Invalid {
        parameter: parameter.to_owned(),
        rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::identity::Patterns;

    #[test]
    fn names_are_one_word_and_texts_harm_no_terminal() {
        for name in ["ana", "größe", &"x".repeat(MAX_NAME)] {
            assert_eq!(check_name("name", name), Ok(()));
        }
        for name in [
            "",
            "a b",
            "a\n",
            "ana\u{200b}",
            "\u{202e}ana",
            "\u{1b}[2J",
            &"x".repeat(MAX_NAME + 1),
        ] {
            assert!(check_name("name", name).is_err(), "{name:?}");
        }
        assert_eq!(check_text("two\n\tlines"), Ok(()));
        for text in ["", "\u{1b}[2J", "a\rb", &"x".repeat(MAX_TEXT + 1)] {
            assert!(check_text(text).is_err(), "{text:?}");
        }
        assert!(check_id("id", "x".repeat(MAX_ID + 1)).is_err());
    }

    #[test]
    fn who_is_known_speaks_for_itself_unless_it_is_an_admin() {
        let speaker = |role| {
            Speaker(Some(Arc::new(Identity {
                name: "ana".to_owned(),
                role,
                allow: Patterns::any(),
            })))
        };
        assert_eq!(speaker(Role::User).check("ana"), Ok(()));
        let denied = speaker(Role::User).check("bob").unwrap_err();
        assert_eq!(denied.to_string(), "'ana' may not speak or read as 'bob'");
        assert_eq!(speaker(Role::Admin).check("bob"), Ok(()));
        assert_eq!(Speaker(None).check("bob"), Ok(()));
    }
}
