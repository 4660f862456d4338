//! Exclusive names.

use crate::harness::{LONG, Place, dispatcher, on_all, on_both};
use pyroxene_store::{Fence, NameChangeOutcome, NameClaim, NameClaimOutcome, StaticName, Store};
use std::time::Duration;

on_all! {
    a_name_has_one_holder_and_any_number_who_stand_up_for_it
    fences_grow_from_holder_to_holder
    a_name_server_without_a_lease_gets_nothing
    who_comes_back_in_time_has_lost_nothing
    a_static_name_and_a_worker_keep_each_other_out
    what_is_forgotten_makes_no_fence_go_back
    names_of_a_name_server_are_found
}

mod together {
    use super::*;
    on_both! {
        of_many_name_servers_at_once_one_gives_the_name
        a_lease_that_was_taken_over_cannot_be_renewed
    }
    use super::{
        a_lease_that_was_taken_over_cannot_be_renewed,
        of_many_name_servers_at_once_one_gives_the_name,
    };
}

const TTL: Duration = Duration::from_secs(3);

fn claim(nameserver: Fence, holder: &str) -> NameClaim {
    NameClaim {
        name: "lead".to_owned(),
        holder: holder.to_owned(),
        nameserver,
    }
}

async fn ask(store: &Store, claim: NameClaim) -> NameClaimOutcome {
    store.claim_names(vec![claim]).await.unwrap().remove(0)
}

/// Claims the name, and returns its fence.
async fn held(store: &Store, nameserver: Fence, holder: &str) -> Fence {
    match ask(store, claim(nameserver, holder)).await {
        NameClaimOutcome::Granted { fence } => fence,
        other => panic!("{other:?}"),
    }
}

fn taken(holder: &str) -> NameClaimOutcome {
    let holder = holder.to_owned();
    NameClaimOutcome::Taken { holder }
}

async fn leave(store: &Store, nameserver: Fence) {
    let names = vec!["lead".to_owned()];
    store.release_names(nameserver, names).await.unwrap();
}

