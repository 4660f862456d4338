//! The client side of tasks with a fake store behind real connections.

mod batches;
mod durable;
mod fake;

use super::*;
use crate::ClientConfig;
use fake::{Fake, within};
use futures::StreamExt;
use pyroxene_common::interfaces::tasks::{AttemptResult, TaskFailure};
use serde_json::{Value, json};
use std::time::Duration;

fn factorial() -> NewTask {
    NewTask::new("calculator", "factorial").argument("n", 5)
}

#[tokio::test]
async fn a_task_is_submitted_and_its_result_waited_for() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let handle = client.submit(factorial().priority(3)).await.unwrap();
    let submission = fake.store.submission(handle.id());
    assert_eq!(
        (submission.arguments.as_str(), submission.priority),
        (r#"{"n":5}"#, 3)
    );
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.wait().await }
    });
    fake.store.polled(1).await;
    fake.store.succeed(handle.id(), "\"120\"");
    assert_eq!(within(waiting).await.unwrap(), Ok(json!("120")));
    assert_eq!(handle.wait_as::<String>().await, Ok("120".to_owned()));
    let again = client.task_handle(handle.id().clone());
    assert_eq!(again.status().await.unwrap().state, TaskState::Succeeded);
}

#[tokio::test]
async fn several_tasks_are_one_submission() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let handles = client
        .submit_many([factorial(), factorial()])
        .await
        .unwrap();
    assert_eq!((handles.len(), fake.store.submits()), (2, 1));
    assert_ne!(handles[0].id(), handles[1].id());
    assert!(client.submit_many([]).await.unwrap().is_empty());
    assert_eq!(fake.store.submits(), 1);
}

#[tokio::test]
async fn a_submission_whose_answer_is_lost_is_repeated_elsewhere_and_is_one_task() {
    let mut fake = Fake::start(2).await;
    let client = fake.client();
    fake.store.lose_next_answer();
    let submitting = tokio::spawn({
        let client = client.clone();
        async move { client.submit(factorial()).await }
    });
    let loser = within(fake.store.lost()).await;
    fake.kill(loser);
    let handle = within(submitting).await.unwrap().unwrap();
    assert_eq!(fake.store.submits(), 2);
    assert_eq!(fake.store.ids(), [handle.id().clone()]);
}

#[tokio::test]
async fn waiting_goes_on_at_another_name_server_when_one_dies() {
    let mut fake = Fake::start(2).await;
    let client = fake.client();
    let handle = client.submit(factorial()).await.unwrap();
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.wait().await }
    });
    let first = within(fake.store.polled(1)).await;
    fake.kill(first);
    let second = within(fake.store.polled(2)).await;
    assert_ne!(first, second);
    fake.store.succeed(handle.id(), "1");
    assert_eq!(within(waiting).await.unwrap(), Ok(json!(1)));
}

#[tokio::test]
async fn updates_tell_of_every_version_once_and_end_with_the_task() {
    let fake = Fake::start(1).await;
    let handle = fake.client().submit(factorial()).await.unwrap();
    let mut updates = std::pin::pin!(handle.updates());
    let mut next = async || within(updates.next()).await.map(Result::unwrap);
    assert_eq!(next().await.unwrap().state, TaskState::Queued);
    fake.store.run(handle.id(), "w1");
    let running = next().await.unwrap();
    assert_eq!((running.state, running.attempt), (TaskState::Running, 1));
    fake.store.progress(handle.id(), 0.5);
    assert_eq!(next().await.unwrap().progress.unwrap().fraction, 0.5);
    fake.store.succeed(handle.id(), "1");
    assert_eq!(next().await.unwrap().state, TaskState::Succeeded);
    assert_eq!(next().await, None);
    let seen = fake.store.seen();
    assert_eq!(seen, [None, Some(0), Some(1), Some(2)]);
}

#[tokio::test]
async fn what_becomes_of_a_task_is_told_by_what_can_be_done() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let failure = TaskFailure {
        sentence: "sold out".to_owned(),
        value: Some("{\"SoldOut\":1}".to_owned()),
    };
    let failed = client.submit(factorial()).await.unwrap();
    fake.store
        .fail(failed.id(), failure.clone(), AttemptResult::Failed);
    let expected = TaskError::Failed {
        sentence: "sold out".to_owned(),
        value: failure.value.clone(),
    };
    assert_eq!(failed.wait().await, Err(expected));

    let lost = client.submit(factorial()).await.unwrap();
    let failure = TaskFailure {
        value: None,
        sentence: "worker w1 is gone".to_owned(),
    };
    fake.store
        .fail(lost.id(), failure.clone(), AttemptResult::Lost);
    let expected = TaskError::Failed {
        sentence: "worker w1 is gone".to_owned(),
        value: None,
    };
    assert_eq!(lost.wait().await, Err(expected));

    let late = client.submit(factorial()).await.unwrap();
    fake.store.fail(late.id(), failure, AttemptResult::Late);
    assert_eq!(late.wait().await, Err(TaskError::DeadlineExceeded));

    let cancelled = client.submit(factorial()).await.unwrap();
    assert_eq!(cancelled.cancel().await, Ok(TaskState::Cancelled));
    assert_eq!(cancelled.wait().await, Err(TaskError::Cancelled));
    assert_eq!(late.cancel().await, Ok(TaskState::Failed));
    assert_eq!(late.retry().await, Ok(TaskState::Queued));
    assert_eq!(late.show().await.unwrap().state, TaskState::Queued);

    let stranger = client.task_handle(TaskId("nobody".to_owned()));
    let error = stranger.wait().await.unwrap_err();
    assert_eq!(error.to_string(), "there is no task nobody");
    assert!(matches!(error, TaskError::Unknown { .. }));
}

