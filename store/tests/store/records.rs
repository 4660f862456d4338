//! Static names, revocations and logouts.

use crate::harness::{Place, START, on_all, on_both};
use pyroxene_store::{
    LOGOUT_LIFE, MAX_LOGOUTS, StaticName, Store, StoreUrl, StoredLogout, StoredRevocation,
};
use std::collections::BTreeMap;

mod alone {
    use super::*;
    on_all! {
        changes_of_names_are_followed_by_revision
        removals_are_known_for_long_and_then_everything_is_listed
        revocations_last_until_they_end
        logouts_last_until_they_end_and_those_of_the_latest_logins_are_kept
    }
    use super::{
        changes_of_names_are_followed_by_revision,
        logouts_last_until_they_end_and_those_of_the_latest_logins_are_kept,
        removals_are_known_for_long_and_then_everything_is_listed, revocations_last_until_they_end,
    };
}

mod together {
    use super::*;
    on_both! { a_reader_misses_no_name_that_many_change }
    use super::a_reader_misses_no_name_that_many_change;
}

fn name(name: &str, uri: &str) -> StaticName {
    StaticName {
        name: name.to_owned(),
        uri: uri.to_owned(),
        tags: vec!["x".to_owned()],
        exclusive: false,
    }
}

async fn changes_of_names_are_followed_by_revision(place: Place) {
    let store = place.open().await;
    let nothing = store.names_after(0).await.unwrap();
    assert_eq!((nothing.revision, nothing.put.len()), (0, 0));
    let first = store.put_name(name("a", "h:1")).await.unwrap().unwrap();
    assert_eq!(store.put_name(name("a", "h:1")).await.unwrap(), None);
    store.put_name(name("b", "h:1")).await.unwrap();
    let all = store.names_after(0).await.unwrap();
    assert!(all.reset);
    assert_eq!(all.put, [name("a", "h:1"), name("b", "h:1")]);
    store.put_name(name("a", "h:2")).await.unwrap();
    let later = store.remove_name("b").await.unwrap().unwrap();
    assert!(later > first);
    assert_eq!(store.remove_name("b").await.unwrap(), None);
    assert_eq!(store.remove_name("never").await.unwrap(), None);
    let changes = store.names_after(all.revision).await.unwrap();
    assert!(!changes.reset);
    assert_eq!(changes.put, [name("a", "h:2")]);
    assert_eq!(
        (changes.removed, changes.revision),
        (vec!["b".to_owned()], later)
    );
    let changes = store.names_after(later).await.unwrap();
    assert_eq!(
        (changes.put.len(), changes.removed.len(), changes.revision),
        (0, 0, later)
    );
}

async fn removals_are_known_for_long_and_then_everything_is_listed(place: Place) {
    let store = place.open().await;
    let seen = store.put_name(name("gone", "h:1")).await.unwrap().unwrap();
    store.remove_name("gone").await.unwrap();
    let changing = (0..1_100).map(|number| {
        let store = store.clone();
        let name = name("a", &format!("h:{number}"));
        tokio::spawn(async move { store.put_name(name).await.unwrap() })
    });
    for change in changing.collect::<Vec<_>>() {
        change.await.unwrap();
    }
    let changes = store.names_after(seen).await.unwrap();
    assert!(changes.reset, "{changes:?}");
    assert_eq!((changes.put.len(), changes.removed.len()), (1, 0));
}

async fn follow(store: &Store, known: &mut BTreeMap<String, StaticName>, revision: &mut i64) {
    let changes = store.names_after(*revision).await.unwrap();
    if changes.reset {
        known.clear();
    }
    for name in changes.removed {
        known.remove(&name);
    }
    known.extend(
        changes
            .put
            .into_iter()
            .map(|name| (name.name.clone(), name)),
    );
    *revision = changes.revision;
}

async fn a_reader_misses_no_name_that_many_change(place: Place) {
    let stores = [place.open().await, place.open().await];
    let writers = (0..6).map(|writer| {
        let store = stores[writer % 2].clone();
        tokio::spawn(async move {
            for number in 0..40 {
                let key = format!("n{}", (writer + number) % 10);
                if number % 5 == 4 {
                    store.remove_name(&key).await.unwrap();
                } else {
                    let uri = format!("h:{writer}{number}");
                    store.put_name(name(&key, &uri)).await.unwrap();
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let reader = place.open().await;
    let (mut known, mut revision) = (BTreeMap::new(), 0);
    while !writers.iter().all(|writer| writer.is_finished()) {
        follow(&reader, &mut known, &mut revision).await;
    }
    follow(&reader, &mut known, &mut revision).await;
    let (mut fresh, mut from) = (BTreeMap::new(), 0);
    follow(&stores[0], &mut fresh, &mut from).await;
    assert_eq!((known, revision), (fresh, from));
}

async fn revocations_last_until_they_end(place: Place) {
    let store = place.open().await;
    let revoke = |name: &str, until| StoredRevocation {
        issued: until - 500,
        name: name.to_owned(),
        until,
    };
    let (ann, bob) = (revoke("ann", START + 1000), revoke("bob", START + 5000));
    store.revoke(vec![ann.clone(), bob.clone()]).await.unwrap();
    assert_eq!(store.revocations().await.unwrap(), [ann, bob.clone()]);
    store.revoke(vec![revoke("bob", START + 10)]).await.unwrap();
    place.advance(2000);
    assert_eq!(store.revocations().await.unwrap(), [bob]);
}

async fn logouts_last_until_they_end_and_those_of_the_latest_logins_are_kept(place: Place) {
    let store = place.open().await;
    let logout = |name: &str, issued| StoredLogout {
        name: name.to_owned(),
        issued,
    };
    // By a clock that is far behind the store's.
    let bob = logout("bob", START - 2 * LOGOUT_LIFE);
    // The same one twice is one.
    let twice = vec![bob.clone(), logout("ann", START), bob.clone()];
    store.log_out(twice).await.unwrap();
    let both = [logout("ann", START), bob.clone()];
    assert_eq!(store.logouts().await.unwrap(), both);
    place.advance(LOGOUT_LIFE.unsigned_abs() - 1000);
    assert_eq!(store.logouts().await.unwrap(), both);
    place.advance(1200);
    assert_eq!(store.logouts().await.unwrap(), []);
    store.log_out(vec![bob.clone()]).await.unwrap();
    let most = i64::try_from(MAX_LOGOUTS).unwrap();
    let many = (0..most + 3).map(|at| logout("ann", START + 1000 + at));
    store.log_out(many.collect()).await.unwrap();
    let mut kept = store.logouts().await.unwrap();
    assert_eq!(kept.pop(), Some(bob));
    let latest = (3..most + 3).map(|at| logout("ann", START + 1000 + at));
    assert_eq!(kept, latest.collect::<Vec<_>>());
    // A store has one id, which no other store has.
    let other = Store::open(&StoreUrl::Memory, place.options())
        .await
        .unwrap();
    let id = store.id().await.unwrap();
    // Each store in memory is another one.
    if place.url != StoreUrl::Memory {
        assert_eq!(place.open().await.id().await.unwrap(), id);
    }
    assert_ne!(other.id().await.unwrap(), id);
}
