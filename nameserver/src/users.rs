//! The users of a broker: a file with names, roles and the public keys of tokens.
//!
//! - [`Users`]: the users, and the verification of their tokens; as a file, [`Users::read`] and
//!   [`Users::edit`].
//! - [`domain_key`]: the key that signs tickets, in a file beside the users file, and [`replace_domain_key`].
//! - [`LoginThrottle`]: delays logins after too many wrong tokens.

mod domain;
mod error;
mod file;
mod logins;
mod token;

pub(crate) use domain::key_path;
pub use domain::{domain_key, replace_domain_key};
pub use error::{UsersError, UsersFilePosition};
pub use logins::LoginThrottle;

use pyroxene_common::{
    identity::{HolderId, Identity, Patterns, Revocation, Role, Token, check_user_name},
    limits::{LimitChange, LimitOverrides},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use token::{DUMMY_KEY, TokenKey};

/// The most users.
pub const MAX_USERS: usize = 10_000;

/// The most names of removed users that are kept. Beyond it, the name that was removed longest ago is
/// dropped.
const MAX_REMOVED: usize = 10_000;

/// No ticket is valid for longer, in milliseconds: a day.
const LONGEST_TICKET_MS: u64 = 24 * 60 * 60 * 1000;

/// The end of the year 9999, in Unix milliseconds: the latest time that is accepted.
const END_OF_TIME_MS: u64 = 253_402_300_799_999;

/// The users who may log in.
///
/// ```
/// use pyroxene_common::identity::{Pattern, Patterns, Role};
/// use pyroxene_nameserver::users::Users;
///
/// # let now_ms = std::time::UNIX_EPOCH.elapsed()?.as_millis() as u64;
/// let mut users = Users::default();
/// let only_text = Patterns::try_from(vec!["text".parse::<Pattern>()?])?;
/// let token = users.add("ana", Role::User, only_text, now_ms)?;
/// println!("ana logs in with {}", &*token.expose());
///
/// let ana = users.identity("ana").expect("the user is active");
/// assert!(ana.allow.allows("text", Some("reverse")) && !ana.allow.allows("hash", None));
/// users.revoke("ana", now_ms)?;
/// assert_eq!(users.identity("ana"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    #[serde(default)]
    users: BTreeMap<String, User>,
    /// When removed users were removed, in Unix milliseconds. Their tickets and certificates are void.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    removed: BTreeMap<String, u64>,
}

/// A user, who may log in unless revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    role: Role,
    allow: Patterns,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenKey>,
    /// Whether the user has no token and logs in only by certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    certificate: bool,
    #[serde(rename = "issued")]
    issued_ms: u64,
    #[serde(rename = "revoked", skip_serializing_if = "Option::is_none")]
    revoked_ms: Option<u64>,
    /// The user's limits that differ from the defaults.
    #[serde(default, skip_serializing_if = "LimitOverrides::is_empty")]
    limits: LimitOverrides,
}

impl User {
    /// The user's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The objects and methods to which the role's rights apply.
    pub fn allow(&self) -> &Patterns {
        &self.allow
    }

    /// Whether the user may log in.
    pub fn is_active(&self) -> bool {
        self.token.is_some() || self.certificate
    }

    /// Whether the user has no token and logs in only by certificate.
    pub fn is_certificate_only(&self) -> bool {
        self.certificate
    }

    /// When the user's last token was made, in Unix milliseconds.
    pub fn issued_ms(&self) -> u64 {
        self.issued_ms
    }

    /// When the user was last revoked, in Unix milliseconds. The user may have got a new token since.
    pub fn revoked_ms(&self) -> Option<u64> {
        self.revoked_ms
    }

    /// The user's limits that differ from the defaults.
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
    /// The users by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }

