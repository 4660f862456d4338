//! Sends requests to every name server, and merges the answers.

use crate::{
    commands::worker::ACCOUNTS,
    failure::{Exit, Failure, without_answer},
    flags::COMMAND_TIMEOUT,
};
use pyroxene_client::{CallError, Client, NameServerClient, NameServerService, Problem};
use pyroxene_common::interfaces::directory::{
    Directory, DirectoryError, Instance, InstanceState, ObjectEntry, ObjectFilter, WorkerEntry,
    directory::DirectoryClient,
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};
use tarpc::context;
use tokio::time::{Instant, timeout_at};

/// How long it may take to explain why an object is unavailable.
const EXPLAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the other answers may take after the first one, so that one frozen name server does not delay
/// every command.
const LATER_ANSWERS_TIMEOUT: Duration = Duration::from_millis(500);

/// The time to explain a failure that came just before the deadline, or after it.
const EXPLANATION_TIME: Duration = Duration::from_millis(200);

/// The answer of each name server, in the order in which the name servers were given.
pub(crate) type NameServerAnswers<T> = Vec<(NameServerClient, Result<T, Failure>)>;

/// Sends a request to the directory of every name server at once.
pub(crate) async fn ask_directories<T, F>(
    client: &Client,
    question: impl Fn(DirectoryClient<NameServerService<Directory>>, context::Context) -> F,
) -> NameServerAnswers<T>
where
    F: Future<Output = Result<T, CallError>>,
{
    ask_nameservers(client, |nameserver, context| {
        question(nameserver.directory(), context)
    })
    .await
}

/// Sends a request to any object of every name server at once.
pub(crate) async fn ask_nameservers<T, F>(
    client: &Client,
    question: impl Fn(NameServerClient, context::Context) -> F,
) -> NameServerAnswers<T>
where
    F: Future<Output = Result<T, CallError>>,
{
    ask_nameservers_until(client, Instant::now() + COMMAND_TIMEOUT, question).await
}

/// As [`ask_nameservers`], but every wait ends at the deadline.
async fn ask_nameservers_until<T, F>(
    client: &Client,
    deadline: Instant,
    question: impl Fn(NameServerClient, context::Context) -> F,
) -> NameServerAnswers<T>
where
    F: Future<Output = Result<T, CallError>>,
{
    let answers = client.all_answers(deadline, LATER_ANSWERS_TIMEOUT, question);
    let answers = answers.await.into_iter();
    let answers = answers.map(|(nameserver, answer)| {
        let failed = |error| without_answer(error).with_deadline(Some(deadline));
        (nameserver, answer.map_err(failed))
    });
    answers.collect()
}

/// The answers that arrived; a failure if no name server answered.
pub(crate) fn successful_answers<T>(
    answers: NameServerAnswers<T>,
) -> Result<Vec<(NameServerClient, T)>, Failure> {
    let mut taken = Vec::new();
    let mut failures = Vec::new();
    for (nameserver, answer) in answers {
        match answer {
            Ok(answer) => taken.push((nameserver, answer)),
            Err(failure) => failures.push((nameserver, failure)),
        }
    }
    match taken.as_slice() {
        [] => Err(no_nameserver_answered(&failures)),
        _ => Ok(taken),
    }
}

/// The failure if no name server answered, with the reason of each.
pub(crate) fn no_nameserver_answered(failures: &[(NameServerClient, Failure)]) -> Failure {
    let mut exits = failures.iter().map(|(_, failure)| failure.exit);
    let exit = match failures {
        [(_, first), ..] if exits.clone().all(|exit| exit == first.exit) => first.exit,
        _ if exits.any(|exit| exit == Exit::DeadlineExceeded) => Exit::DeadlineExceeded,
        _ => Exit::Unavailable,
    };
    let is_nobody = matches!(exit, Exit::Unavailable | Exit::DeadlineExceeded);
    let reasons: Vec<String> = failures
        .iter()
        .map(|(nameserver, failure)| {
            let reason = failure.message.as_deref().unwrap_or_default();
            format!("{}: {reason}", nameserver.endpoint())
        })
        .collect();
    let reasons = reasons.join("; ");
    let failure = Failure::new(exit, format!("no name server answers: {reasons}"));
    let mut hints = failures
        .iter()
        .filter_map(|(_, failure)| failure.hint.as_ref());
    match hints.next() {
        Some(hint) => failure.hint(hint),
        None => failure.hint_at(is_nobody.then_some(Problem::NoNameServer)),
    }
}

