//! Which task is claimed next, and when.

use super::pinned_lane;
use crate::harness::{
    LONG, Place, all_tasks, call, claim, claim_one, dispatcher, on_all, show, submit, wanted,
};
use pyroxene_store::{NewStoredTask, StoredTaskId, StoredTaskState};
use std::time::Duration;

on_all! {
    greater_priority_goes_first_and_then_the_older
    each_object_has_its_own_queue
    a_pinned_task_goes_to_its_worker_alone
    a_delayed_task_is_due_in_time
    a_deadline_ends_what_has_not_begun
}

async fn greater_priority_goes_first_and_then_the_older(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let mut ids = Vec::new();
    for priority in [0, 5, -5, 5] {
        let task = NewStoredTask {
            priority,
            ..call("calc")
        };
        ids.push(submit(&store, task).await);
    }
    let first = claim(&store, owner, "calc", 3).await;
    let first: Vec<StoredTaskId> = first.iter().map(|task| task.id).collect();
    assert_eq!(first, [ids[1], ids[3], ids[0]]);
    assert_eq!(claim_one(&store, owner, "calc").await.id, ids[2]);
}

async fn each_object_has_its_own_queue(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    for object in ["a", "a", "a", "b", "c", "c"] {
        submit(&store, call(object)).await;
    }
    assert_eq!(store.queued_objects().await.unwrap(), ["a", "b", "c"]);
    let objects = [("a", 2), ("c", 9), ("nobody", 5)];
    let objects = objects
        .map(|(name, limit)| (name.to_owned(), limit))
        .to_vec();
    let claim = wanted(owner, objects);
    let claimed = all_tasks(store.claim(claim).await.unwrap().unwrap());
    let mut claimed: Vec<&str> = claimed.iter().map(|task| &*task.object).collect();
    claimed.sort_unstable();
    assert_eq!(claimed, ["a", "a", "c", "c"]);
    assert_eq!(store.queued_objects().await.unwrap(), ["a", "b"]);
}

async fn a_pinned_task_goes_to_its_worker_alone(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let pinned = |worker: &str, priority| NewStoredTask {
        worker: Some(worker.to_owned()),
        priority,
        ..call("calc")
    };
    // The worker of the first tasks is absent, and they block no other task.
    let mut absent = Vec::new();
    for _ in 0..3 {
        absent.push(submit(&store, pinned("absent", 9)).await);
    }
    let for_any = submit(&store, call("calc")).await;
    let for_w1 = submit(&store, pinned("w1", 0)).await;
    let named = |worker: &str| Some(worker.to_owned());
    let calc = |worker| ("calc".to_owned(), worker);
    let queued = [calc(None), calc(named("absent")), calc(named("w1"))];
    assert_eq!(store.queued().await.unwrap(), queued);
    let mut claim = wanted(owner, vec![("calc".to_owned(), 10)]);
    claim.queues.push(pinned_lane("calc", "w1", 10));
    let claimed = all_tasks(store.claim(claim).await.unwrap().unwrap());
    let claimed: Vec<_> = claimed
        .into_iter()
        .map(|task| (task.id, task.worker))
        .collect();
    assert_eq!(claimed, [(for_any, None), (for_w1, named("w1"))]);
    assert_eq!(show(&store, absent[0]).await.worker, named("absent"));
}

async fn a_delayed_task_is_due_in_time(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let delay = Duration::from_secs(10);
    submit(
        &store,
        NewStoredTask {
            delay,
            ..call("calc")
        },
    )
    .await;
    let swept = store.sweep().await.unwrap();
    assert_eq!((swept.due, swept.next), (0, Some(10_000)));
    assert_eq!(claim(&store, owner, "calc", 1).await, []);
    place.advance(10_000);
    let swept = store.sweep().await.unwrap();
    assert_eq!((swept.due, swept.more), (1, false));
    claim_one(&store, owner, "calc").await;
}

async fn a_deadline_ends_what_has_not_begun(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let deadline = Some(Duration::from_secs(1));
    let id = submit(
        &store,
        NewStoredTask {
            deadline,
            ..call("calc")
        },
    )
    .await;
    assert_eq!(store.sweep().await.unwrap().next, Some(1000));
    place.advance(1000);
    // Not even before the sweep.
    assert_eq!(claim(&store, owner, "calc", 1).await, []);
    assert_eq!(store.sweep().await.unwrap().expired, 1);
    let task = show(&store, id).await;
    assert_eq!(task.state, StoredTaskState::Failed);
    assert!(task.error.unwrap().contains("deadline"));
    assert_eq!(task.attempts, []);
}
