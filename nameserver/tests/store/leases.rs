//! Leases.

use crate::harness::{LONG, Place, START, dispatcher, on_all};
use pyroxene_nameserver::store::{Clock, Lease, StoreOptions};
use std::time::Duration;

on_all! {
    a_lease_is_one_owners_until_it_ends
    fences_grow_from_owner_to_owner
    a_lease_that_ended_cannot_be_renewed
    a_lease_that_is_given_back_is_free
    of_many_who_ask_one_gets_it
    the_databases_own_clock_tells_the_time
}

const SECOND: Duration = Duration::from_secs(1);

async fn a_lease_is_one_owners_until_it_ends(place: Place) {
    let store = place.open().await;
    let fence = dispatcher(&store, "a", SECOND).await;
    let taken = store.acquire("a", "b", SECOND).await.unwrap();
    let (owner, until) = ("a".to_owned(), START + 1000);
    assert_eq!(taken, Lease::Taken { owner, until });
    place.advance(600);
    assert_eq!(
        store.renew(fence, SECOND).await.unwrap(),
        Some(START + 1600)
    );
    place.advance(600);
    let same = store.acquire("a", "a", SECOND).await.unwrap();
    assert_eq!(
        same,
        Lease::Held {
            fence,
            until: START + 2200
        }
    );
}

async fn fences_grow_from_owner_to_owner(place: Place) {
    let store = place.open().await;
    let mut last = 0;
    for owner in ["a", "b", "a"] {
        let Lease::Held { fence, .. } = store.acquire("name", owner, SECOND).await.unwrap() else {
            panic!("it has ended");
        };
        assert!(fence > last);
        last = fence;
        place.advance(1000);
    }
    assert!(dispatcher(&store, "another", SECOND).await > last);
}

async fn a_lease_that_ended_cannot_be_renewed(place: Place) {
    let store = place.open().await;
    let fence = dispatcher(&store, "a", SECOND).await;
    place.advance(1000);
    assert_eq!(store.renew(fence, SECOND).await.unwrap(), None);
    assert!(dispatcher(&store, "a", SECOND).await > fence);
    assert_eq!(store.renew(fence, SECOND).await.unwrap(), None);
}

async fn a_lease_that_is_given_back_is_free(place: Place) {
    let store = place.open().await;
    let fence = dispatcher(&store, "a", LONG).await;
    store.release(fence).await.unwrap();
    let lease = store.acquire("a", "b", LONG).await.unwrap();
    assert!(matches!(lease, Lease::Held { fence: later, .. } if later > fence));
    assert_eq!(store.forget_leases().await.unwrap(), 0);
    place.advance(2 * LONG.as_millis() as i64);
    assert_eq!(store.forget_leases().await.unwrap(), 1);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn of_many_who_ask_one_gets_it(place: Place) {
    let store = place.open().await;
    let asking = (0..20).map(|owner| {
        let store = store.clone();
        tokio::spawn(async move { store.acquire("name", &format!("o{owner}"), LONG).await })
    });
    let asking: Vec<_> = asking.collect();
    let mut held = 0;
    for asked in asking {
        let lease = asked.await.unwrap().unwrap();
        held += u32::from(matches!(lease, Lease::Held { .. }));
    }
    assert_eq!(held, 1);
}

async fn the_databases_own_clock_tells_the_time(place: Place) {
    let clock = Clock::Database;
    let store = place
        .open_with(StoreOptions {
            clock,
            ..place.options()
        })
        .await;
    let before = store.now().await.unwrap();
    assert!(before > START);
    let Lease::Held { until, .. } = store.acquire("a", "a", SECOND).await.unwrap() else {
        panic!("nobody has it");
    };
    let after = store.now().await.unwrap();
    assert!((before + 1000..=after + 1000).contains(&until));
}
