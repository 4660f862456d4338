//! Which accounts a user may use.

use crate::interfaces::accounts::AccountsError;
use pyroxene_common::{
    identity::{Identity, Role},
    scope,
};

/// The prefix of patterns that grant an account of another name. A pattern such as `*` grants calls of
/// methods, not the use of other users' accounts.
const GRANT: &str = "account:";

/// Whether accounts belong to the users of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerRule {
    /// A caller that may call a method may call it for every account.
    Off,
    /// Every account belongs to a user.
    On,
}

impl OwnerRule {
    /// Refuses an account that the caller may not use. Must be called before the first await.
    pub(super) fn check(self, account: &str) -> Result<(), AccountsError> {
        match self {
            Self::Off => Ok(()),
            Self::On => check(scope::current().caller.identity.as_deref(), account),
        }
    }
}

fn check(caller: Option<&Identity>, account: &str) -> Result<(), AccountsError> {
    let Some(Identity { name, role, allow }) = caller else {
        return Ok(());
    };
    let wanted = format!("{GRANT}{account}");
    let is_granted = || {
        let mut grants = allow
            .iter()
            .filter(|pattern| pattern.to_string().starts_with(GRANT));
        grants.any(|pattern| pattern.allows(&wanted, None))
    };
    if *role == Role::Admin || name == account || is_granted() {
        return Ok(());
    }
    Err(AccountsError::Denied {
        caller: name.clone(),
        user: account.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(role: Role, allow: &[&str], account: &str) -> bool {
        let allow: Vec<_> = allow.iter().map(|text| text.parse().unwrap()).collect();
        let identity = Identity {
            name: "ana".to_owned(),
            role,
            allow: allow.try_into().unwrap(),
        };
        check(Some(&identity), account).is_ok()
    }

    #[test]
    fn users_have_their_own_account_and_those_that_they_are_granted() {
        assert!(may(Role::User, &["*"], "ana"));
        assert!(!may(Role::User, &["*"], "bob"));
        assert!(!may(Role::User, &["accounts", "a*"], "bob"));
        assert!(may(Role::User, &["accounts", "account:bob"], "bob"));
        assert!(may(Role::User, &["account:shop-*"], "shop-1"));
        assert!(!may(Role::User, &["account:shop-*"], "bob"));
        assert!(may(Role::Admin, &[], "bob"));
        assert_eq!(check(None, "bob"), Ok(()));
        assert_eq!(OwnerRule::Off.check("bob"), Ok(()));
    }
}
