//! Who may call the directory's methods, and host which names.

use pyroxene_common::{
    access::denials,
    identity::{Identity, Role},
    interfaces::directory::DirectoryError,
};

/// Which methods a role may call. Which names a worker may host is checked in the methods.
pub(crate) fn may_call(role: Role, method: &str) -> bool {
    match method {
        "drain_worker" => role == Role::Admin,
        "open" | "renew" | "hold" | "drain" | "close" | "register" | "remove" => {
            matches!(role, Role::Admin | Role::Worker)
        }
        _ => true,
    }
}

/// Refuses names that the caller may not host. Without authentication, every name is allowed.
pub(crate) fn check_may_host<'a>(
    caller: Option<&Identity>,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), DirectoryError> {
    let Some(Identity {
        name: user,
        role,
        allow,
    }) = caller
    else {
        return Ok(());
    };
    if *role == Role::Admin {
        return Ok(());
    }
    for name in names {
        if !allow.allows(name, None) {
            let name = denials::shortened(name);
            if denials::may_log(user) {
                tracing::warn!(user, %role, name, "hosting denied");
            }
            return Err(DirectoryError::Denied {
                sentence: format!("'{user}' ({role}) may not host '{name}'"),
            });
        }
    }
    Ok(())
}
