//! `pyroxene ping`: which name servers answer.

use crate::{
    failure::Failure,
    flags::ClientArguments,
    nameservers::{ask_directories, no_nameserver_answered},
    output::{milliseconds, print, print_json},
    table::table,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Show the state of every name server
///
/// --json prints an array with one entry per name server:
/// {"nameserver", "ok": true, "rtt_ms", "workers", "objects", "instances", "uptime_ms", "settled", "version"} or
/// {"nameserver", "ok": false, "error"}. Exit code 3 if none listens, 5 if none answers in time.
#[derive(Debug, clap::Args)]
pub(crate) struct PingArguments {
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: PingArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let answers = ask_directories(&client, |directory, context| async move {
        // The first request also connects; only the second one measures a round trip.
        directory.status(context).await?;
        let asked = Instant::now();
        let status = directory.status(context).await?;
        Ok((status, asked.elapsed()))
    })
    .await;
    let mut rows = Vec::new();
    let mut entries: Vec<Value> = Vec::new();
    let mut failures = Vec::new();
    for (nameserver, answer) in answers {
        let endpoint = nameserver.endpoint().to_string();
        match answer {
            Ok((status, elapsed)) => {
                entries.push(json!({
                    "nameserver": endpoint,
                    "ok": true,
                    "rtt_ms": milliseconds(elapsed),
                    "workers": status.workers,
                    "objects": status.objects,
                    "instances": status.instances,
                    "uptime_ms": status.uptime_ms,
                    "settled": status.settled,
                    "version": status.version,
                }));
                let up = Duration::from_secs(status.uptime_ms / 1000);
                rows.push([
                    endpoint,
                    format!("{} ms", milliseconds(elapsed)),
                    status.workers.to_string(),
                    status.objects.to_string(),
                    humantime::format_duration(up).to_string(),
                ]);
            }
            Err(failure) => {
                let reason = failure.message.clone().unwrap_or_default();
                entries.push(json!({"nameserver": endpoint, "ok": false, "error": reason}));
                let blank = || "-".to_owned();
                rows.push([endpoint, reason, blank(), blank(), blank()]);
                failures.push((nameserver, failure));
            }
        }
    }
    if arguments.client.json {
        print_json(&entries)?;
    } else if failures.len() < rows.len() {
        let headings = ["NAME SERVER", "ROUND TRIP", "WORKERS", "OBJECTS", "UP"];
        print(&table(headings, &rows))?;
    }
    if failures.len() == rows.len() {
        return Err(no_nameserver_answered(&failures));
    }
    Ok(())
}
