//! A store in a file on a disk that is full.

use super::desk::{Desk, echo, task};
use crate::harness::{Broker, eventually_within, seconds, turn, within};
use pyroxene_common::interfaces::tasks::{Submission, TaskId, TaskState, TasksError};
use pyroxene_objects::interfaces::echo::Echo;
use std::{fs, io::Write, time::Instant};

/// A task of this many bytes.
fn large(bytes: usize) -> Submission {
    let data = "x".repeat(bytes);
    task("echo", "echo", &format!(r#"{{"data":"{data}"}}"#))
}

/// Writes until nothing more fits.
fn fill(path: &std::path::Path) {
    let mut file = fs::File::create(path).unwrap();
    for block in [1 << 20, 1 << 12] {
        let block = vec![0; block];
        while file.write_all(&block).is_ok() {}
    }
}

/// Submits until that fails, and gives the error.
async fn submit_until_full(desk: &Desk, ids: &mut Vec<TaskId>) -> TasksError {
    for _ in 0..1000 {
        match desk.try_submit(vec![large(40_000)]).await.unwrap() {
            Ok(id) => ids.extend(id),
            Err(error) => return error,
        }
    }
    panic!("the disk is not full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_is_survived() {
    let _turn = turn().await;
    let mut broker = Broker::start().store_on_a_disk_of(32).workers(2).await;
    let desk = Desk::at(&mut broker, 0);
    let client = broker.client().await;
    let direct = client.object::<Echo>("echo").await.unwrap();
    let mut ids = desk
        .submit_all((0..20).map(|_| large(1000)).collect())
        .await;

    let ballast = broker.nameserver(0).disk().join("ballast");
    fill(&ballast);
    let error = submit_until_full(&desk, &mut ids).await;
    assert!(error.to_string().contains("full"), "{error:?}");
    // Small ones may fit for a while longer, into what the file has already.
    let refused = eventually_within(seconds(30), "a command is refused", || async {
        let ran = broker.run(&["submit", "echo", "echo", "data=x"]).await;
        (ran.code != Some(0))
            .then_some(ran)
            .ok_or("it fits".to_owned())
    })
    .await;
    let sentence = refused.error(3);
    assert!(sentence.contains("the store is full"), "{sentence}");
    let began = Instant::now();
    direct.sleep(within(seconds(5)), 10).await.unwrap();
    assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
    // A worker can come and go, and what is there can be looked at.
    broker.add_worker("w3", &[]).await;
    assert_eq!(desk.show(&ids[0]).await.id, ids[0]);

    fs::remove_file(&ballast).unwrap();
    let next = eventually_within(seconds(10), "there is room again", || async {
        let submitted = desk.try_submit(vec![echo("after")]).await?;
        submitted.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(desk.ended(&next[0]).await.state, TaskState::Succeeded);
    for id in &ids {
        let status = desk.ended(id).await;
        assert_eq!(status.state, TaskState::Succeeded, "{status:?}");
    }
    let checked = broker.nameserver(0).process().pid();
    assert!(fs::metadata(format!("/proc/{checked}")).is_ok());
}
