//! Many name servers over one store.

use crate::harness::{
    LONG, Place, call, claim, claim_one, dispatcher, finish, lost, on_both, running, show, submit,
    succeeded, wanted,
};
use pyroxene_store::{
    FinishOutcome, LeaseLost, NewStoredTask, StoredTaskId, StoredTaskState, TaskClaim,
};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::sync::Mutex;

on_both! {
    no_task_is_handed_out_twice
    the_dead_owners_tasks_are_taken_over_and_its_answers_fenced_off
    what_was_claimed_as_it_was_submitted_is_taken_over_too
    who_has_no_lease_gets_nothing
    an_answer_that_comes_before_the_takeover_counts
    a_stale_answer_beside_the_right_one_does_not_count
    cancelling_and_finishing_at_once_ends_in_one_way
    keys_collide_across_name_servers_without_harm
}

const TTL: Duration = Duration::from_secs(3);

async fn no_task_is_handed_out_twice(place: Place) {
    const TASKS: usize = 400;
    let stores = [place.open().await, place.open().await];
    let tasks = (0..TASKS).map(|_| call("calc")).collect();
    stores[0].submit(tasks).await.unwrap();
    let seen: Arc<Mutex<Vec<StoredTaskId>>> = Arc::default();
    let claimers = (0..8).map(|number| {
        let (store, seen) = (stores[number % 2].clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let owner = dispatcher(&store, LONG).await;
            while seen.lock().await.len() < TASKS {
                let claimed = claim(&store, owner, "calc", 7).await;
                seen.lock().await.extend(claimed.iter().map(|task| task.id));
                for task in &claimed {
                    let finished = finish(&store, running(task, owner), succeeded(b"1")).await;
                    assert_eq!(
                        finished,
                        FinishOutcome::Accepted(StoredTaskState::Succeeded)
                    );
                }
            }
        })
    });
    for claimer in claimers.collect::<Vec<_>>() {
        claimer.await.unwrap();
    }
    let seen = seen.lock().await;
    assert_eq!(seen.len(), TASKS);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), TASKS);
    assert_eq!(stores[1].counts().await.unwrap().succeeded, TASKS as i64);
}

async fn the_dead_owners_tasks_are_taken_over_and_its_answers_fenced_off(place: Place) {
    let (dead, alive) = (place.open().await, place.open().await);
    let first = dispatcher(&dead, TTL).await;
    let id = submit(&dead, call("calc")).await;
    let old = running(&claim_one(&dead, first, "calc").await, first);
    assert_eq!(alive.sweep().await.unwrap().rescued, 0);
    assert_eq!(place.advance_watched(&alive, 3500).await, 1);
    let second = dispatcher(&alive, TTL).await;
    let new = running(&claim_one(&alive, second, "calc").await, second);
    assert_eq!((new.id, new.attempt), (id, 2));
    assert_eq!(dead.superseded(&[old, new]).await.unwrap(), [old]);
    assert_eq!(
        finish(&dead, old, succeeded(b"old")).await,
        FinishOutcome::Superseded
    );
    assert_eq!(finish(&dead, old, lost()).await, FinishOutcome::Superseded);
    let finished = finish(&alive, new, succeeded(b"new")).await;
    assert_eq!(
        finished,
        FinishOutcome::Accepted(StoredTaskState::Succeeded)
    );
    let task = show(&dead, id).await;
    assert_eq!(task.result.unwrap(), b"new");
    let reason = task.attempts[0].error.as_deref().unwrap();
    assert!(
        reason.contains("the name server that had it is gone"),
        "{reason}"
    );
}

async fn what_was_claimed_as_it_was_submitted_is_taken_over_too(place: Place) {
    let (dead, alive) = (place.open().await, place.open().await);
    let first = dispatcher(&dead, TTL).await;
    let tasks = vec![(call("calc"), Some(first))];
    let claimed = dead.submit_and_claim(tasks).await.unwrap().remove(0).1;
    let old = running(&claimed.expect("it was claimed"), first);
    assert_eq!(alive.sweep().await.unwrap().rescued, 0);
    assert_eq!(place.advance_watched(&alive, 3500).await, 1);
    // Its lease is over: any owner may claim what is submitted now.
    let tasks = vec![(call("calc"), Some(first))];
    let (late, claimed) = dead.submit_and_claim(tasks).await.unwrap().remove(0);
    assert_eq!(claimed, None);
    let second = dispatcher(&alive, TTL).await;
    let taken = claim(&alive, second, "calc", 10).await;
    let ids: Vec<StoredTaskId> = taken.iter().map(|task| task.id).collect();
    assert_eq!(ids, [old.id, late.id]);
    let ended = finish(&dead, old, succeeded(b"old")).await;
    assert_eq!(ended, FinishOutcome::Superseded);
}

