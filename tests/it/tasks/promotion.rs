//! A database server that dies, and its standby that becomes the one that is written to.

use super::desk::{Desk, entry, outcomes};
use crate::harness::{Broker, eventually_within, postgres::Postgres, seconds, turn};
use pyroxene_common::interfaces::tasks::{
    AttemptResult, Submission, TaskId, TaskState, TasksError,
};
use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const TASKS: usize = 400;

/// One address that leads to whichever server it is told to, as a virtual one of a cluster does.
struct Address(tempfile::TempDir);

impl Address {
    fn of(server: &Postgres) -> Self {
        let address = Self(tempfile::TempDir::new().unwrap());
        address.lead_to(server);
        address
    }

    fn lead_to(&self, server: &Postgres) {
        let draft = self.0.path().join("draft");
        std::os::unix::fs::symlink(server.dir(), &draft).unwrap();
        std::fs::rename(draft, self.path()).unwrap();
    }

    fn path(&self) -> impl AsRef<Path> + use<> {
        self.0.path().join("server")
    }

    fn url(&self, database: &str) -> String {
        let path = self.path();
        let host = path.as_ref().display();
        format!("postgres://postgres@localhost/{database}?host={host}")
    }
}

fn keyed(number: usize) -> Submission {
    Submission {
        key: format!("k{number}"),
        ..entry(number, Duration::from_millis(1))
    }
}

/// Submits tasks one after the other, each again until it is acknowledged, at both name servers in
/// turn. Counts those and the failures.
async fn submit_all(desks: [Desk; 2], counts: Arc<[AtomicUsize; 2]>) -> Vec<TaskId> {
    let mut ids = Vec::new();
    let mut tries = 0;
    while ids.len() < TASKS {
        tries += 1;
        match desks[tries % 2].try_submit(vec![keyed(ids.len())]).await {
            Ok(Ok(id)) => {
                ids.extend(id);
                counts[0].fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(TasksError::Unavailable { .. })) | Err(_) => {
                counts[1].fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(error)) => panic!("{error:?}"),
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_at_the_standby_that_is_promoted() {
    let _turn = turn().await;
    let mut primary = Postgres::start().await;
    primary.database("state").await;
    let standby = primary.standby().await;
    let address = Address::of(&primary);
    let mut broker = Broker::start()
        .nameservers(2)
        .store(&address.url("state"))
        .await;
    for name in ["l1", "l2"] {
        broker.add_ledger(name, None).await;
    }
    let desks = [Desk::at(&mut broker, 0), Desk::at(&mut broker, 1)];
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let submitting = tokio::spawn(submit_all(desks.clone(), Arc::clone(&counts)));
    let reaches = async |what: &str, index: usize, count: usize| {
        eventually_within(seconds(40), what, || async {
            let now = counts[index].load(Ordering::Relaxed);
            (now >= count).then_some(()).ok_or(format!("{now}"))
        })
        .await;
    };
    reaches("many are acknowledged", 0, TASKS / 4).await;
    primary.kill().await;
    reaches("a submission fails", 1, 1).await;
    standby.promote().await;
    address.lead_to(&standby);

    let ids = submitting.await.unwrap();
    desks[1].succeeded(TASKS, seconds(60)).await;
    let distinct: HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), TASKS);
    for id in &ids {
        let task = desks[0].show(id).await;
        assert_eq!(task.state, TaskState::Succeeded, "{task:?}");
        let outcomes = outcomes(&task);
        let accepted = outcomes
            .iter()
            .filter(|one| **one == Some(AttemptResult::Succeeded));
        assert_eq!(accepted.count(), 1, "{task:?}");
        // Every other attempt says why it was not the last.
        for attempt in &task.attempts {
            let is_explained = attempt.outcome == Some(AttemptResult::Succeeded)
                || attempt.reason.as_ref().is_some_and(|why| !why.is_empty());
            assert!(is_explained, "{task:?}");
        }
    }
    let entries: HashSet<u64> = broker.ledger_entries().into_iter().collect();
    assert_eq!(entries.len(), TASKS);
}
