//! Leases.

use crate::harness::{
    LONG, Place, START, call, claim_one, dispatcher, on_all, on_both, show, submit,
};
use pyroxene_store::{StoreClock, StoreOptions, StoredTaskState};
use std::time::Duration;

on_all! {
    a_lease_lasts_for_as_long_as_it_is_renewed
    a_lease_that_nobody_renews_is_over
    fences_grow_from_lease_to_lease
    a_lease_that_is_given_back_is_over
    the_databases_own_clock_tells_the_time
}

mod together {
    use super::*;
    on_both! {
        leases_do_not_follow_the_clock
        what_one_name_server_ends_is_over_for_all
    }
    use super::{leases_do_not_follow_the_clock, what_one_name_server_ends_is_over_for_all};
}

const SECOND: Duration = Duration::from_secs(1);

async fn a_lease_lasts_for_as_long_as_it_is_renewed(place: Place) {
    let store = place.open().await;
    let fence = dispatcher(&store, SECOND).await;
    for _ in 0..20 {
        place.advance_watched(&store, 500).await;
        assert!(store.renew(fence).await.unwrap());
    }
}

async fn a_lease_that_nobody_renews_is_over(place: Place) {
    let store = place.open().await;
    let fence = dispatcher(&store, SECOND).await;
    // A new observer waits a little longer.
    place.advance_watched(&store, 1500).await;
    assert!(!store.renew(fence).await.unwrap());
    assert!(dispatcher(&store, SECOND).await > fence);
    assert!(!store.renew(fence).await.unwrap());
}

async fn fences_grow_from_lease_to_lease(place: Place) {
    let store = place.open().await;
    let mut last = 0;
    for _ in 0..3 {
        let fence = dispatcher(&store, SECOND).await;
        assert!(fence > last);
        last = fence;
    }
    place.advance_watched(&store, 1500).await;
    assert!(dispatcher(&store, SECOND).await > last);
}

async fn a_lease_that_is_given_back_is_over(place: Place) {
    let store = place.open().await;
    let fence = dispatcher(&store, LONG).await;
    store.release(fence).await.unwrap();
    assert!(!store.renew(fence).await.unwrap());
    assert!(dispatcher(&store, LONG).await > fence);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn leases_do_not_follow_the_clock(place: Place) {
    let (owner, other) = (place.open().await, place.open().await);
    let fence = dispatcher(&owner, SECOND).await;
    let id = submit(&owner, call("calc")).await;
    claim_one(&owner, fence, "calc").await;
    place.advance_watched(&other, 1000).await;
    for step in [2000, 30_000, -3_600_000, 3_600_000, 86_400_000_000] {
        assert!(owner.renew(fence).await.unwrap());
        place.set_clock(step);
        assert_eq!(place.advance_watched(&other, 500).await, 0, "{step}");
        assert!(owner.renew(fence).await.unwrap(), "{step}");
        assert_eq!(
            show(&other, id).await.state,
            StoredTaskState::Running,
            "{step}"
        );
    }
    // A dead owner is noticed at the same pace, whatever the clock does.
    place.set_clock(-3_600_000);
    assert_eq!(place.advance_watched(&other, 500).await, 0);
    place.set_clock(-3_600_000);
    assert_eq!(place.advance_watched(&other, 1000).await, 1);
}

async fn what_one_name_server_ends_is_over_for_all(place: Place) {
    let stores = [place.open().await, place.open().await];
    let fence = dispatcher(&stores[0], SECOND).await;
    place.advance_watched(&stores[1], 1500).await;
    assert!(!stores[0].renew(fence).await.unwrap());
}

async fn the_databases_own_clock_tells_the_time(place: Place) {
    let clock = StoreClock::Database;
    let store = place
        .open_with(StoreOptions {
            clock,
            ..place.options()
        })
        .await;
    assert!(store.now().await.unwrap() > START);
    let id = submit(&store, call("calc")).await;
    assert!(show(&store, id).await.submitted > START);
}