async fn who_has_no_lease_gets_nothing(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, TTL).await;
    submit(&store, call("calc")).await;
    store.release(owner).await.unwrap();
    let objects = vec![("calc".to_owned(), 1)];
    let claim = wanted(owner, objects);
    assert_eq!(store.claim(claim.clone()).await.unwrap(), Err(LeaseLost));
    assert_eq!(
        store
            .claim(TaskClaim {
                owner: 999,
                ..claim
            })
            .await
            .unwrap(),
        Err(LeaseLost)
    );
    let owner = dispatcher(&store, TTL).await;
    claim_one(&store, owner, "calc").await;
}

async fn an_answer_that_comes_before_the_takeover_counts(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, TTL).await;
    submit(&store, call("calc")).await;
    let attempt = running(&claim_one(&store, owner, "calc").await, owner);
    place.advance(5000);
    let finished = finish(&store, attempt, succeeded(b"1")).await;
    assert_eq!(
        finished,
        FinishOutcome::Accepted(StoredTaskState::Succeeded)
    );
    assert_eq!(store.sweep().await.unwrap().rescued, 0);
}

async fn a_stale_answer_beside_the_right_one_does_not_count(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let id = submit(&store, call("calc")).await;
    let old = running(&claim_one(&store, owner, "calc").await, owner);
    finish(&store, old, lost()).await;
    let new = running(&claim_one(&store, owner, "calc").await, owner);
    let end = |running, result: &[u8]| pyroxene_store::FinishedAttempt {
        running,
        worker: None,
        ending: succeeded(result),
    };
    let ends = vec![end(old, b"old"), end(new, b"new"), end(new, b"again")];
    let finished = store.finish(ends).await.unwrap();
    let accepted = FinishOutcome::Accepted(StoredTaskState::Succeeded);
    assert_eq!(
        finished,
        [
            FinishOutcome::Superseded,
            accepted,
            FinishOutcome::Superseded
        ]
    );
    assert_eq!(show(&store, id).await.result.unwrap(), b"new");
}

async fn cancelling_and_finishing_at_once_ends_in_one_way(place: Place) {
    let stores = [place.open().await, place.open().await];
    let owner = dispatcher(&stores[0], LONG).await;
    let tasks = (0..100).map(|_| call("calc")).collect();
    stores[0].submit(tasks).await.unwrap();
    let claimed = claim(&stores[0], owner, "calc", 100).await;
    let ids: Vec<StoredTaskId> = claimed.iter().map(|task| task.id).collect();
    let ends = claimed.iter().map(|task| pyroxene_store::FinishedAttempt {
        running: running(task, owner),
        worker: None,
        ending: succeeded(b"1"),
    });
    let (finished, cancelled) = tokio::join!(
        stores[0].finish(ends.collect()),
        stores[1].cancel(ids.iter().rev().copied().collect()),
    );
    let accepted = finished
        .unwrap()
        .iter()
        .filter(|one| **one != FinishOutcome::Superseded)
        .count();
    let cancelled = cancelled.unwrap();
    let cancelled = cancelled
        .iter()
        .filter(|one| **one == pyroxene_store::CancelOutcome::Cancelled);
    assert_eq!(accepted + cancelled.count(), 100);
    let counts = stores[0].counts().await.unwrap();
    assert_eq!(counts.succeeded, accepted as i64);
}

async fn keys_collide_across_name_servers_without_harm(place: Place) {
    let stores = [place.open().await, place.open().await];
    let submitters = (0..4).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move {
            let mut keys: Vec<usize> = (0..50).collect();
            if number >= 2 {
                keys.reverse();
            }
            let tasks = keys.iter().map(|key| NewStoredTask {
                idempotency_key: Some(format!("k{key}")),
                ..call("calc")
            });
            let submitted = store.submit(tasks.collect()).await.unwrap();
            let ids = submitted.iter().map(|one| one.id);
            keys.into_iter()
                .zip(ids)
                .collect::<std::collections::BTreeMap<_, _>>()
        })
    });
    let mut found = Vec::new();
    for submitter in submitters.collect::<Vec<_>>() {
        found.push(submitter.await.unwrap());
    }
    assert!(found.iter().all(|ids| *ids == found[0]));
    assert_eq!(stores[0].counts().await.unwrap().queued, 50);
}
