//! The users of a broker: a file with names, roles and the hashes of tokens.
//!
//! - [`Users`]: who there is, and whose token this is; as a file, [`Users::read`] and
//!   [`Users::edit`].
//! - [`Token`]: the secret that a user proves itself with.
//! - [`domain_key`]: the key that signs tickets, in a file beside.
//! - [`LoginThrottle`]: who has to wait after too many wrong tokens.

mod domain;
mod error;
mod file;
mod logins;
mod token;

pub use domain::domain_key;
pub use error::{Place, UsersError};
pub use logins::LoginThrottle;
pub use token::{InvalidToken, Token};

use pyroxene_common::access::{
    Identity, LimitChange, LimitOverrides, Patterns, Revocation, Role, check_user_name,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use token::TokenHash;

/// How many users there may be.
pub const MAX_USERS: usize = 10_000;

/// For how long it is kept in mind who was removed, in milliseconds: a day, which no ticket lasts.
const REMOVED_FOR_MS: u64 = 24 * 60 * 60 * 1000;

/// The end of the year 9999, in Unix milliseconds. No calendar goes on from there.
const END_OF_TIME_MS: u64 = 253_402_300_799_999;

/// Everybody who may log in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    #[serde(default)]
    users: BTreeMap<String, User>,
    /// When those who are no more were removed, in Unix milliseconds, for as long as tickets of
    /// theirs could be in force.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    removed: BTreeMap<String, u64>,
}

/// Somebody who may log in, unless revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    role: Role,
    allow: Patterns,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenHash>,
    #[serde(rename = "issued")]
    issued_ms: u64,
    #[serde(rename = "revoked", skip_serializing_if = "Option::is_none")]
    revoked_ms: Option<u64>,
    /// What is said of its limits beyond the defaults.
    #[serde(default, skip_serializing_if = "LimitOverrides::is_empty")]
    limits: LimitOverrides,
}

impl User {
    /// What they may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The objects and methods that they may do it with.
    pub fn allow(&self) -> &Patterns {
        &self.allow
    }

    /// Whether they may log in.
    pub fn is_active(&self) -> bool {
        self.token.is_some()
    }

    /// When their last token was made, in Unix milliseconds.
    pub fn issued_ms(&self) -> u64 {
        self.issued_ms
    }

    /// When they were last revoked, in Unix milliseconds. They may have got a new token since.
    pub fn revoked_ms(&self) -> Option<u64> {
        self.revoked_ms
    }

    /// What is said of their limits beyond the defaults.
    pub fn limits(&self) -> &LimitOverrides {
        &self.limits
    }

    fn identity(&self, name: &str) -> Identity {
        Identity {
            name: name.to_owned(),
            role: self.role,
            allow: self.allow.clone(),
        }
    }
}

impl Users {
    /// Each of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }

    /// Adds a user. The token that it returns is kept nowhere.
    ///
    /// # Errors
    ///
    /// [`UsersError::InvalidName`], [`UsersError::Exists`], [`UsersError::Full`], or
    /// [`UsersError::NoToken`].
    pub fn add(
        &mut self,
        name: &str,
        role: Role,
        allow: Patterns,
        now_ms: u64,
    ) -> Result<Token, UsersError> {
        check_user_name(name)?;
        if self.users.contains_key(name) {
            return Err(UsersError::Exists { name: name.into() });
        }
        if self.users.len() >= MAX_USERS {
            return Err(UsersError::Full);
        }
        let token = Token::generate()?;
        let user = User {
            role,
            allow,
            token: Some(token.hash()),
            issued_ms: now_ms,
            revoked_ms: None,
            limits: LimitOverrides::default(),
        };
        self.users.insert(name.to_owned(), user);
        Ok(token)
    }

