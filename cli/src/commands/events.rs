//! `pyroxene events`: what changes among workers, objects and tasks.

use crate::{
    failure::{Exit, Failure},
    flags::{ClientArguments, YesOrNo},
    nameservers::{list, workers},
    output::{local, now_ms, print_json, print_text},
};
use pyroxene_client::Client;
use pyroxene_common::interfaces::{
    directory::{InstanceState, ObjectFilter},
    tasks::TaskFilter,
};
use pyroxene_gateway::views::rfc3339;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

/// Show the changes of workers, objects and tasks
///
/// Without --follow the present state is printed. With --follow later changes follow, within about a second,
/// until Ctrl-C. --json prints one object per line: {"at", "event", "name", "state", …}; "event" is worker,
/// object or task.
#[derive(Debug, clap::Args)]
pub(crate) struct EventsArguments {
    /// Continue, and print each later change
    #[arg(long, env = "PYROXENE_EVENTS_FOLLOW", value_parser = YesOrNo)]
    follow: bool,
    #[command(flatten)]
    client: ClientArguments,
}

/// How often the broker is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How many of the newest tasks are followed.
const TASKS: u32 = 100;

/// Each thing, by its kind and name, with its state in words.
type State = BTreeMap<(&'static str, String), Vec<(&'static str, Value)>>;

pub(crate) async fn run(arguments: EventsArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let json = arguments.client.json;
    let mut known = look(&client).await?;
    for (key, fields) in &known {
        show(key, fields, json)?;
    }
    if !arguments.follow {
        return Ok(());
    }
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = match look(&client).await {
            Ok(now) => now,
            // The name servers may come back.
            Err(failure) if failure.exit == Exit::Unavailable => continue,
            Err(failure) => return Err(failure),
        };
        for (key, fields) in &now {
            if known.get(key) != Some(fields) {
                show(key, fields, json)?;
            }
        }
        // Tasks that are not among the newest any more are not gone.
        for key in known
            .keys()
            .filter(|key| key.0 != "task" && !now.contains_key(key))
        {
            show(key, &vec![("state", "gone".into())], json)?;
        }
        known = now;
    }
}

async fn look(client: &Client) -> Result<State, Failure> {
    let mut state = State::new();
    for worker in workers(client).await? {
        let fields = vec![
            ("state", worker.state.name().into()),
            ("endpoint", worker.endpoint.into()),
            ("objects", worker.objects.into()),
        ];
        state.insert(("worker", worker.name), fields);
    }
    for object in list(client, &ObjectFilter::default()).await? {
        let instances = object.instances.len();
        let ready = object
            .instances
            .iter()
            .filter(|one| one.state == InstanceState::Ready);
        let ready = ready.count();
        let word = if ready > 0 { "ready" } else { "draining" };
        let fields = vec![
            ("state", word.into()),
            ("instances", instances.into()),
            ("ready", ready.into()),
        ];
        state.insert(("object", object.name), fields);
    }
    let filter = TaskFilter {
        limit: TASKS,
        ..TaskFilter::default()
    };
    // A name server without a store has no tasks, and some callers may not list them.
    let tasks = client.list_tasks(&filter).await.unwrap_or_default();
    for task in tasks.tasks {
        let worker = task
            .attempts
            .last()
            .and_then(|attempt| attempt.worker.clone());
        let fields = vec![
            ("state", task.state.name().into()),
            ("call", format!("{}.{}", task.object, task.method).into()),
            ("worker", worker.into()),
        ];
        state.insert(("task", task.id.0), fields);
    }
    Ok(state)
}

fn show(
    (event, name): &(&'static str, String),
    fields: &Vec<(&'static str, Value)>,
    json: bool,
) -> Result<(), Failure> {
    let at = now_ms();
    if json {
        let mut shown = json!({"at": rfc3339(at), "event": event, "name": name});
        if let Some(all) = shown.as_object_mut() {
            all.extend(
                fields
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), value.clone())),
            );
        }
        return print_json(&shown);
    }
    let words = fields
        .iter()
        .filter(|(key, value)| *key != "objects" && !value.is_null());
    let words = words.map(|(key, value)| match (*key, value) {
        ("state" | "call", Value::String(text)) => text.clone(),
        (key, Value::String(text)) => format!("{key} {text}"),
        (key, value) => format!("{key} {value}"),
    });
    let words: Vec<String> = words.collect();
    print_text(&format!(
        "{} {event} {name} {}",
        local(at),
        words.join(", ")
    ))
}
