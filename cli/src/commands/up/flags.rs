//! The flags of child processes, and of clients that reach them.

use super::UpArguments;
use crate::{
    contexts::{Contexts, NO_CONTEXT},
    flags::DaemonArguments,
    security::UsersArguments,
};
use pyroxene_common::tls::ClientAuth;
use std::env;

/// The flags of every child.
pub(super) fn common_flags(daemon: &DaemonArguments) -> Vec<String> {
    let mut flags = vec![
        "--exit-with-parent".to_owned(),
        "--log".to_owned(),
        daemon.log.name().to_owned(),
        "--start-timeout".to_owned(),
        daemon.start_timeout.to_string(),
    ];
    if !daemon.pyro {
        flags.extend(["--pyro".to_owned(), "off".to_owned()]);
    }
    if daemon.insecure {
        flags.push("--insecure".to_owned());
    }
    let tls = &daemon.tls;
    for (flag, file) in [
        ("--tls-cert", &tls.tls_cert),
        ("--tls-key", &tls.tls_key),
        ("--tls-ca", &tls.tls_ca),
    ] {
        if let Some(file) = file {
            flags.extend([flag.to_owned(), file.display().to_string()]);
        }
    }
    let demand = daemon.client_auth.tls_client_auth;
    flags.extend(["--tls-client-auth".to_owned(), demand.to_string()]);
    flags
}

/// The flags that clients need to reach these daemons.
pub(super) fn client_flags(arguments: &UpArguments) -> String {
    let mut flags = no_context();
    let tls = &arguments.daemon.tls;
    if let (Some(_), Some(ca)) = (&tls.tls_cert, &tls.tls_ca) {
        flags.push_str(&format!(" --tls-ca {}", ca.display()));
    }
    if arguments.users.users.is_some() {
        flags.push_str(" --user NAME --token-file FILE");
    } else if arguments.daemon.client_auth.tls_client_auth == ClientAuth::Required {
        flags.push_str(" --tls-cert FILE --tls-key FILE");
    }
    flags
}

/// The flag that turns a context off, if there is one: it may have TLS and a login that are not this broker's.
fn no_context() -> String {
    let variable = |name: &str| env::var_os(name);
    let current = || Contexts::of_user(&variable)?.current().ok()?;
    let has_context = variable("PYROXENE_CONTEXT").is_some() || current().is_some();
    match has_context {
        true => format!(" --context {NO_CONTEXT}"),
        false => String::new(),
    }
}

/// The flags of the users, for a name server.
pub(super) fn users_flags(users: &UsersArguments) -> Vec<String> {
    let life = humantime::format_duration(users.ticket_life).to_string();
    let mut flags = vec!["--ticket-life".to_owned(), life];
    if let Some(file) = &users.users {
        flags.extend(["--users".to_owned(), file.display().to_string()]);
        flags.extend(["--certificates".to_owned(), users.certificates.to_string()]);
    }
    flags
}