/// The objects that match a filter, merged from all name servers.
pub(crate) async fn list(
    client: &Client,
    filter: &ObjectFilter,
) -> Result<Vec<ObjectEntry>, Failure> {
    list_until(client, filter, Instant::now() + COMMAND_TIMEOUT).await
}

/// As [`list`], but every wait ends at the deadline.
pub(crate) async fn list_until(
    client: &Client,
    filter: &ObjectFilter,
    deadline: Instant,
) -> Result<Vec<ObjectEntry>, Failure> {
    let answers = ask_nameservers_until(client, deadline, |nameserver, context| {
        let filter = filter.clone();
        async move { nameserver.directory().list(context, filter).await }
    });
    let lists = successful_answers(answers.await)?.into_iter();
    let lists: Result<Vec<_>, DirectoryError> = lists.map(|(_, list)| list).collect();
    Ok(merge_objects(lists?))
}

/// The object of this name, merged from all name servers, if any of them lists it. Every wait ends at the deadline.
pub(crate) async fn listed(
    client: &Client,
    name: &str,
    deadline: Instant,
) -> Result<Option<ObjectEntry>, Failure> {
    let filter = ObjectFilter {
        prefix: Some(name.to_owned()),
        ..ObjectFilter::default()
    };
    let objects = list_until(client, &filter, deadline).await?;
    Ok(objects.into_iter().find(|object| object.name == name))
}

/// The live workers, merged from all name servers.
pub(crate) async fn workers(client: &Client) -> Result<Vec<WorkerEntry>, Failure> {
    let answers = ask_directories(client, |directory, context| async move {
        directory.workers(context).await
    });
    let lists = successful_answers(answers.await)?.into_iter();
    Ok(merge_workers(lists.map(|(_, list)| list).collect()))
}

/// Merges objects by name. An instance that several name servers list is in the result once.
fn merge_objects(lists: Vec<Vec<ObjectEntry>>) -> Vec<ObjectEntry> {
    let mut objects: BTreeMap<String, ObjectEntry> = BTreeMap::new();
    for entry in lists.into_iter().flatten() {
        match objects.entry(entry.name.clone()) {
            Entry::Vacant(slot) => {
                slot.insert(entry);
            }
            Entry::Occupied(mut slot) => {
                let known = slot.get_mut();
                if known.interface.is_empty() {
                    known.interface = entry.interface;
                    known.version = entry.version;
                }
                for instance in entry.instances {
                    add_instance(&mut known.instances, instance);
                }
            }
        }
    }
    let mut objects: Vec<ObjectEntry> = objects.into_values().collect();
    for object in &mut objects {
        let by_worker =
            |a: &Instance, b: &Instance| (&a.worker, &a.endpoint).cmp(&(&b.worker, &b.endpoint));
        object.instances.sort_by(by_worker);
    }
    objects
}

fn add_instance(instances: &mut Vec<Instance>, instance: Instance) {
    let same = |known: &&mut Instance| {
        known.worker == instance.worker
            && known.incarnation == instance.incarnation
            && known.endpoint == instance.endpoint
    };
    match instances.iter_mut().find(same) {
        None => instances.push(instance),
        // A worker reports its drain to one name server after the other, and never takes it back.
        Some(known) if instance.state == InstanceState::Draining => {
            known.state = InstanceState::Draining
        }
        Some(_) => {}
    }
}