async fn a_name_has_one_holder_and_any_number_who_stand_up_for_it(place: Place) {
    let store = place.open().await;
    let one = dispatcher(&store, LONG).await;
    let other = dispatcher(&store, LONG).await;
    let fence = held(&store, one, "a").await;
    assert_eq!(held(&store, one, "a").await, fence);
    assert_eq!(ask(&store, claim(other, "b")).await, taken("a"));
    assert_eq!(held(&store, other, "a").await, fence);
    leave(&store, one).await;
    assert_eq!(ask(&store, claim(one, "b")).await, taken("a"));
    leave(&store, other).await;
    assert!(held(&store, one, "b").await > fence);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn fences_grow_from_holder_to_holder(place: Place) {
    let store = place.open().await;
    let mut last = 0;
    for holder in ["a", "b", "a", "a"] {
        let nameserver = dispatcher(&store, TTL).await;
        let fence = held(&store, nameserver, holder).await;
        assert!(fence > last, "{fence} after {last}");
        last = fence;
        leave(&store, nameserver).await;
        place.advance(10);
    }
    // Fences are at least the clock's time, so that they also grow in a new store.
    let micros = store.now().await.unwrap() * 1000;
    assert!(last > micros - 1_000_000, "{last} at {micros}");
    place.set_clock(-1_000_000);
    let nameserver = dispatcher(&store, TTL).await;
    assert_eq!(held(&store, nameserver, "b").await, last + 1);
}

async fn a_name_server_without_a_lease_gets_nothing(place: Place) {
    let store = place.open().await;
    let nameserver = dispatcher(&store, TTL).await;
    place.advance_watched(&store, 3500).await;
    let lost = ask(&store, claim(nameserver, "a")).await;
    assert_eq!(lost, NameClaimOutcome::LeaseLost);
    assert_eq!(ask(&store, claim(999, "a")).await, lost);
}

async fn who_comes_back_in_time_has_lost_nothing(place: Place) {
    let store = place.open().await;
    let one = dispatcher(&store, TTL).await;
    let fence = held(&store, one, "a").await;
    let other = dispatcher(&store, LONG).await;
    place.advance_watched(&store, 2500).await;
    assert_eq!(ask(&store, claim(other, "b")).await, taken("a"));
    assert!(store.renew(one).await.unwrap());
    place.advance_watched(&store, 2500).await;
    assert_eq!(ask(&store, claim(other, "b")).await, taken("a"));
    assert_eq!(held(&store, one, "a").await, fence);
    // A name server that was restarted claims the name for the same holder.
    assert_eq!(held(&store, other, "a").await, fence);
    place.advance_watched(&store, 3500).await;
    assert_eq!(held(&store, other, "a").await, fence);
}

async fn a_lease_that_was_taken_over_cannot_be_renewed(place: Place) {
    let (store, elsewhere) = (place.open().await, place.open().await);
    let one = dispatcher(&store, TTL).await;
    let fence = held(&store, one, "a").await;
    let other = dispatcher(&elsewhere, LONG).await;
    // However the clock is set in the meantime.
    place.set_clock(-3_600_000);
    place.advance_watched(&elsewhere, 3500).await;
    assert!(held(&elsewhere, other, "b").await > fence);
    assert!(!store.renew(one).await.unwrap());
    let again = dispatcher(&store, TTL).await;
    assert_eq!(ask(&store, claim(again, "a")).await, taken("b"));
}

async fn of_many_name_servers_at_once_one_gives_the_name(place: Place) {
    let stores = [place.open().await, place.open().await, place.open().await];
    let asking = (0..30).map(|number| {
        let store = stores[number % 3].clone();
        tokio::spawn(async move {
            let nameserver = dispatcher(&store, LONG).await;
            let holder = format!("w{}", number % 5);
            (
                holder.clone(),
                ask(&store, claim(nameserver, &holder)).await,
            )
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut holders = std::collections::BTreeSet::new();
    for asked in asking {
        let (holder, answer) = asked.await.unwrap();
        if let NameClaimOutcome::Granted { fence } = answer {
            holders.insert((holder, fence));
        }
    }
    assert_eq!(holders.len(), 1, "{holders:?}");
}

async fn a_static_name_and_a_worker_keep_each_other_out(place: Place) {
    let store = place.open().await;
    let nameserver = dispatcher(&store, LONG).await;
    let name = |exclusive| StaticName {
        name: "lead".to_owned(),
        uri: "h:1".to_owned(),
        tags: Vec::new(),
        exclusive,
    };
    held(&store, nameserver, "a").await;
    for exclusive in [true, false] {
        let refused = store.register_name(name(exclusive)).await.unwrap();
        assert_eq!(refused, NameChangeOutcome::Taken("a".to_owned()));
    }
    leave(&store, nameserver).await;
    let registered = store.register_name(name(true)).await.unwrap();
    assert!(matches!(registered, NameChangeOutcome::Changed(_)));
    let refused = ask(&store, claim(nameserver, "a")).await;
    assert!(
        matches!(refused, NameClaimOutcome::Taken { .. }),
        "{refused:?}"
    );
    store.remove_name("lead").await.unwrap();
    held(&store, nameserver, "a").await;
}

async fn what_is_forgotten_makes_no_fence_go_back(place: Place) {
    let store = place.open().await;
    let nameserver = dispatcher(&store, TTL).await;
    let fence = held(&store, nameserver, "a").await;
    let given_back = dispatcher(&store, TTL).await;
    store.release(given_back).await.unwrap();
    place.advance_watched(&store, 3500).await;
    assert_eq!(store.names_claimed_by(nameserver).await.unwrap(), [""; 0]);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
    let again = dispatcher(&store, TTL).await;
    assert!(again > given_back);
    assert!(held(&store, again, "b").await > fence);
}

async fn names_of_a_name_server_are_found(place: Place) {
    let store = place.open().await;
    let one = dispatcher(&store, LONG).await;
    let other = dispatcher(&store, LONG).await;
    held(&store, one, "a").await;
    assert_eq!(store.names_claimed_by(one).await.unwrap(), ["lead"]);
    assert_eq!(store.names_claimed_by(other).await.unwrap(), [""; 0]);
}
