//! Waiting for changes of this and of other name servers.

use crate::harness::{
    LONG, PATIENCE, Place, call, claim_one, dispatcher, entry, eventually, finish, on_all, on_both,
    running, submit, succeeded,
};
use pyroxene_store::{Hint, StoreOptions, StoredTaskState};
use std::time::Duration;

mod alone {
    use super::*;
    on_all! {
        who_waits_for_a_task_gets_its_result
        what_has_ended_is_not_waited_for
        a_closed_store_says_so
    }
    use super::{
        a_closed_store_says_so, what_has_ended_is_not_waited_for,
        who_waits_for_a_task_gets_its_result,
    };
}

mod together {
    use super::*;
    on_both! {
        the_end_of_a_task_is_heard_at_another_name_server
        without_listening_everything_is_found_by_looking
    }
    use super::{
        the_end_of_a_task_is_heard_at_another_name_server,
        without_listening_everything_is_found_by_looking,
    };
}

async fn who_waits_for_a_task_gets_its_result(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let id = submit(&store, call("calc")).await;
    let waiting = (0..3).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.wait(id, PATIENCE).await })
    });
    let waiting: Vec<_> = waiting.collect();
    assert_eq!(store.wait(id, Duration::from_millis(1)).await, None);
    let claimed = claim_one(&store, owner, "calc").await;
    finish(&store, running(&claimed, owner), succeeded(b"3")).await;
    for waiting in waiting {
        let settlement = waiting.await.unwrap().unwrap();
        assert_eq!(
            (settlement.id, settlement.state),
            (id, StoredTaskState::Succeeded)
        );
        assert_eq!(settlement.result.unwrap(), b"3");
    }
}

async fn what_has_ended_is_not_waited_for(place: Place) {
    let store = place.open().await;
    let id = submit(&store, call("calc")).await;
    store.cancel(vec![id]).await.unwrap();
    let settlement = store.wait(id, PATIENCE).await.unwrap();
    assert_eq!(settlement.state, StoredTaskState::Cancelled);
}

async fn a_closed_store_says_so(place: Place) {
    let store = place.open().await;
    let submitting = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.submit(vec![call("calc")]).await })
    });
    let submitting: Vec<_> = submitting.collect();
    store.close().await.unwrap();
    for one in submitting {
        // Written or refused: not left without an answer.
        let _ = one.await.unwrap();
    }
    let error = store.submit(vec![call("calc")]).await.unwrap_err();
    assert_eq!(error.to_string(), "the store is closed");
}

async fn the_end_of_a_task_is_heard_at_another_name_server(place: Place) {
    let (here, there) = (place.open().await, place.open().await);
    let mut hints = there.hints();
    let owner = dispatcher(&here, LONG).await;
    let id = submit(&here, call("calc")).await;
    loop {
        match hints.next().await.unwrap() {
            Hint::Queued(objects) if objects.contains(&"calc".to_owned()) => break,
            Hint::Anything if there.queued_objects().await.unwrap() == ["calc"] => break,
            _ => {}
        }
    }
    let waiting = tokio::spawn({
        let there = there.clone();
        async move { there.wait(id, PATIENCE).await }
    });
    let following = tokio::spawn({
        let there = there.clone();
        async move { there.follow("a", 0, 10, 1000, PATIENCE).await }
    });
    let claimed = claim_one(&here, owner, "calc").await;
    finish(&here, running(&claimed, owner), succeeded(b"3")).await;
    here.append(vec![entry("a", "1")]).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().result.unwrap(), b"3");
    assert_eq!(following.await.unwrap().unwrap().unwrap().head, 1);
}

async fn without_listening_everything_is_found_by_looking(place: Place) {
    let deaf = || StoreOptions {
        listen: false,
        ..place.options()
    };
    let (here, there) = (place.open_with(deaf()).await, place.open_with(deaf()).await);
    let owner = dispatcher(&here, LONG).await;
    let id = submit(&here, call("calc")).await;
    let waiting = tokio::spawn({
        let there = there.clone();
        async move { there.wait(id, PATIENCE).await }
    });
    let following = tokio::spawn({
        let there = there.clone();
        async move { there.follow("a", 0, 10, 1000, PATIENCE).await }
    });
    let ask = || async { there.queued_objects().await.unwrap() };
    eventually(ask, |objects| !objects.is_empty()).await;
    let claimed = claim_one(&here, owner, "calc").await;
    finish(&here, running(&claimed, owner), succeeded(b"3")).await;
    here.append(vec![entry("a", "1")]).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().result.unwrap(), b"3");
    assert_eq!(following.await.unwrap().unwrap().unwrap().head, 1);
}
