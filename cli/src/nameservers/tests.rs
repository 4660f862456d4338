use super::*;
use pyroxene_common::message::Load;

fn instance(worker: &str, state: InstanceState) -> Instance {
    Instance {
        worker: worker.into(),
        incarnation: 7,
        key: None,
        endpoint: format!("{worker}:1"),
        target: "calc".into(),
        interface: "Calc".into(),
        version: 1,
        spoken: Vec::new(),
        state,
        tags: Vec::new(),
        fence: None,
        load: Load::default(),
    }
}

fn object(name: &str, instances: Vec<Instance>) -> ObjectEntry {
    ObjectEntry {
        name: name.into(),
        interface: "Calc".into(),
        version: 1,
        instances,
    }
}

fn worker(name: &str, state: InstanceState) -> WorkerEntry {
    WorkerEntry {
        name: name.into(),
        endpoint: format!("{name}:1"),
        pid: 1,
        host: "host".into(),
        state,
        load: Load::default(),
        objects: Vec::new(),
    }
}

#[test]
fn a_name_server_that_just_started_hides_nothing() {
    let whole = vec![
        object("text", vec![instance("w1", InstanceState::Ready)]),
        object(
            "calc",
            vec![
                instance("w2", InstanceState::Ready),
                instance("w1", InstanceState::Ready),
            ],
        ),
    ];
    let partial = vec![object(
        "calc",
        vec![instance("w1", InstanceState::Draining)],
    )];
    let merged = merge_objects(vec![partial, whole]);
    let seen: Vec<String> = merged
        .iter()
        .flat_map(|object| {
            object.instances.iter().map(|instance| {
                let state = instance.state.name();
                format!("{} {} {state}", object.name, instance.worker)
            })
        })
        .collect();
    assert_eq!(seen, ["calc w1 draining", "calc w2 ready", "text w1 ready"]);
}

#[test]
fn workers_are_merged_by_name_and_a_drain_counts_wherever_it_is_known() {
    let one = vec![
        worker("w2", InstanceState::Ready),
        worker("w1", InstanceState::Ready),
    ];
    let other = vec![
        worker("w1", InstanceState::Draining),
        worker("w3", InstanceState::Ready),
    ];
    let merged = merge_workers(vec![one, other]);
    let seen: Vec<String> = merged
        .iter()
        .map(|worker| format!("{} {}", worker.name, worker.state.name()))
        .collect();
    assert_eq!(seen, ["w1 draining", "w2 ready", "w3 ready"]);
}

#[test]
fn an_unknown_object_hints_at_what_there_is() {
    let failure = || Failure::new(Exit::Unavailable, "gone");
    let hint =
        |name: &str, objects: &[ObjectEntry]| hint_at_names(name, objects, failure()).hint.unwrap();
    let objects = [object("calculator", vec![]), object("text", vec![])];
    assert_eq!(hint("calculater", &objects), "did you mean 'calculator'?");
    assert_eq!(hint("nothing", &objects), "there are calculator, text");
    assert!(hint("x", &[]).starts_with("no worker hosts any object"));
    assert!(hint("text", &objects).contains("pyroxene workers"));
    assert!(hint("accounts", &objects).contains("--accounts-db"));
    let hosted = [object("accounts", vec![])];
    assert!(hint("accounts", &hosted).contains("pyroxene workers"));
}
