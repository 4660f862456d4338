//! `pyroxene workers`: the live workers.

use crate::{
    failure::Failure,
    flags::ClientArguments,
    messages::note,
    nameservers::workers,
    output::{print, print_json},
    table::table,
};
use pyroxene_common::interfaces::directory::WorkerEntry;
use serde_json::{Value, json};

/// List the live workers and their load
///
/// --json prints
/// [{"name", "endpoint", "pid", "host", "state", "in_flight", "capacity", "calls", "objects": […]}],
/// with "state" one of "ready" and "draining".
#[derive(Debug, clap::Args)]
pub(crate) struct WorkersArguments {
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: WorkersArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let workers = workers(&client).await?;
    match arguments.client.json {
        true => print_json(&to_json(&workers)),
        false if workers.is_empty() => {
            note("there are no live workers");
            Ok(())
        }
        false => print(&to_table(&workers)),
    }
}

/// Workers as `--json` prints them.
pub(crate) fn to_json(workers: &[WorkerEntry]) -> Vec<Value> {
    workers.iter().map(entry).collect()
}

/// A table of workers, with a row for each.
pub(crate) fn to_table(workers: &[WorkerEntry]) -> String {
    let rows: Vec<_> = workers.iter().map(to_row).collect();
    let headings = [
        "NAME",
        "ENDPOINT",
        "PID",
        "HOST",
        "STATE",
        "IN FLIGHT",
        "CAPACITY",
        "CALLS",
        "OBJECTS",
    ];
    table(headings, &rows)
}

fn entry(worker: &WorkerEntry) -> Value {
    json!({
        "name": worker.name,
        "endpoint": worker.endpoint,
        "pid": worker.pid,
        "host": worker.host,
        "state": worker.state.name(),
        "in_flight": worker.load.in_flight,
        "capacity": worker.load.capacity,
        "calls": worker.load.calls,
        "objects": worker.objects,
    })
}

fn to_row(worker: &WorkerEntry) -> [String; 9] {
    [
        worker.name.clone(),
        worker.endpoint.clone(),
        worker.pid.to_string(),
        worker.host.clone(),
        worker.state.name().to_owned(),
        worker.load.in_flight.to_string(),
        worker.load.capacity.to_string(),
        worker.load.calls.to_string(),
        worker.objects.join(","),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::{interfaces::directory::InstanceState, message::Load};

    #[test]
    fn json_has_the_documented_shape() {
        let worker = WorkerEntry {
            name: "w1".into(),
            endpoint: "127.0.0.1:1".into(),
            pid: 42,
            host: "here".into(),
            state: InstanceState::Draining,
            load: Load {
                in_flight: 1,
                queue: 2,
                capacity: 3,
                calls: 4,
            },
            objects: vec!["echo".into()],
        };
        assert_eq!(
            entry(&worker).to_string(),
            concat!(
                r#"{"name":"w1","endpoint":"127.0.0.1:1","pid":42,"host":"here","state":"draining","#,
                r#""in_flight":1,"capacity":3,"calls":4,"objects":["echo"]}"#
            )
        );
    }
}