#[tokio::test]
async fn a_store_that_comes_back_is_waited_for() {
    let fake = Fake::start(2).await;
    fake.store.be_unavailable(3);
    let handle = within(fake.client().submit(factorial())).await.unwrap();
    assert_eq!(fake.store.ids(), [handle.id().clone()]);
    assert_eq!(fake.store.submits(), 4);
}

#[tokio::test]
async fn a_submission_with_a_deadline_is_repeated_until_then_and_is_one_task() {
    let fake = Fake::start(1).await;
    fake.store.be_unavailable(6);
    let config = ClientConfig::new(fake.address(0)).unwrap();
    let client = Client::new(config.retry_timeout(Duration::ZERO));
    let deadline = Instant::now() + Duration::from_secs(60);
    let submitted = client.submit_with_deadline(factorial(), deadline);
    let handle = within(submitted).await.unwrap();
    assert_eq!(fake.store.ids(), [handle.id().clone()]);
    assert_eq!(fake.store.submits(), 7);
}

#[tokio::test]
async fn name_servers_that_take_no_tasks_say_so() {
    let fake = Fake::without_tasks().await;
    let error = within(fake.client().submit(factorial())).await.unwrap_err();
    let expected = format!(
        "name server {} takes no tasks: there is no object 'tasks' here",
        fake.address(0)
    );
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, TaskError::Unavailable { sent: false, .. }));
}

#[tokio::test]
async fn tasks_are_listed_and_counted() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let handle = client.submit(factorial()).await.unwrap();
    fake.store.succeed(handle.id(), "1");
    client.submit(factorial()).await.unwrap();
    let filter = TaskFilter {
        states: vec![TaskState::Succeeded],
        limit: 10,
        ..TaskFilter::default()
    };
    let listed = client.list_tasks(&filter).await.unwrap().tasks;
    assert_eq!(listed.len(), 1);
    assert_eq!(&listed[0].id, handle.id());
    let counts = client.count_tasks().await.unwrap();
    assert!(counts.contains(&(TaskState::Queued, 1)));
}

#[tokio::test]
async fn a_key_of_the_callers_own_is_kept_and_its_misuse_told() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let first = client.submit(factorial().key("k")).await.unwrap();
    let second = client.submit(factorial().key("k")).await.unwrap();
    assert_eq!(first.id(), second.id());
    let other = NewTask::new("calculator", "fibonacci").key("k");
    let error = client.submit(other).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the key 'k' was used for another call; nothing was submitted"
    );
    assert!(matches!(error, TaskError::Invalid { .. }));
}

#[tokio::test]
async fn a_result_that_is_not_what_was_expected_is_told() {
    let fake = Fake::start(1).await;
    let handle = fake.client().submit(factorial()).await.unwrap();
    fake.store.succeed(handle.id(), "[1]");
    assert_eq!(handle.wait_as::<Vec<u8>>().await, Ok(vec![1]));
    let error = handle.wait_as::<Value>().await;
    assert_eq!(error, Ok(json!([1])));
    let error = handle.wait_as::<String>().await.unwrap_err().to_string();
    assert!(
        error.starts_with("the result cannot be read: invalid type"),
        "{error}"
    );
}

#[tokio::test]
async fn what_may_have_been_submitted_is_told_with_its_key() {
    let fake = Fake::start(1).await;
    fake.store.be_unavailable(usize::MAX);
    let config = ClientConfig::new(fake.address(0)).unwrap();
    let client = Client::new(config.retry_timeout(Duration::ZERO));
    let error = within(client.submit(factorial().key("k"))).await;
    let error = error.unwrap_err();
    let TaskError::MaybeSubmitted { keys, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*keys, ["k"]);
    let sentence = error.to_string();
    let expected = "the task may have been submitted: no name server can answer now: ";
    assert!(sentence.starts_with(expected), "{sentence}");
}

#[tokio::test]
async fn updates_are_drawn_without_being_pinned() {
    let fake = Fake::start(1).await;
    let handle = fake.client().submit(factorial()).await.unwrap();
    fake.store.succeed(handle.id(), "1");
    let mut updates = handle.updates();
    let status = within(updates.next()).await.unwrap().unwrap();
    assert_eq!(status.state, TaskState::Succeeded);
    assert!(within(updates.next()).await.is_none());
}
