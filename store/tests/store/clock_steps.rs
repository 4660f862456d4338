//! A clock that is set: the waiting times of tasks and the retention do not follow it.

use crate::harness::{
    LONG, Place, START, call, claim, claim_one, dispatcher, entry, finish, on_both, running, show,
    submit, succeeded,
};
use pyroxene_store::{NewStoredTask, Store, StoredRetention, StoredTaskId, StoredTaskState};
use std::time::Duration;

on_both! {
    delays_and_deadlines_are_as_long_as_they_were_meant
    a_step_is_recorded_once_however_many_see_it
    what_was_submitted_after_a_step_is_not_moved
    nothing_is_old_because_the_clock_was_set
    what_is_old_is_forgotten_although_the_clock_was_set_before
    deadlines_of_running_tasks_are_moved_too
}

const HOUR: i64 = 3_600_000;
const SECOND: Duration = Duration::from_secs(1);

/// A task that is due in ten seconds, and must be done within twenty.
async fn delayed(store: &Store) -> StoredTaskId {
    let task = NewStoredTask {
        delay: 10 * SECOND,
        deadline: Some(20 * SECOND),
        ..call("calc")
    };
    submit(store, task).await
}

async fn delays_and_deadlines_are_as_long_as_they_were_meant(place: Place) {
    let store = place.open().await;
    for step in [2000, 30_000, HOUR, -2000, -HOUR] {
        let id = delayed(&store).await;
        place.set_clock(step);
        let swept = store.sweep().await.unwrap();
        assert_eq!(
            (swept.due, swept.expired, swept.next),
            (0, 0, Some(9_999)),
            "{step}"
        );
        place.advance(9_998);
        assert_eq!(store.sweep().await.unwrap().due, 0, "{step}");
        place.advance(1);
        assert_eq!(store.sweep().await.unwrap().due, 1, "{step}");
        place.set_clock(step);
        assert_eq!(store.sweep().await.unwrap().next, Some(9_999), "{step}");
        place.advance(9_999);
        assert_eq!(store.sweep().await.unwrap().expired, 1, "{step}");
        assert_eq!(show(&store, id).await.state, StoredTaskState::Failed);
    }
}

async fn a_step_is_recorded_once_however_many_see_it(place: Place) {
    let stores = [place.open().await, place.open().await, place.open().await];
    for store in &stores {
        store.sweep().await.unwrap();
    }
    for step in [HOUR, -HOUR, 30_000, -2000] {
        delayed(&stores[0]).await;
        place.set_clock(step);
        for store in &stores {
            place.advance(100);
            store.sweep().await.unwrap();
        }
        let swept = stores[0].sweep().await.unwrap();
        assert_eq!(swept.next, Some(10_000 - 301), "{step}");
        place.advance(10_000);
        stores[0].sweep().await.unwrap();
        place.advance(20_000);
        assert_eq!(stores[0].sweep().await.unwrap().expired, 1);
        for store in &stores {
            store.sweep().await.unwrap();
        }
    }
}

async fn what_was_submitted_after_a_step_is_not_moved(place: Place) {
    let stores = [place.open().await, place.open().await];
    for store in &stores {
        store.sweep().await.unwrap();
    }
    place.set_clock(HOUR);
    delayed(&stores[0]).await;
    assert_eq!(stores[1].sweep().await.unwrap().next, Some(10_000));
}

async fn nothing_is_old_because_the_clock_was_set(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    submit(&store, call("calc")).await;
    let claimed = claim_one(&store, owner, "calc").await;
    finish(&store, running(&claimed, owner), succeeded(b"1")).await;
    store.append(vec![entry("a", "1")]).await.unwrap();
    let hour = Duration::from_secs(3600);
    let kept = StoredRetention {
        age: Some(HOUR),
        bytes: None,
    };
    let forgotten = async || {
        let tasks = store.purge(hour).await.unwrap();
        (tasks, store.trim("a", kept).await.unwrap())
    };
    // Ahead by a month, and corrected again.
    for step in [720 * HOUR, -720 * HOUR, HOUR, HOUR] {
        place.set_clock(step);
        assert_eq!(forgotten().await, (0, 0), "{step}");
        place.advance(600_000);
        assert_eq!(forgotten().await, (0, 0), "{step}");
    }
    place.advance(1_200_001);
    assert_eq!(forgotten().await, (1, 1));
}

async fn what_is_old_is_forgotten_although_the_clock_was_set_before(place: Place) {
    let store = place.open().await;
    store.sweep().await.unwrap();
    place.set_clock(720 * HOUR);
    store.append(vec![entry("a", "1")]).await.unwrap();
    place.advance(3_600_001);
    let kept = StoredRetention {
        age: Some(HOUR),
        bytes: None,
    };
    assert_eq!(store.trim("a", kept).await.unwrap(), 1);
    assert!(store.now().await.unwrap() > START + 720 * HOUR);
}

async fn deadlines_of_running_tasks_are_moved_too(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let task = NewStoredTask {
        deadline: Some(20 * SECOND),
        ..call("calc")
    };
    let id = submit(&store, task).await;
    let claimed = claim_one(&store, owner, "calc").await;
    place.set_clock(HOUR);
    let lost = crate::harness::lost();
    finish(&store, running(&claimed, owner), lost).await;
    assert_ne!(show(&store, id).await.state, StoredTaskState::Failed);
    place.advance(5000);
    store.sweep().await.unwrap();
    let again = claim(&store, owner, "calc", 1).await;
    let left = again[0].deadline.unwrap() - again[0].started;
    assert_eq!(left, 14_999);
}