    /// Adds a user. The returned token is stored nowhere.
    ///
    /// # Errors
    ///
    /// [`UsersError::InvalidName`], [`UsersError::Exists`], [`UsersError::Full`], or
    /// [`UsersError::NoKey`].
    pub fn add(
        &mut self,
        name: &str,
        role: Role,
        allow: Patterns,
        now_ms: u64,
    ) -> Result<Token, UsersError> {
        let token = Token::generate()?;
        let key = TokenKey(token.key()?.id());
        let user = User {
            role,
            allow,
            token: Some(key),
            certificate: false,
            issued_ms: now_ms,
            revoked_ms: None,
            limits: LimitOverrides::default(),
        };
        self.insert(name, user)?;
        Ok(token)
    }

    /// Adds a user who has no token and logs in by a certificate with this name.
    ///
    /// # Errors
    ///
    /// [`UsersError::InvalidName`], [`UsersError::Exists`] or [`UsersError::Full`].
    pub fn add_certificate(
        &mut self,
        name: &str,
        role: Role,
        allow: Patterns,
        now_ms: u64,
    ) -> Result<(), UsersError> {
        let user = User {
            role,
            allow,
            token: None,
            certificate: true,
            issued_ms: now_ms,
            revoked_ms: None,
            limits: LimitOverrides::default(),
        };
        self.insert(name, user)
    }

    fn insert(&mut self, name: &str, user: User) -> Result<(), UsersError> {
        check_user_name(name)?;
        if self.users.contains_key(name) {
            return Err(UsersError::Exists { name: name.into() });
        }
        if self.users.len() >= MAX_USERS {
            return Err(UsersError::Full);
        }
        self.users.insert(name.to_owned(), user);
        Ok(())
    }

    /// Removes a user. Its tickets become void, as those of a [revoked](Self::revoke) user, and its
    /// certificates are not accepted until a user of that name is added again.
    ///
    /// # Errors
    ///
    /// [`UsersError::Unknown`].
    pub fn remove(&mut self, name: &str, now_ms: u64) -> Result<(), UsersError> {
        let Some(user) = self.users.remove(name) else {
            return Err(UsersError::Unknown { name: name.into() });
        };
        self.mark_removed(name, now_ms.max(user.revoked_ms.unwrap_or_default()));
        Ok(())
    }

