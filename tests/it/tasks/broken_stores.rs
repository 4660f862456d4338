//! Databases that are away.

use super::desk::{Desk, echo, sleep};
use crate::harness::{Broker, Ran, eventually_within, postgres::Postgres, seconds, turn, within};
use pyroxene_common::interfaces::tasks::{Submission, TaskId, TaskState, TasksError};
use pyroxene_objects::interfaces::echo::Echo;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_without_the_store_and_what_ran_is_written_later() {
    let _turn = turn().await;
    let mut postgres = Postgres::start().await;
    let mut broker = Broker::start()
        .store(&postgres.database("state").await)
        .workers(2)
        .await;
    let desk = Desk::at(&mut broker, 0);
    let running = desk.submit(sleep(seconds(2))).await;
    desk.is_at_a_worker(&running).await;
    postgres.crash().await;

    let client = broker.client().await;
    let direct = client.object::<Echo>("echo").await.unwrap();
    let began = Instant::now();
    direct.sleep(within(seconds(5)), 10).await.unwrap();
    assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
    let began = Instant::now();
    let refused = desk.try_submit(vec![echo("x")]).await.unwrap();
    let error = refused.unwrap_err();
    assert!(matches!(error, TasksError::Unavailable { .. }), "{error:?}");
    assert!(began.elapsed() < seconds(6), "{:?}", began.elapsed());
    // A worker can come now, and is found.
    broker.add_worker("w3", &[]).await;
    // What runs ends meanwhile.
    tokio::time::sleep(seconds(2)).await;

    postgres.recover().await;
    let status = eventually_within(seconds(30), "the end is written", || async {
        let task = desk
            .try_show(&running)
            .await?
            .map_err(|error| error.to_string())?;
        (task.state == TaskState::Succeeded)
            .then_some(task.clone())
            .ok_or(format!("{task:?}"))
    })
    .await;
    assert_eq!(status.attempts.len(), 1, "{status:?}");
    let next = desk.submit(echo("after")).await;
    assert_eq!(desk.ended(&next).await.state, TaskState::Succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_crash_of_the_database() {
    let _turn = turn().await;
    let mut postgres = Postgres::start().await;
    let mut broker = Broker::start()
        .nameservers(2)
        .store(&postgres.database("state").await)
        .workers(2)
        .await;
    let desks = [Desk::at(&mut broker, 0), Desk::at(&mut broker, 1)];
    let keyed = |number: usize| Submission {
        key: format!("k{number}"),
        ..echo(&number.to_string())
    };
    let failures = Arc::new(AtomicUsize::new(0));
    let submitting = tokio::spawn({
        let (desks, failures) = (desks.clone(), Arc::clone(&failures));
        async move {
            let mut ids: Vec<TaskId> = Vec::new();
            for number in 0..300 {
                loop {
                    let failed = failures.load(Ordering::Relaxed);
                    let desk = &desks[(number + failed) % 2];
                    match desk.try_submit(vec![keyed(number)]).await {
                        Ok(Ok(id)) => break ids.extend(id),
                        // The same key again, at the other one.
                        Ok(Err(TasksError::Unavailable { .. })) | Err(_) => {
                            failures.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(Err(error)) => panic!("{error:?}"),
                    }
                }
            }
            ids
        }
    });
    desks[0].has_at_least(20).await;
    postgres.crash().await;
    eventually_within(seconds(30), "a submission fails", || async {
        let failed = failures.load(Ordering::Relaxed);
        (failed > 0).then_some(()).ok_or("none does".to_owned())
    })
    .await;
    postgres.recover().await;
    let ids = submitting.await.unwrap();
    desks[1].succeeded(300, seconds(60)).await;
    for id in &ids {
        assert_eq!(desks[0].show(id).await.state, TaskState::Succeeded);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_used_is_said_at_the_start() {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join("text.db"), "this is no database at all").unwrap();
    std::fs::create_dir(dir.path().join("directory.db")).unwrap();
    for (store, words) in [
        ("sqlite:text.db", "not a store"),
        ("sqlite:directory.db", "it is not a file"),
        ("sqlite:/proc/nowhere/state.db", "cannot use the store"),
        ("postgres://nobody@127.0.0.1:1/none", "unavailable"),
    ] {
        let arguments = ["nameserver", "--listen", "127.0.0.1:0", "--store", store];
        let at_once = ["--start-timeout", "0s"];
        let ran = Ran::in_dir(dir.path(), &[&arguments[..], &at_once].concat()).await;
        let sentence = ran.error(1);
        assert!(sentence.contains(words), "{store}: {sentence}");
    }
    let ran = Ran::in_dir(dir.path(), &["nameserver", "--store", "mysql:x"]).await;
    assert!(ran.error(2).contains("sqlite:FILE"));
}
