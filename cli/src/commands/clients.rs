//! `pyroxene clients`: who was here.

use crate::{
    failure::{Exit, Failure},
    flags::ClientArguments,
    messages::note,
    nameservers::{ask_nameservers, successful_answers},
    output::{print, print_json},
    table::table,
};
use pyroxene_common::interfaces::visitors::{Visitor, VisitorKind};
use pyroxene_gateway::views::{rfc3339, visitor as to_json};
use serde_json::Value;
use std::collections::{BTreeMap, btree_map::Entry};

/// List the people, task clients and workers that were here
///
/// Those that were seen last come first. With a store this outlives the name server.
///
/// --json prints [{"name", "kind", "state", "place", "first_seen", "last_seen"}], with "kind" one of "person", "task
/// client" and "worker", and "state" one of "here" and "gone".
#[derive(Debug, clap::Args)]
pub(crate) struct ClientsArguments {
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: ClientsArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let answers = ask_nameservers(&client, |nameserver, context| async move {
        nameserver.visitors().list(context).await
    });
    let mut lists = Vec::new();
    for (_, answer) in successful_answers(answers.await)? {
        lists.push(answer.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?);
    }
    let visitors = merge(lists);
    if arguments.client.json {
        let shown: Vec<Value> = visitors.iter().map(to_json).collect();
        return print_json(&shown);
    }
    if visitors.is_empty() {
        note("nobody was here yet");
        return Ok(());
    }
    let rows: Vec<_> = visitors.iter().map(to_row).collect();
    let headings = ["NAME", "KIND", "STATE", "SEEN FIRST", "SEEN LAST", "WHERE"];
    print(&table(headings, &rows))
}

/// What all name servers know, those first that were seen last.
fn merge(lists: Vec<Vec<Visitor>>) -> Vec<Visitor> {
    let mut merged: BTreeMap<(VisitorKind, String), Visitor> = BTreeMap::new();
    for one in lists.into_iter().flatten() {
        match merged.entry((one.kind, one.name.clone())) {
            Entry::Vacant(vacant) => {
                vacant.insert(one);
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.is_here |= one.is_here;
                known.first_seen_ms = known.first_seen_ms.min(one.first_seen_ms);
                if one.last_seen_ms > known.last_seen_ms {
                    (known.last_seen_ms, known.place) = (one.last_seen_ms, one.place);
                }
            }
        }
    }
    let mut visitors: Vec<Visitor> = merged.into_values().collect();
    visitors.sort_by_key(|one| std::cmp::Reverse(one.last_seen_ms));
    visitors
}

fn to_row(visitor: &Visitor) -> [String; 6] {
    [
        visitor.name.clone(),
        visitor.kind.name().to_owned(),
        if visitor.is_here { "here" } else { "gone" }.to_owned(),
        rfc3339(visitor.first_seen_ms),
        rfc3339(visitor.last_seen_ms),
        visitor.place.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_add_to_what_others_know() {
        let seen = |name: &str, first_seen_ms, last_seen_ms, is_here| Visitor {
            name: name.to_owned(),
            kind: VisitorKind::Person,
            place: format!("at {last_seen_ms}"),
            first_seen_ms,
            last_seen_ms,
            is_here,
        };
        let merged = merge(vec![
            vec![seen("ana", 5, 20, false), seen("bob", 1, 40, false)],
            vec![seen("ana", 3, 30, true)],
        ]);
        assert_eq!(
            merged,
            [seen("bob", 1, 40, false), seen("ana", 3, 30, true)]
        );
        assert_eq!(
            to_json(&merged[1]).to_string(),
            concat!(
                r#"{"name":"ana","kind":"person","state":"here","place":"at 30","#,
                r#""first_seen":"1970-01-01T00:00:00.003Z","last_seen":"1970-01-01T00:00:00.030Z"}"#
            )
        );
    }
}
