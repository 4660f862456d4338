//! How many tasks a user may have, and how large.

use super::desk_of;
use crate::{
    harness::{SecuredBroker, eventually, seconds, within},
    tasks::desk::echo,
};
use pyroxene_client::DirectProxy;
use pyroxene_common::interfaces::tasks::{Submission, Submissions, Tasks, tasks::TasksClient};
use serde_json::Value;

type Desk = TasksClient<DirectProxy<Tasks>>;

fn delayed() -> Submission {
    Submission {
        delay_ms: 3_600_000,
        ..echo("x")
    }
}

async fn submit(desk: &Desk, tasks: Vec<Submission>) -> Result<usize, String> {
    let answer = desk.submit(within(seconds(30)), Submissions(tasks)).await;
    let answer = answer.map_err(|error| error.to_string())?;
    answer
        .map(|ids| ids.len())
        .map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_tasks_and_bytes_and_others_are_not_concerned() {
    let flags = ["--limit", "tasks=50,task_bytes=64KiB"];
    let broker = SecuredBroker::with_tokens().nameserver_flags(&flags).await;
    broker.add_user("bob", "user", &[]).await;
    let ana = desk_of(&broker, "ana").await;
    assert_eq!(submit(&ana, vec![delayed(); 50]).await, Ok(50));
    let refused = submit(&ana, vec![delayed()]).await.unwrap_err();
    let expected = "refused: the limit 'tasks' of user 'ana' is 50 (tasks that wait or run)";
    assert_eq!(refused, expected);
    let bob = desk_of(&broker, "bob").await;
    let large = Submission {
        arguments: format!(r#"{{"data":"{}"}}"#, "x".repeat(40 << 10)),
        ..delayed()
    };
    assert_eq!(submit(&bob, vec![large.clone()]).await, Ok(1));
    let refused = submit(&bob, vec![large]).await.unwrap_err();
    assert!(
        refused.contains("'task_bytes' of user 'bob' is 64KiB"),
        "{refused}"
    );
    assert_eq!(submit(&bob, vec![delayed()]).await, Ok(1));

    // The command says so too, with the code of a refusal.
    let submit = ["submit", "echo", "echo", "data=x", "--delay", "1h"];
    let ran = broker.run_as("ana", &submit).await;
    assert!(
        ran.error(4)
            .contains("the limit 'tasks' of user 'ana' is 50")
    );
    assert!(ran.stderr.contains("pyroxene limits"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_submits_so_many_tasks_and_what_is_beyond_any_limit_is_not_even_read() {
    let broker = SecuredBroker::with_tokens().await;
    let ana = desk_of(&broker, "ana").await;
    let refused = submit(&ana, vec![delayed(); 1001]).await.unwrap_err();
    assert!(
        refused.contains("'tasks_per_call' of user 'ana' is 1000"),
        "{refused}"
    );
    let refused = submit(&ana, vec![delayed(); 10_001]).await.unwrap_err();
    assert!(refused.contains("more than 10000 tasks"), "{refused}");
    assert_eq!(submit(&ana, vec![delayed(); 1000]).await, Ok(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_take_neither_the_top_priorities_nor_the_workers_for_ever() {
    let broker = SecuredBroker::with_tokens().await;
    let (ana, root) = (
        desk_of(&broker, "ana").await,
        desk_of(&broker, "root").await,
    );
    let top = Submission {
        priority: i32::MAX,
        ..delayed()
    };
    let refused = submit(&ana, vec![top.clone()]).await.unwrap_err();
    assert!(
        refused.contains("'priority' of user 'ana' is 1000"),
        "{refused}"
    );
    assert_eq!(submit(&root, vec![top]).await, Ok(1));
    let long = Submission {
        run_limit_ms: Some(104 * 24 * 3_600_000),
        ..delayed()
    };
    let refused = submit(&ana, vec![long]).await.unwrap_err();
    assert!(
        refused.contains("'run_time' of user 'ana' is 86400s"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_shown_and_set_by_user_while_the_name_server_runs() {
    let broker = SecuredBroker::with_tokens().await;
    let ana = desk_of(&broker, "ana").await;
    submit(&ana, vec![delayed(); 3]).await.unwrap();
    let own = broker.run_as("ana", &["limits", "--json"]).await;
    let own: Value = serde_json::from_str(own.out()).unwrap();
    let tasks = &own[0]["limits"]["tasks"];
    assert_eq!(
        (&own[0]["user"], &tasks["value"]),
        (&"ana".into(), &100_000.into())
    );
    assert_eq!(
        (&tasks["used"], &tasks["total_used"]),
        (&3.into(), &Value::Null)
    );

    // Others' are for admins.
    let refused = broker.run_as("ana", &["limits", "root"]).await;
    assert!(
        refused.error(4).contains("only admins"),
        "{}",
        refused.stderr
    );
    let unknown = broker.run_as("root", &["limits", "nobody"]).await;
    assert!(
        unknown.stderr.contains("no user 'nobody'"),
        "{}",
        unknown.stderr
    );
    let of_ana = broker.run_as("root", &["limits", "ana", "--json"]).await;
    let of_ana: Value = serde_json::from_str(of_ana.out()).unwrap();
    assert_eq!(of_ana[0]["limits"]["tasks"]["used"], 3);
    assert_eq!(of_ana[0]["limits"]["tasks"]["total_used"], 3);

    let set = ["set", "ana", "--limit", "tasks=4,task_bytes=1GiB"];
    broker.keys.users(&set).await.out();
    broker.hang_up_all();
    eventually("the name server has read it", || async {
        let whoami = broker.run_as("ana", &["whoami"]).await.stdout;
        let limits = "limits: tasks 4, tasks_per_call 1000, task_bytes 1GiB";
        whoami.contains(limits).then_some(()).ok_or(whoami)
    })
    .await;
    assert_eq!(submit(&ana, vec![delayed()]).await, Ok(1));
    let refused = submit(&ana, vec![delayed()]).await.unwrap_err();
    assert!(refused.contains("'tasks' of user 'ana' is 4"), "{refused}");
}
