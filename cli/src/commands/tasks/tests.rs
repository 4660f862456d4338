use super::*;
use crate::{
    cli::{Cli, Command},
    output::local,
};
use clap::Parser;
use pyroxene_common::{
    interfaces::tasks::{AttemptResult, Task, TaskAttempt, TaskFailure},
    message::Progress,
};
use serde_json::Value;

/// A task whose first worker died and whose second one answered an error.
fn failed() -> Task {
    Task {
        id: TaskId("0190-1".to_owned()),
        object: "shop".to_owned(),
        method: "buy".to_owned(),
        arguments: Some(r#"{"item":"tea","count":12345678901234567890123}"#.to_owned()),
        submitter: "ana".to_owned(),
        worker: None,
        state: TaskState::Failed,
        priority: 0,
        submitted_ms: 1_700_000_000_000,
        due_ms: 1_700_000_000_000,
        deadline_ms: None,
        ended_ms: Some(1_700_000_003_500),
        max_attempts: 3,
        tries: 2,
        run_limit_ms: 3_600_000,
        attempts: vec![
            TaskAttempt {
                number: 1,
                worker: Some("w1".to_owned()),
                started_ms: 1_700_000_000_000,
                ended_ms: Some(1_700_000_002_000),
                outcome: Some(AttemptResult::Lost),
                reason: Some("worker w1 is gone".to_owned()),
            },
            TaskAttempt {
                number: 2,
                worker: Some("w2".to_owned()),
                started_ms: 1_700_000_002_500,
                ended_ms: Some(1_700_000_003_500),
                outcome: Some(AttemptResult::Failed),
                reason: None,
            },
        ],
        progress: Some(Progress {
            fraction: 0.25,
            note: "weighing".to_owned(),
        }),
        result: None,
        error: Some(TaskFailure {
            sentence: "sold out".to_owned(),
            value: Some(r#"{"SoldOut":"tea"}"#.to_owned()),
        }),
    }
}

fn to_value(shown: &TaskJson<'_>) -> Value {
    serde_json::from_str(&serde_json::to_string(shown).unwrap()).unwrap()
}

#[test]
fn a_task_has_the_documented_json() {
    let task = failed();
    let text = serde_json::to_string(&TaskJson::new(&task)).unwrap();
    // All digits are kept.
    assert!(text.contains(r#""args":{"item":"tea","count":12345678901234567890123}"#));
    let shown = to_value(&TaskJson::new(&task));
    let expected = json!({
        "id": "0190-1", "object": "shop", "method": "buy", "args": shown["args"],
        "state": "failed",
        "attempts": [
            {
                "number": 1, "worker": "w1", "started": "2023-11-14T22:13:20.000Z",
                "ended": "2023-11-14T22:13:22.000Z", "outcome": "lost",
                "reason": "worker w1 is gone",
            },
            {
                "number": 2, "worker": "w2", "started": "2023-11-14T22:13:22.500Z",
                "ended": "2023-11-14T22:13:23.500Z", "outcome": "failed", "reason": null,
            },
        ],
        "result": null, "error": "sold out", "error_value": {"SoldOut": "tea"},
        "submitted": "2023-11-14T22:13:20.000Z", "submitter": "ana",
        "due": "2023-11-14T22:13:20.000Z", "deadline": null,
        "ended": "2023-11-14T22:13:23.500Z", "priority": 0, "max_attempts": 3, "tries": 2,
        "run_limit_ms": 3_600_000,
        "worker": null,
        "progress": {"fraction": 0.25, "note": "weighing"},
    });
    assert_eq!(shown, expected);
}

#[test]
fn a_result_is_json_and_a_list_has_neither_it_nor_the_arguments() {
    let task = Task {
        state: TaskState::Succeeded,
        result: Some("[1, 2.50]".to_owned()),
        error: None,
        ..failed()
    };
    let shown = to_value(&TaskJson::new(&task));
    assert_eq!(
        (&shown["result"], &shown["error"]),
        (&json!([1, 2.5]), &Value::Null)
    );
    let listed = to_value(&TaskJson::listed(&task));
    assert!(listed.get("args").is_none() && listed.get("result").is_none());
    assert_eq!(listed["state"], "succeeded");
}

#[test]
fn a_person_reads_each_attempt_with_its_reason() {
    let [t0, t1, t2, t3, t9] = [0, 1000, 2500, 3500, 9000].map(|ms| local(1_700_000_000_000 + ms));
    let expected = format!(
        "0190-1 failed
  call       shop.buy
  args       {{\"item\":\"tea\",\"count\":12345678901234567890123}}
  submitted  {t0} by ana
  tries      2 of 3
  attempt    1: w1, from {t0}, after 2s lost: worker w1 is gone
  attempt    2: w2, from {t2}, after 1s failed
  ended      {t3}
  error      sold out
"
    );
    assert_eq!(describe(&failed()), expected);
    let mut running = Task {
        state: TaskState::Running,
        ended_ms: None,
        error: None,
        due_ms: 1_700_000_001_000,
        deadline_ms: Some(1_700_000_009_000),
        priority: 2,
        worker: Some("w2".to_owned()),
        arguments: None,
        ..failed()
    };
    running.attempts.truncate(1);
    running.attempts[0].outcome = None;
    let expected = format!(
        "0190-1 running
  call       shop.buy
  submitted  {t0} by ana
  due        {t1}
  deadline   {t9}
  priority   2
  only at    w2
  progress   25% weighing
  tries      2 of 3
  attempt    1: w1, from {t0}, runs
"
    );
    assert_eq!(describe(&running), expected);
}

#[test]
fn a_row_says_what_matters_in_its_state() {
    let detail = |state| {
        let task = Task {
            state,
            due_ms: 1_700_000_001_000,
            ..failed()
        };
        let [id, shown, call, worker, age, took, detail] = row(&task, "0190", 1_700_000_130_000);
        assert_eq!([id, call, worker], ["0190", "shop.buy", "w2"]);
        assert_eq!([age, took], ["2m", "1s"]);
        assert_eq!(shown, state.name());
        detail
    };
    assert_eq!(detail(TaskState::Running), "25% weighing");
    assert_eq!(detail(TaskState::Failed), "sold out");
    assert_eq!(
        detail(TaskState::Queued),
        format!("due {}", local(1_700_000_001_000))
    );
    assert_eq!(detail(TaskState::Succeeded), "");
    let long = Task {
        error: Some(TaskFailure {
            sentence: "a\n".repeat(100),
            value: None,
        }),
        ..failed()
    };
    let [.., detail] = row(&long, "0190", 0);
    assert_eq!(detail, format!("{}…", "a\\n".repeat(20)));
}

#[test]
fn short_ids_tell_tasks_apart() {
    let listed = |ids: &[&str]| {
        let task = |id: &&str| Task {
            id: TaskId((*id).to_owned()),
            ..failed()
        };
        let tasks: Vec<_> = ids.iter().map(task).collect();
        let short = short_ids(&tasks).into_iter();
        short.map(str::to_owned).collect::<Vec<_>>()
    };
    let (one, other, near) = (
        "0199e5a3-1234-7abc-8def-000000000001",
        "0199e5a3-1235-7abc-8def-000000000001",
        "0199e5a3-1235-7abd-8def-000000000001",
    );
    assert_eq!(listed(&[one, other]), ["0199e5a3-1234", "0199e5a3-1235"]);
    assert_eq!(
        listed(&[near, other]),
        ["0199e5a3-1235-7abd", "0199e5a3-1235-7abc"]
    );
    assert_eq!(listed(&["0190"]), ["0190"]);
    assert!(listed(&[]).is_empty());
}

fn verb(words: &[&str]) -> Result<TasksCommand, clap::Error> {
    let words = [&["pyroxene", "tasks"], words].concat();
    match Cli::try_parse_from(words)?.command {
        Command::Tasks(arguments) => Ok(arguments.command),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_is_filtered_as_asked() {
    let words = "list --state queued --state running,failed --object o --method m --worker w \
                 --submitter u --limit 7 --before 0190-2";
    let words: Vec<&str> = words.split_whitespace().collect();
    let Ok(TasksCommand::List(list)) = verb(&words) else {
        panic!("not a list")
    };
    let expected = TaskFilter {
        states: vec![TaskState::Queued, TaskState::Running, TaskState::Failed],
        object: Some("o".to_owned()),
        method: Some("m".to_owned()),
        submitter: Some("u".to_owned()),
        worker: Some("w".to_owned()),
        before: Some(TaskId("0190-2".to_owned())),
        limit: 7,
    };
    assert_eq!(list.filter(), expected);
    let Ok(TasksCommand::List(list)) = verb(&["list"]) else {
        panic!("not a list")
    };
    let everything = TaskFilter {
        limit: 50,
        ..TaskFilter::default()
    };
    assert_eq!(list.filter(), everything);
    assert!(verb(&["list", "--state", "done"]).is_err());
    assert!(verb(&["list", "--limit", "1001"]).is_err());
}

#[test]
fn what_is_done_to_tasks_needs_an_id() {
    for name in ["show", "wait", "cancel", "retry"] {
        assert!(verb(&[name]).is_err(), "{name}");
        assert!(verb(&[name, "0190-1"]).is_ok(), "{name}");
    }
    let Ok(TasksCommand::Wait(wait)) = verb(&["wait", "a", "b", "--timeout", "60s"]) else {
        panic!("not a wait")
    };
    assert_eq!(
        (wait.ids.len(), wait.timeout),
        (2, Some(Duration::from_secs(60)))
    );
}
