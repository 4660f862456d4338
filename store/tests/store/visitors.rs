//! Who was here, what name servers keep beyond their lives, and which workers get no new calls.

use crate::harness::{Place, on_all};
use pyroxene_store::{NewSnapshot, StoreError, StoredVisitor, StoredVisitorKind};

mod alone {
    use super::*;
    on_all! {
        a_visitor_keeps_its_first_time_and_the_latest_of_the_others
        the_visitors_seen_last_are_kept
        a_snapshot_is_replaced_once_it_is_old_enough
        a_drain_is_remembered_once
    }
    use super::{
        a_drain_is_remembered_once, a_snapshot_is_replaced_once_it_is_old_enough,
        a_visitor_keeps_its_first_time_and_the_latest_of_the_others,
        the_visitors_seen_last_are_kept,
    };
}

fn visitor(name: &str, place: &str, first_seen: i64, last_seen: i64) -> StoredVisitor {
    StoredVisitor {
        kind: StoredVisitorKind::Person,
        name: name.to_owned(),
        place: place.to_owned(),
        first_seen,
        last_seen,
    }
}

async fn a_visitor_keeps_its_first_time_and_the_latest_of_the_others(place: Place) {
    let store = place.open().await;
    assert_eq!(store.visitors().await.unwrap(), []);
    let worker = StoredVisitor {
        kind: StoredVisitorKind::Worker,
        ..visitor("ana", "w:1", 5, 5)
    };
    let twice = vec![
        visitor("ana", "h1", 10, 20),
        visitor("ana", "h2", 10, 30),
        worker.clone(),
    ];
    store.see_visitors(twice).await.unwrap();
    store
        .see_visitors(vec![visitor("ana", "h3", 40, 50)])
        .await
        .unwrap();
    store
        .see_visitors(vec![visitor("bob", "h1", 60, 60)])
        .await
        .unwrap();
    let expected = [
        visitor("bob", "h1", 60, 60),
        visitor("ana", "h3", 10, 50),
        worker,
    ];
    assert_eq!(store.visitors().await.unwrap(), expected);
    // Another name server saw it earlier, and writes later.
    store
        .see_visitors(vec![visitor("ana", "h4", 1, 45)])
        .await
        .unwrap();
    let [bob, _, worker] = expected;
    let expected = [bob, visitor("ana", "h3", 1, 50), worker];
    assert_eq!(store.visitors().await.unwrap(), expected);
}

async fn the_visitors_seen_last_are_kept(place: Place) {
    let store = place.open().await;
    let worker = StoredVisitor {
        kind: StoredVisitorKind::Worker,
        ..visitor("w1", "w:1", 5, 5)
    };
    let visitors = (0..1_100).map(|at| visitor(&format!("v{at}"), "", at, at));
    let visitors = visitors.chain([worker.clone()]);
    store.see_visitors(visitors.collect()).await.unwrap();
    let mut kept = store.visitors().await.unwrap();
    // Many people make nobody forget a worker.
    assert_eq!(kept.pop(), Some(worker));
    assert_eq!(kept.len(), 1_000);
    assert_eq!((kept[0].last_seen, kept[999].last_seen), (1_099, 100));
}

async fn a_snapshot_is_replaced_once_it_is_old_enough(place: Place) {
    let store = place.open().await;
    let snapshot = |content: &[u8], min_age| NewSnapshot {
        name: "figures".to_owned(),
        content: content.to_owned(),
        min_age,
    };
    assert_eq!(store.snapshot("figures").await.unwrap(), None);
    assert!(store.save_snapshot(snapshot(b"a", 60_000)).await.unwrap());
    assert!(!store.save_snapshot(snapshot(b"b", 60_000)).await.unwrap());
    let kept = store.snapshot("figures").await.unwrap();
    assert_eq!(kept.as_deref(), Some(&b"a"[..]));
    assert!(store.save_snapshot(snapshot(b"c", 0)).await.unwrap());
    let kept = store.snapshot("figures").await.unwrap();
    assert_eq!(kept.as_deref(), Some(&b"c"[..]));
    let large = snapshot(&vec![0; (16 << 20) + 1], 0);
    let refused = store.save_snapshot(large).await;
    assert!(
        matches!(refused, Err(StoreError::Invalid(_))),
        "{refused:?}"
    );
}

async fn a_drain_is_remembered_once(place: Place) {
    let store = place.open().await;
    assert_eq!(store.drained_workers().await.unwrap(), [""; 0]);
    for worker in ["w1 0a", "w1 0b", "w1 0a"] {
        store.drain_worker(worker).await.unwrap();
    }
    let mut drained = store.drained_workers().await.unwrap();
    drained.sort();
    assert_eq!(drained, ["w1 0a", "w1 0b"]);
}
