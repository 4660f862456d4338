//! `pyroxene check`: one line for monitoring.

use crate::{
    failure::{Exit, Failure},
    flags::ClientArguments,
    nameservers::{ask_directories, list},
    output::{print_json, print_text},
};
use clap::ValueEnum;
use pyroxene_client::{Client, TaskError};
use pyroxene_common::interfaces::{
    directory::{InstanceState, ObjectFilter},
    tasks::TaskState,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// Check the broker for a monitoring system
///
/// One line is printed. The exit code is 0 (ok), 1 (warning), 2 (critical) or 3 (unknown), as Nagios and its
/// successors expect. --json prints {"status": "ok", "exit": 0, "message": "…", "figures": {…}}.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArguments {
    /// What to check: whether the name servers answer and have workers, whether an object has instances that
    /// accept calls, or whether tasks are run
    #[arg(value_enum, default_value_t = Checked::Nameserver)]
    what: Checked,
    /// The object's name
    #[arg(required_if_eq("what", "object"))]
    name: Option<String>,
    /// Warn if the object has fewer instances than this
    #[arg(
        long,
        value_name = "N",
        env = "PYROXENE_CHECK_LEAST",
        default_value_t = 1
    )]
    least: usize,
    /// Warn if more tasks than this are queued
    #[arg(
        long,
        value_name = "N",
        env = "PYROXENE_CHECK_WARN",
        default_value_t = 1000
    )]
    warn: u64,
    /// Critical if more tasks than this are queued
    #[arg(
        long,
        value_name = "N",
        env = "PYROXENE_CHECK_CRITICAL",
        default_value_t = 10_000
    )]
    critical: u64,
    #[command(flatten)]
    client: ClientArguments,
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Checked {
    /// The name servers
    Nameserver,
    /// An object
    Object,
    /// Tasks
    Tasks,
}

/// The outcome of a check. The later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Health {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl Health {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// The exit codes of monitoring plugins are numbers that mean something else for other commands.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Ok => Exit::Done,
            Self::Warning => Exit::Failed,
            Self::Critical => Exit::Usage,
            Self::Unknown => Exit::Unavailable,
        }
    }

    /// The end of a command that has printed this outcome.
    pub(crate) fn end(self) -> Result<(), Failure> {
        match self {
            Self::Ok => Ok(()),
            _ => Err(Failure::quiet(self.exit())),
        }
    }
}

/// Monitoring systems give up a check after 10 seconds, most of them.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// A check with its figures.
struct Report {
    health: Health,
    message: String,
    figures: Value,
}

pub(crate) async fn run(arguments: CheckArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let name = arguments.name.as_deref().unwrap_or_default();
    let checking = async {
        match arguments.what {
            Checked::Nameserver => nameservers(&client).await,
            Checked::Object => object(&client, name, arguments.least).await,
            Checked::Tasks => tasks(&client, arguments.warn, arguments.critical).await,
        }
    };
    let report = timeout(CHECK_TIMEOUT, checking).await;
    let report = report.unwrap_or_else(|_| Report {
        health: match arguments.what {
            Checked::Object => Health::Unknown,
            Checked::Nameserver | Checked::Tasks => Health::Critical,
        },
        message: format!(
            "no name server answered within {} s",
            CHECK_TIMEOUT.as_secs()
        ),
        figures: json!({}),
    });
    let Report {
        health,
        message,
        figures,
    } = report;
    if arguments.client.json {
        print_json(&json!({
            "status": health.name(),
            "exit": health.exit() as u8,
            "message": message,
            "figures": figures,
        }))?;
    } else {
        print_text(&format!("{}: {message}", health.name().to_uppercase()))?;
    }
    health.end()
}

fn unknown(failure: Failure) -> Report {
    Report {
        health: Health::Unknown,
        message: failure.message.unwrap_or_default(),
        figures: json!({}),
    }
}

async fn nameservers(client: &Client) -> Report {
    let answers = ask_directories(client, |directory, context| async move {
        directory.status(context).await
    });
    let answers = answers.await;
    let all = answers.len();
    let statuses: Vec<_> = answers
        .into_iter()
        .filter_map(|(_, answer)| answer.ok())
        .collect();
    let workers = statuses
        .iter()
        .map(|status| status.workers)
        .max()
        .unwrap_or(0);
    let objects = statuses
        .iter()
        .map(|status| status.objects)
        .max()
        .unwrap_or(0);
    let health = match (statuses.len(), workers) {
        (0, _) => Health::Critical,
        (answering, _) if answering < all => Health::Warning,
        (_, 0) => Health::Warning,
        _ => Health::Ok,
    };
    let answering = statuses.len();
    Report {
        health,
        message: format!(
            "{answering} of {all} name servers answer, {workers} workers, {objects} objects"
        ),
        figures: json!({
            "nameservers": all, "answering": answering, "workers": workers, "objects": objects,
        }),
    }
}

async fn object(client: &Client, name: &str, least: usize) -> Report {
    let filter = ObjectFilter {
        prefix: Some(name.to_owned()),
        ..ObjectFilter::default()
    };
    let listed = match list(client, &filter).await {
        Ok(listed) => listed,
        Err(failure) => return unknown(failure),
    };
    let entry = listed.into_iter().find(|entry| entry.name == name);
    let instances = entry.map(|entry| entry.instances).unwrap_or_default();
    let ready = instances
        .iter()
        .filter(|instance| instance.state == InstanceState::Ready);
    let (ready, all) = (ready.count(), instances.len());
    let health = match ready {
        0 => Health::Critical,
        ready if ready < least => Health::Warning,
        _ => Health::Ok,
    };
    Report {
        health,
        message: format!("object '{name}' has {ready} ready of {all} instances"),
        figures: json!({"instances": all, "ready": ready}),
    }
}

async fn tasks(client: &Client, warn: u64, critical: u64) -> Report {
    let counts = match client.count_tasks().await {
        Ok(counts) => counts,
        Err(error @ TaskError::Unavailable { .. }) => {
            return Report {
                health: Health::Critical,
                message: error.to_string(),
                figures: json!({}),
            };
        }
        Err(error) => return unknown(error.into()),
    };
    let count = |state| {
        let found = counts.iter().find(|(known, _)| *known == state);
        found.map_or(0, |(_, count)| *count)
    };
    let queued = count(TaskState::Queued);
    let health = match queued {
        queued if queued > critical => Health::Critical,
        queued if queued > warn => Health::Warning,
        _ => Health::Ok,
    };
    let (running, failed) = (count(TaskState::Running), count(TaskState::Failed));
    Report {
        health,
        message: format!("{queued} tasks queued, {running} running, {failed} failed"),
        figures: json!({"queued": queued, "running": running, "failed": failed}),
    }
}