    /// Removes a user. Its tickets are void like those of a user who is [revoked](Self::revoke).
    ///
    /// # Errors
    ///
    /// [`UsersError::Unknown`].
    pub fn remove(&mut self, name: &str, now_ms: u64) -> Result<(), UsersError> {
        let Some(user) = self.users.remove(name) else {
            return Err(UsersError::Unknown { name: name.into() });
        };
        let is_fresh = |at: u64| now_ms.saturating_sub(at) < REMOVED_FOR_MS;
        self.removed.retain(|_, at| is_fresh(*at));
        let until_ms = now_ms.max(user.revoked_ms.unwrap_or_default());
        self.removed.insert(name.to_owned(), until_ms);
        Ok(())
    }

    /// Gives a user a new token in place of the old one, also if it is revoked.
    ///
    /// # Errors
    ///
    /// [`UsersError::Unknown`] or [`UsersError::NoToken`].
    pub fn rotate(&mut self, name: &str, now_ms: u64) -> Result<Token, UsersError> {
        let user = self.user(name)?;
        let token = Token::generate()?;
        (user.token, user.issued_ms) = (Some(token.hash()), now_ms);
        Ok(token)
    }

    /// Ends a user's token, and every ticket that was issued to it until now.
    ///
    /// # Errors
    ///
    /// [`UsersError::Unknown`].
    pub fn revoke(&mut self, name: &str, now_ms: u64) -> Result<(), UsersError> {
        let user = self.user(name)?;
        user.token = None;
        // A clock that was set back must not bring old tickets to life.
        user.revoked_ms = user.revoked_ms.max(Some(now_ms));
        Ok(())
    }

    /// Changes limits of a user.
    ///
    /// # Errors
    ///
    /// [`UsersError::Unknown`].
    pub fn limit(&mut self, name: &str, changes: &[LimitChange]) -> Result<(), UsersError> {
        let user = self.user(name)?;
        changes
            .iter()
            .for_each(|change| user.limits.change(*change));
        Ok(())
    }

    fn user(&mut self, name: &str) -> Result<&mut User, UsersError> {
        self.users
            .get_mut(name)
            .ok_or_else(|| UsersError::Unknown { name: name.into() })
    }

    /// Whose token this is, if it is that user's. An unknown user takes the same work as a wrong
    /// token, so that names cannot be found out by measuring.
    pub fn authenticate(&self, name: &str, token: &Token) -> Option<Identity> {
        let user = self.users.get(name);
        let stored = user.and_then(|user| user.token.as_ref());
        let is_right = token.hash().is(stored.unwrap_or(&TokenHash::OF_NOTHING));
        let user = user.filter(|user| is_right && user.is_active())?;
        Some(user.identity(name))
    }

    /// A user who has proved the name in another way, such as by certificate. None if there is no
    /// such user or it is revoked.
    pub fn identity(&self, name: &str) -> Option<Identity> {
        let user = self.users.get(name).filter(|user| user.is_active())?;
        Some(user.identity(name))
    }

    /// Whether there is such a user, revoked or not.
    pub fn contains(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// Whose tickets are void up to when: one for each name, by name.
    pub fn revocations(&self) -> Vec<Revocation> {
        let mut all = self.removed.clone();
        for (name, user) in self.iter() {
            if let Some(revoked_ms) = user.revoked_ms {
                // The name may have been another's before.
                let until_ms = all.entry(name.to_owned()).or_default();
                *until_ms = revoked_ms.max(*until_ms);
            }
        }
        let revocation = |(name, until_ms)| Revocation { name, until_ms };
        all.into_iter().map(revocation).collect()
    }

    /// Refuses what could be written in a file but must not be: which user, and why.
    fn check(&self) -> Result<(), (Option<&str>, String)> {
        let count = self.users.len();
        if count > MAX_USERS {
            return Err((
                None,
                format!("there are {count} users, the limit is {MAX_USERS}"),
            ));
        }
        let times = self.iter().map(|(name, user)| {
            let revoked_ms = user.revoked_ms.unwrap_or_default();
            (name, user.issued_ms.max(revoked_ms))
        });
        let removed = self.removed.iter().map(|(name, at)| (name.as_str(), *at));
        for (name, latest) in times.chain(removed) {
            check_user_name(name).map_err(|error| (None, error.to_string()))?;
            if latest > END_OF_TIME_MS {
                return Err((Some(name), "a time is after the year 9999".to_owned()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
