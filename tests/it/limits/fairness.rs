//! Whose tasks begin, while one user has many.

use super::desk_of;
use crate::{
    harness::{SecuredBroker, eventually_within, seconds, within},
    tasks::desk::{echo, sleep},
};
use pyroxene_client::DirectProxy;
use pyroxene_common::interfaces::tasks::{
    AttemptResult, Submission, Submissions, Task, TaskId, TaskState, Tasks, tasks::TasksClient,
};
use std::time::Duration;

type Desk = TasksClient<DirectProxy<Tasks>>;

async fn submit(desk: &Desk, tasks: Vec<Submission>) -> Vec<TaskId> {
    let answer = desk.submit(within(seconds(30)), Submissions(tasks)).await;
    answer.unwrap().unwrap()
}

async fn becomes(desk: &Desk, id: &TaskId, state: TaskState) -> Task {
    let what = format!("{id} is {state}");
    eventually_within(seconds(30), &what, || async {
        let shown = desk.show(within(seconds(10)), id.clone()).await;
        let task = shown
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        match task.state == state {
            true => Ok(task),
            false => Err(format!("{task:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_hundreds_of_endless_tasks_keeps_nobody_else_from_beginning() {
    let broker = SecuredBroker::with_tokens()
        .worker("w1", &["--threads", "2"])
        .await;
    broker.add_user("bob", "user", &[]).await;
    broker.add_user("carl", "user", &[]).await;
    let (ana, bob) = (desk_of(&broker, "ana").await, desk_of(&broker, "bob").await);
    let carl = desk_of(&broker, "carl").await;
    let endless = Submission {
        priority: 1000,
        run_limit_ms: Some(86_400_000),
        ..sleep(Duration::from_secs(104 * 24 * 3600))
    };
    let hogs = submit(&ana, vec![endless.clone(); 300]).await;
    becomes(&ana, &hogs[0], TaskState::Running).await;
    // Another one does the same, and there is still a place for a third.
    let others = submit(&bob, vec![endless; 300]).await;
    becomes(&bob, &others[0], TaskState::Running).await;
    for _ in 0..3 {
        let quick = submit(&carl, vec![echo("x"), echo("y")]).await;
        for id in &quick {
            becomes(&carl, id, TaskState::Succeeded).await;
        }
    }
    // What cannot begin is not begun: it waits, and is not tried again and again.
    let last = hogs.last().unwrap();
    let waiting = becomes(&ana, last, TaskState::Queued).await;
    assert_eq!(waiting.attempts, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_ends_with_its_run_limit() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let ana = desk_of(&broker, "ana").await;
    let short = Submission {
        run_limit_ms: Some(200),
        max_attempts: 2,
        ..sleep(seconds(3600))
    };
    let id = submit(&ana, vec![short]).await.remove(0);
    let task = becomes(&ana, &id, TaskState::Failed).await;
    let sentence = task.error.unwrap().sentence;
    let expected = "given up after 2 attempts: it ran for longer than its run limit of 200ms";
    assert_eq!(sentence, expected);
    assert_eq!(task.attempts[0].outcome, Some(AttemptResult::Failed));
    assert_eq!(task.tries, 2);
    let usual = submit(&ana, vec![echo("x")]).await.remove(0);
    let task = becomes(&ana, &usual, TaskState::Succeeded).await;
    assert_eq!(task.run_limit_ms, 3_600_000);
}