/// Merges workers by name.
fn merge_workers(lists: Vec<Vec<WorkerEntry>>) -> Vec<WorkerEntry> {
    let mut workers: BTreeMap<String, WorkerEntry> = BTreeMap::new();
    for entry in lists.into_iter().flatten() {
        match workers.entry(entry.name.clone()) {
            Entry::Vacant(slot) => {
                slot.insert(entry);
            }
            Entry::Occupied(mut slot) if entry.state == InstanceState::Draining => {
                slot.get_mut().state = InstanceState::Draining;
            }
            Entry::Occupied(_) => {}
        }
    }
    workers.into_values().collect()
}

/// Adds a hint to the failure to reach an object.
pub(crate) async fn explain_unavailable(
    client: &Client,
    object: &str,
    failure: Failure,
) -> Failure {
    let deadline = Instant::now() + EXPLAIN_TIMEOUT;
    explain_unavailable_until(client, object, failure, deadline).await
}

/// As [`explain_unavailable`], for a command that has to end at the deadline, or a moment after it.
pub(crate) async fn explain_unavailable_until(
    client: &Client,
    object: &str,
    failure: Failure,
    deadline: Instant,
) -> Failure {
    let deadline = deadline.max(Instant::now() + EXPLANATION_TIME);
    let explained = explain(client, object, failure.clone(), deadline);
    timeout_at(deadline, explained).await.unwrap_or(failure)
}

async fn explain(client: &Client, object: &str, failure: Failure, deadline: Instant) -> Failure {
    if failure.exit != Exit::Unavailable || failure.hint.is_some() {
        return failure;
    }
    match list_until(client, &ObjectFilter::default(), deadline).await {
        // This is the cause of the other failure.
        Err(nobody) if matches!(nobody.exit, Exit::Unavailable | Exit::DeadlineExceeded) => nobody,
        Err(_) => failure,
        Ok(objects) => match refused_name(client, object).await {
            Some(refused) => refused,
            None => match client.balanced_address().await {
                Some(address) => failure.hint(format!(
                    "several name servers answer at {address} in turn, and they share no store; list \
                     each of them with --nameserver"
                )),
                None => hint_at_names(object, &objects, failure),
            },
        },
    }
}

/// The failure if the name servers refuse the name of the object as invalid.
async fn refused_name(client: &Client, object: &str) -> Option<Failure> {
    let answers = ask_directories(client, |directory, context| async move {
        directory.watch(context, object.to_owned(), None, 0).await
    });
    let refused = answers
        .await
        .into_iter()
        .find_map(|(_, answer)| match answer {
            Ok(Err(error @ DirectoryError::Invalid { .. })) => Some(error),
            _ => None,
        });
    refused.map(Failure::from)
}

fn hint_at_names(object: &str, objects: &[ObjectEntry], failure: Failure) -> Failure {
    let mut names = objects.iter().map(|known| known.name.as_str());
    if object == ACCOUNTS && !names.clone().any(|name| name == object) {
        return failure.hint(
            "it needs a database: start a worker with --accounts-db sqlite:FILE or postgres://…",
        );
    }
    if objects.is_empty() {
        return failure.hint("no worker hosts any object; start one with 'pyroxene worker'");
    }
    if names.clone().any(|name| name == object) {
        return failure.hint("see 'pyroxene workers' for the workers that host it");
    }
    if let Some(name) = crate::nearest::nearest(object, names.clone()) {
        return failure.hint(format!("did you mean '{name}'?"));
    }
    const SHOWN: usize = 8;
    let mut shown: Vec<&str> = names.by_ref().take(SHOWN).collect();
    if names.next().is_some() {
        shown.push("…");
    }
    failure.hint(format!("there are {}", shown.join(", ")))
}

/// A failure for an object that no name server lists.
pub(crate) async fn no_such_object(client: &Client, object: &str) -> Failure {
    let sentence = format!("object '{object}' is unavailable: no live worker hosts it");
    explain_unavailable(client, object, Failure::new(Exit::Unavailable, sentence)).await
}

#[cfg(test)]
mod tests;
