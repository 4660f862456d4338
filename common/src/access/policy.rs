//! Which methods of an object a caller may call. This is decided once for each connection.

use super::denials::denied;
use crate::{
    hello::{HelloRefusal, RefusalCode},
    identity::{Identity, Role},
    interface::Method,
    message::{Refusal, RefusalReason},
};
use std::sync::Arc;

/// The rule by which an object decides which methods a caller may call.
#[derive(Clone, Copy, Debug)]
pub enum AccessPolicy {
    /// Every caller may call every method, including unauthenticated callers.
    Open,
    /// Admins may call every method, users those that their patterns allow, and other roles none.
    Patterns,
    /// A role may call the methods for which this returns `true`.
    Roles(fn(Role, method: &str) -> bool),
}

/// The methods that one connection may call.
#[derive(Clone, Debug)]
pub struct MethodPermissions(Option<Arc<PartialPermissions>>);

#[derive(Debug)]
struct PartialPermissions {
    identity: Arc<Identity>,
    object: String,
    /// One entry for each method, in the order of the interface.
    allowed: Box<[bool]>,
}

impl MethodPermissions {
    /// Every method is allowed.
    pub const EVERYTHING: Self = Self(None);

    /// Whether every method is allowed, so that calls need no check.
    pub fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Checks whether the method at position `index` of `methods` may be called. A denial is logged.
    pub fn check(&self, index: usize, methods: &[Method]) -> Result<(), Refusal> {
        let Some(limited) = &self.0 else {
            return Ok(());
        };
        if limited.allowed.get(index).copied().unwrap_or(false) {
            return Ok(());
        }
        let method = methods.get(index).map_or("?", |method| method.name);
        Err(Refusal {
            reason: RefusalReason::Denied,
            retry_after_ms: 0,
            message: denied(&limited.identity, &format!("{}.{method}", limited.object)),
        })
    }

    /// Refuses a connection that may call no method.
    pub(crate) fn or_refuse(self) -> Result<Self, HelloRefusal> {
        match &self.0 {
            Some(limited) if !limited.allowed.contains(&true) => {
                let message = denied(&limited.identity, &limited.object);
                Err(HelloRefusal::new(RefusalCode::Denied, message))
            }
            _ => Ok(self),
        }
    }
}

impl AccessPolicy {
    /// The methods of an object that an identity may call; at most the method `only`, if it is given.
    pub(crate) fn permit(
        self,
        identity: &Arc<Identity>,
        object: &str,
        methods: &[Method],
        only: Option<&str>,
    ) -> MethodPermissions {
        let may_call = |method: &Method| match self {
            _ if only.is_some_and(|only| only != method.name) => false,
            Self::Open => true,
            Self::Patterns => identity.may_call(object, method.name),
            Self::Roles(may_call) => may_call(identity.role, method.name),
        };
        let allowed: Box<[bool]> = methods.iter().map(may_call).collect();
        if !allowed.contains(&false) {
            return MethodPermissions::EVERYTHING;
        }
        MethodPermissions(Some(Arc::new(PartialPermissions {
            identity: Arc::clone(identity),
            object: object.to_owned(),
            allowed,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{interface::Interface, interfaces::directory::Directory};

    crate::interface! {
        #[name = "Test.Echo"]
        #[version = 1]
        trait Echo in echo {
            async fn echo();
            async fn sleep();
            async fn fail();
            async fn whoami();
        }
    }

    fn identity(role: Role, allow: &[&str]) -> Arc<Identity> {
        let allow: Vec<_> = allow.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Identity {
            name: "ana".to_owned(),
            role,
            allow: allow.try_into().unwrap(),
        })
    }

    /// The methods of `echo` that an identity may call.
    fn allowed(role: Role, allow: &[&str]) -> Vec<&'static str> {
        let permit =
            AccessPolicy::Patterns.permit(&identity(role, allow), "echo", Echo::METHODS, None);
        let methods = Echo::METHODS.iter().enumerate();
        methods
            .filter(|(index, _)| permit.check(*index, Echo::METHODS).is_ok())
            .map(|(_, method)| method.name)
            .collect()
    }

    #[test]
    fn a_user_may_call_what_the_patterns_allow_and_other_roles_nothing_or_all() {
        let all = ["echo", "sleep", "fail", "whoami"];
        assert_eq!(allowed(Role::User, &["echo"]), all);
        assert_eq!(allowed(Role::User, &["echo.whoami", "text"]), ["whoami"]);
        assert_eq!(allowed(Role::User, &["text"]), [""; 0]);
        assert_eq!(allowed(Role::Admin, &[]), all);
        assert_eq!(allowed(Role::Worker, &["*"]), [""; 0]);
        assert_eq!(allowed(Role::Observer, &["*"]), [""; 0]);
    }

    #[test]
    fn whoever_may_call_everything_is_not_checked_again() {
        let permit = AccessPolicy::Patterns.permit(
            &identity(Role::User, &["*"]),
            "echo",
            Echo::METHODS,
            None,
        );
        assert!(permit.is_everything());
        let permit =
            AccessPolicy::Open.permit(&identity(Role::Observer, &[]), "echo", Echo::METHODS, None);
        assert!(permit.is_everything());
    }

    #[test]
    fn a_denial_says_who_and_what() {
        let user = identity(Role::User, &["echo.whoami"]);
        let permit = AccessPolicy::Patterns.permit(&user, "echo", Echo::METHODS, None);
        let refusal = permit.check(1, Echo::METHODS).unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::Denied);
        assert_eq!(refusal.message, "'ana' (user) may not call echo.sleep");
        assert!(permit.check(99, Echo::METHODS).is_err());
        assert!(permit.or_refuse().is_ok());
        let permit = AccessPolicy::Patterns.permit(&user, "text", Echo::METHODS, None);
        let refused = permit.or_refuse().unwrap_err();
        assert_eq!(refused.code, RefusalCode::Denied);
        assert_eq!(refused.message, "'ana' (user) may not call text");
    }

    #[test]
    fn for_one_method_nothing_else_is_allowed_whoever_it_is() {
        let admin = identity(Role::Admin, &["*"]);
        for policy in [
            AccessPolicy::Patterns,
            AccessPolicy::Open,
            AccessPolicy::Roles(|_, _| true),
        ] {
            let permit = policy.permit(&admin, "echo", Echo::METHODS, Some("sleep"));
            let methods = Echo::METHODS.iter().enumerate();
            let allowed: Vec<_> = methods
                .filter(|(index, _)| permit.check(*index, Echo::METHODS).is_ok())
                .map(|(_, method)| method.name)
                .collect();
            assert_eq!(allowed, ["sleep"]);
        }
    }

    #[test]
    fn roles_decide_where_patterns_do_not() {
        let look = |_: Role, method: &str| method == "list";
        let observer = identity(Role::Observer, &[]);
        let permit =
            AccessPolicy::Roles(look).permit(&observer, "directory", Directory::METHODS, None);
        let index = |name| {
            Directory::METHODS
                .iter()
                .position(|method| method.name == name)
        };
        assert!(
            permit
                .check(index("list").unwrap(), Directory::METHODS)
                .is_ok()
        );
        assert!(
            permit
                .check(index("open").unwrap(), Directory::METHODS)
                .is_err()
        );
    }
}
