//! `pyroxene whoami`: the user and role that the broker has authenticated.

use crate::{
    commands::limits::limit_text,
    failure::Failure,
    flags::ClientArguments,
    nameservers::{ask_nameservers, successful_answers},
    output::{print, print_json},
    table::wrapped,
    terminal,
};
use pyroxene_common::{
    clean,
    identity::{Identity, Role},
    interfaces::access::WhoAmI,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Show the user and role that you are authenticated as
///
/// --json prints an array with one entry per name server that answers: {"nameserver", "authentication",
/// "user", "role", "allow": […], "address", "limits": {"tasks", …}}. user, role and allow are null if
/// authentication is off, and a limit is null if there is none. 'pyroxene limits' shows how much of them is
/// in use. Exit code 3 if no name server listens, 4 if all refuse you, 5 if none answers in
/// time.
#[derive(Debug, clap::Args)]
pub(crate) struct WhoamiArguments {
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Serialize)]
struct WhoamiJson<'a> {
    nameserver: String,
    authentication: bool,
    user: Option<&'a str>,
    role: Option<Role>,
    allow: Option<&'a pyroxene_common::identity::Patterns>,
    address: &'a str,
    limits: BTreeMap<&'static str, Option<u64>>,
}

pub(crate) async fn run(arguments: WhoamiArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let answers = ask_nameservers(&client, |nameserver, context| async move {
        nameserver.access().whoami(context).await
    });
    let known = successful_answers(answers.await)?.into_iter();
    let known: Vec<_> = known
        .map(|(nameserver, who)| (nameserver.endpoint().to_string(), who))
        .collect();
    if arguments.client.json {
        let entries: Vec<_> = known.iter().map(|(at, who)| entry(at, who)).collect();
        return print_json(&entries);
    }
    let lines: Vec<_> = known
        .iter()
        .map(|(at, who)| {
            let (sentence, limits) = (identity_text(who), limits(who));
            format!("{at}: {}\n  limits: {limits}", clean::line(&sentence))
        })
        .collect();
    print(&wrapped(&lines.join("\n"), terminal::columns(), "    "))
}

fn entry<'a>(nameserver: &str, who: &'a WhoAmI) -> WhoamiJson<'a> {
    let identity = who.identity.as_ref();
    WhoamiJson {
        nameserver: nameserver.to_owned(),
        authentication: who.authentication,
        user: identity.map(|identity| &*identity.name),
        role: identity.map(|identity| identity.role),
        allow: identity.map(|identity| &identity.allow),
        address: &who.address,
        limits: who
            .limits
            .iter()
            .map(|(limit, value)| (limit.name(), *value))
            .collect(),
    }
}

fn limits(who: &WhoAmI) -> String {
    let limits = who.limits.iter();
    let limits = limits.map(|(limit, value)| format!("{limit} {}", limit_text(*limit, *value)));
    limits.collect::<Vec<_>>().join(", ")
}

fn identity_text(who: &WhoAmI) -> String {
    match &who.identity {
        Some(Identity { name, role, allow }) => {
            let mut allow: Vec<_> = allow.iter().map(ToString::to_string).collect();
            if allow.is_empty() {
                allow.push("no object".to_owned());
            }
            format!(
                "{name}, {role}, for {}, from {}",
                allow.join(" "),
                who.address
            )
        }
        None if who.authentication => format!("not authenticated, from {}", who.address),
        None => format!(
            "not authenticated, from {}; authentication is off at this broker",
            who.address
        ),
    }
}