    /// Notes that a name was removed.
    fn mark_removed(&mut self, name: &str, at_ms: u64) {
        let at = self.removed.entry(name.to_owned()).or_default();
        *at = at_ms.max(*at);
        while self.removed.len() > MAX_REMOVED {
            let oldest = self.removed.iter().min_by_key(|(_, at)| **at);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                return;
            };
            self.removed.remove(&oldest);
        }
    }

    /// Gives a user a new token in the place of the old one, also if the user is revoked, or logged in only
    /// by certificate.
    ///
    /// ```
    /// use pyroxene_common::identity::{Patterns, Role};
    /// use pyroxene_nameserver::users::Users;
    ///
    /// # let now_ms = std::time::UNIX_EPOCH.elapsed()?.as_millis() as u64;
    /// let mut users = Users::default();
    /// let lost = users.add("ana", Role::User, Patterns::any(), now_ms)?;
    /// let fresh = users.rotate("ana", now_ms)?;
    /// let key = lost.key()?.id();
    /// assert_eq!(users.authenticate("ana", |current| *current == key), None);
    /// let key = fresh.key()?.id();
    /// assert!(users.authenticate("ana", |current| *current == key).is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UsersError::Unknown`] or [`UsersError::NoKey`].
    pub fn rotate(&mut self, name: &str, now_ms: u64) -> Result<Token, UsersError> {
        let user = self.user(name)?;
        let token = Token::generate()?;
        user.token = Some(TokenKey(token.key()?.id()));
        (user.certificate, user.issued_ms) = (false, now_ms);
        Ok(token)
    }

    /// Revokes a user's token, and every ticket that was issued to the user until now.
    ///
    /// # Errors
    ///
    /// [`UsersError::Unknown`].
    pub fn revoke(&mut self, name: &str, now_ms: u64) -> Result<(), UsersError> {
        let user = self.user(name)?;
        (user.token, user.certificate) = (None, false);
        // If the clock was set back, tickets that were void must stay void.
        user.revoked_ms = user.revoked_ms.max(Some(now_ms));
        Ok(())
    }

    /// Changes limits of a user.
    ///
    /// ```
    /// use pyroxene_common::{limits::Limit, identity::{Patterns, Role}};
    /// use pyroxene_nameserver::users::Users;
    ///
    /// # let now_ms = std::time::UNIX_EPOCH.elapsed()?.as_millis() as u64;
    /// let mut users = Users::default();
    /// users.add("ana", Role::User, Patterns::any(), now_ms)?;
    /// users.limit("ana", &["tasks=500".parse()?])?;
    /// let limits = users.iter().map(|(_, user)| user.limits().get(Limit::Tasks));
    /// assert_eq!(limits.collect::<Vec<_>>(), [Some(500)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Revokes the certificates with a name, whether a user of that name is listed or not.
    ///
    /// # Errors
    ///
    /// [`UsersError::InvalidName`].
    pub fn revoke_certificate(&mut self, name: &str, now_ms: u64) -> Result<(), UsersError> {
        if self.contains(name) {
            return self.revoke(name, now_ms);
        }
        check_user_name(name)?;
        self.mark_removed(name, now_ms);
        Ok(())
    }

    fn user(&mut self, name: &str) -> Result<&mut User, UsersError> {
        self.users
            .get_mut(name)
            .ok_or_else(|| UsersError::Unknown { name: name.into() })
    }

    /// The user of this name, if `is_signed_by` says that the user's token has signed the login. An unknown
    /// user takes as long as a wrong token, so that names cannot be found out by measuring.
    pub fn authenticate(
        &self,
        name: &str,
        is_signed_by: impl FnOnce(&HolderId) -> bool,
    ) -> Option<Identity> {
        let user = self.users.get(name);
        let key = user.and_then(|user| user.token).map(|key| key.0);
        let is_signed = is_signed_by(&key.or(*DUMMY_KEY)?);
        let user = user.filter(|user| is_signed && user.token.is_some())?;
        Some(user.identity(name))
    }

    /// A user who is authenticated in another way, such as by certificate. None if the user does not exist or
    /// is revoked.
    pub fn identity(&self, name: &str) -> Option<Identity> {
        let user = self.users.get(name).filter(|user| user.is_active())?;
        Some(user.identity(name))
    }

    /// Whether the user exists, revoked or not.
    pub fn contains(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// Whether a user of this name was removed, or its certificates were revoked.
    pub fn was_removed(&self, name: &str) -> bool {
        self.removed.contains_key(name)
    }

    /// Until when the tickets of which names are void, by name. Names are left out that were removed so long
    /// ago that none of their tickets can still be valid.
    pub fn revocations(&self, now_ms: u64) -> Vec<Revocation> {
        let mut all = self.removed.clone();
        all.retain(|_, at| now_ms.saturating_sub(*at) < LONGEST_TICKET_MS);
        for (name, user) in self.iter() {
            if let Some(revoked_ms) = user.revoked_ms {
                // The name may have been another user's before.
                let until_ms = all.entry(name.to_owned()).or_default();
                *until_ms = revoked_ms.max(*until_ms);
            }
        }
        let revocation = |(name, until_ms)| Revocation { name, until_ms };
        all.into_iter().map(revocation).collect()
    }

    /// Refuses values that the file format allows but the users may not have. Returns the user and the
    /// reason.
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
        let narrowed = |user: &User| user.role == Role::Admin && user.allow != Patterns::any();
        if let Some((name, _)) = self.iter().find(|(_, user)| narrowed(user)) {
            let why = "an admin may do everything, so 'allow' has to be [\"*\"]";
            return Err((Some(name), why.to_owned()));
        }
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
