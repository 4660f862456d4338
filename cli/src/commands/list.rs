//! `pyroxene list`: the objects and the workers that host them.

use crate::{
    commands::completions::objects,
    failure::Failure,
    flags::ClientArguments,
    messages::note,
    nameservers::list,
    output::{print, print_json},
    table::table,
};
use clap_complete::ArgValueCompleter;
use pyroxene_common::interfaces::directory::{ObjectEntry, ObjectFilter};
use pyroxene_gateway::views;
use serde_json::{Value, json};

/// List the objects and their instances
///
/// --json prints [{"name", "interface", "instances": [{"worker", "endpoint", "state", "tags": […]}]}]. An
/// instance that holds its name exclusively also has its "fence".
#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// Only names that begin with this
    #[arg(add = ArgValueCompleter::new(objects))]
    prefix: Option<String>,
    /// Only names that contain a match of this regular expression
    #[arg(long, value_name = "REGEX", env = "PYROXENE_LIST_PATTERN")]
    pattern: Option<String>,
    /// Only instances with this tag; may be given several times
    #[arg(
        long,
        value_name = "TAG",
        env = "PYROXENE_LIST_TAG",
        value_delimiter = ','
    )]
    tag: Vec<String>,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

pub(crate) async fn run(arguments: ListArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let filter = ObjectFilter {
        prefix: arguments.prefix,
        pattern: arguments.pattern,
        tags: arguments.tag,
    };
    let objects = list(&client, &filter).await?;
    if arguments.client.json {
        let entries: Vec<Value> = objects.iter().map(to_json).collect();
        return print_json(&entries);
    }
    if objects.is_empty() {
        note(&empty_list_reason(&filter));
        return Ok(());
    }
    print(&to_table(&objects))
}

/// Why a list is empty.
pub(crate) fn empty_list_reason(filter: &ObjectFilter) -> String {
    match &filter.prefix {
        Some(prefix) if filter.pattern.is_none() && filter.tags.is_empty() => {
            format!("there is no object whose name begins with '{prefix}'")
        }
        None if filter.pattern.is_none() && filter.tags.is_empty() => {
            "there are no objects: no worker is registered".to_owned()
        }
        _ => "there is no object with such a name and tags".to_owned(),
    }
}

/// An object as `--json` prints it.
pub(crate) fn to_json(object: &ObjectEntry) -> Value {
    json!({
        "name": object.name,
        "interface": object.interface,
        "instances": object.instances.iter().map(views::instance).collect::<Vec<_>>(),
    })
}

/// A table of objects, with a row for each instance.
pub(crate) fn to_table(objects: &[ObjectEntry]) -> String {
    let mut rows = Vec::new();
    for object in objects {
        let mut name = object.name.as_str();
        let mut interface = object.interface.as_str();
        for instance in &object.instances {
            rows.push([
                name.to_owned(),
                interface.to_owned(),
                match instance.worker.as_str() {
                    "" => "(static)".to_owned(),
                    worker => worker.to_owned(),
                },
                instance.endpoint.clone(),
                instance.state.name().to_owned(),
                instance.tags.join(","),
            ]);
            (name, interface) = ("", "");
        }
    }
    let headings = ["NAME", "INTERFACE", "WORKER", "ENDPOINT", "STATE", "TAGS"];
    table(headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::{
        interfaces::directory::{Instance, InstanceState},
        message::Load,
    };

    fn instance(worker: &str) -> Instance {
        Instance {
            worker: worker.into(),
            incarnation: 1,
            key: None,
            endpoint: "127.0.0.1:1".into(),
            target: "calc".into(),
            interface: "Calc".into(),
            version: 1,
            spoken: Vec::new(),
            state: InstanceState::Ready,
            tags: vec!["gpu".into()],
            fence: None,
            load: Load::default(),
        }
    }

    fn object() -> ObjectEntry {
        ObjectEntry {
            name: "calc".into(),
            interface: "Calc".into(),
            version: 1,
            instances: vec![instance(""), instance("w1")],
        }
    }

    #[test]
    fn json_has_the_documented_shape() {
        assert_eq!(
            to_json(&object()).to_string(),
            concat!(
                r#"{"name":"calc","interface":"Calc","instances":["#,
                r#"{"worker":"","endpoint":"127.0.0.1:1","state":"ready","tags":["gpu"]},"#,
                r#"{"worker":"w1","endpoint":"127.0.0.1:1","state":"ready","tags":["gpu"]}]}"#
            )
        );
    }

    #[test]
    fn a_list_of_nothing_says_so() {
        let prefix = ObjectFilter {
            prefix: Some("x".to_owned()),
            ..ObjectFilter::default()
        };
        assert!(empty_list_reason(&prefix).contains("begins with 'x'"));
        assert!(empty_list_reason(&ObjectFilter::default()).contains("no objects"));
        let tags = vec!["gpu".to_owned()];
        assert!(empty_list_reason(&ObjectFilter { tags, ..prefix }).contains("tags"));
    }

    #[test]
    fn an_objects_name_stands_once_in_the_table() {
        let text = to_table(&[object()]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("calc  Calc       (static)  127.0.0.1:1  ready  gpu"));
        assert!(lines[2].starts_with("                 w1        127.0.0.1:1"));
    }
}
