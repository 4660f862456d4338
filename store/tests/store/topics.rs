//! Topics.

use crate::harness::{LONG, PATIENCE, Place, START, entry, on_all, on_both};
use pyroxene_store::{NewStoredEntry, Store, StoredEntries, StoredRetention};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

mod alone {
    use super::*;
    on_all! {
        entries_are_numbered_from_1
        a_page_ends_at_the_count_or_the_size
        age_and_size_limit_a_topic
        a_follower_is_told
        a_topic_is_removed
        an_entry_whose_key_is_known_is_the_one_of_that_time
    }
    use super::{
        a_follower_is_told, a_page_ends_at_the_count_or_the_size, a_topic_is_removed,
        age_and_size_limit_a_topic, an_entry_whose_key_is_known_is_the_one_of_that_time,
        entries_are_numbered_from_1,
    };
}

mod together {
    use super::*;
    on_both! {
        a_reader_misses_nothing_that_many_append
        of_those_who_append_under_the_same_key_at_once_one_does
    }
    use super::{
        a_reader_misses_nothing_that_many_append,
        of_those_who_append_under_the_same_key_at_once_one_does,
    };
}

const MUCH: usize = 1 << 30;

async fn read(store: &Store, topic: &str, after: i64) -> StoredEntries {
    store.read(topic, after, 1000, MUCH).await.unwrap().unwrap()
}

async fn entries_are_numbered_from_1(place: Place) {
    let store = place.open().await;
    let entries = vec![entry("a", "1"), entry("b", "2"), entry("a", "3")];
    assert_eq!(store.append(entries).await.unwrap(), [1, 1, 2]);
    assert_eq!(store.append(vec![entry("a", "4")]).await.unwrap(), [3]);
    let found = read(&store, "a", 1).await;
    assert_eq!((found.first, found.head), (1, 3));
    let bodies: Vec<&[u8]> = found.entries.iter().map(|entry| &*entry.body).collect();
    assert_eq!(bodies, [b"3", b"4"]);
    assert_eq!(found.entries[0].at, START);
    assert_eq!(store.read("c", 0, 1, MUCH).await.unwrap(), None);
    let topics = store.topics("", 10).await.unwrap();
    let topics: Vec<_> = topics
        .iter()
        .map(|topic| (&*topic.name, topic.head))
        .collect();
    assert_eq!(topics, [("a", 3), ("b", 1)]);
    assert_eq!(store.topics("a", 10).await.unwrap().len(), 1);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn a_page_ends_at_the_count_or_the_size(place: Place) {
    let store = place.open().await;
    let entries = (0..5).map(|_| entry("a", "12345")).collect();
    store.append(entries).await.unwrap();
    let count = async |after, limit, bytes| {
        let found = store.read("a", after, limit, bytes).await.unwrap();
        found.unwrap().entries.len()
    };
    assert_eq!(count(0, 2, MUCH).await, 2);
    assert_eq!(count(3, 9, MUCH).await, 2);
    assert_eq!(count(0, 9, 1).await, 1);
    assert_eq!(count(0, 9, 6).await, 2);
    assert_eq!(count(5, 9, 6).await, 0);
}

async fn age_and_size_limit_a_topic(place: Place) {
    let store = place.open().await;
    for _ in 0..4 {
        store.append(vec![entry("a", "0123456789")]).await.unwrap();
        place.advance(1000);
    }
    let age = Some(2500);
    let by_age = StoredRetention { age, bytes: None };
    assert_eq!(
        store.trim("a", StoredRetention::default()).await.unwrap(),
        0
    );
    assert_eq!(store.trim("a", by_age).await.unwrap(), 2);
    let found = read(&store, "a", 0).await;
    assert_eq!((found.first, found.head, found.entries.len()), (3, 4, 2));
    let own = StoredRetention {
        age: None,
        bytes: Some(10),
    };
    store.configure_topic("a", own).await.unwrap();
    let topic = store.topics("", 1).await.unwrap().remove(0);
    assert_eq!((topic.retention, topic.bytes), (own, 20));
    assert_eq!(
        store.trim("a", StoredRetention::default()).await.unwrap(),
        1
    );
    assert_eq!(store.append(vec![entry("a", "x")]).await.unwrap(), [5]);
    place.advance(100_000);
    assert_eq!(store.trim("a", by_age).await.unwrap(), 2);
    let found = read(&store, "a", 0).await;
    assert_eq!((found.first, found.head, found.entries.len()), (6, 5, 0));
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn a_follower_is_told(place: Place) {
    let store = place.open().await;
    let follower = tokio::spawn({
        let store = store.clone();
        async move { store.follow("a", 0, 10, MUCH, LONG).await }
    });
    store.append(vec![entry("a", "1")]).await.unwrap();
    let found = tokio::time::timeout(PATIENCE, follower).await.unwrap();
    assert_eq!(found.unwrap().unwrap().unwrap().entries[0].body, b"1");
    let nothing = store
        .follow("a", 1, 10, MUCH, Duration::from_millis(1))
        .await;
    assert_eq!(nothing.unwrap().unwrap().entries, []);
}

async fn a_topic_is_removed(place: Place) {
    let store = place.open().await;
    store
        .append(vec![entry("a", "1"), entry("b", "1")])
        .await
        .unwrap();
    assert!(store.remove_topic("a").await.unwrap());
    assert!(!store.remove_topic("a").await.unwrap());
    assert_eq!(store.read("a", 0, 1, MUCH).await.unwrap(), None);
    assert_eq!(store.append(vec![entry("a", "2")]).await.unwrap(), [1]);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

fn keyed(topic: &str, key: &str, body: &str) -> NewStoredEntry {
    NewStoredEntry {
        key: Some(key.to_owned()),
        ..entry(topic, body)
    }
}

async fn an_entry_whose_key_is_known_is_the_one_of_that_time(place: Place) {
    const DAY: Duration = Duration::from_secs(86_400);
    let store = place.open().await;
    let twice = vec![
        keyed("a", "x", "1"),
        keyed("a", "y", "2"),
        keyed("a", "x", "3"),
        keyed("b", "x", "4"),
    ];
    assert_eq!(store.append(twice.clone()).await.unwrap(), [1, 2, 1, 1]);
    let mut again = vec![entry("a", "5")];
    again.extend(twice.clone());
    assert_eq!(store.append(again).await.unwrap(), [3, 1, 2, 1, 1]);
    let bodies = read(&store, "a", 0).await.entries;
    let bodies: Vec<&[u8]> = bodies.iter().map(|entry| &*entry.body).collect();
    assert_eq!(bodies, [b"1", b"2", b"5"]);

    // A key outlives its entry, but not by a whole day.
    place.advance(3_600_000);
    let age = Some(1000);
    let shortly = StoredRetention { age, bytes: None };
    assert_eq!(store.trim("a", shortly).await.unwrap(), 3);
    assert_eq!(store.append(twice.clone()).await.unwrap(), [1, 2, 1, 1]);
    assert_eq!(store.forget_keys(DAY).await.unwrap(), 0);
    place.advance(86_400_000);
    assert_eq!(store.forget_keys(DAY).await.unwrap(), 3);
    assert_eq!(store.forget_keys(DAY).await.unwrap(), 0);
    assert_eq!(store.append(twice.clone()).await.unwrap(), [4, 5, 4, 2]);

    // A topic that was removed has no keys.
    assert!(store.remove_topic("a").await.unwrap());
    assert_eq!(store.append(twice).await.unwrap(), [1, 2, 1, 2]);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn of_those_who_append_under_the_same_key_at_once_one_does(place: Place) {
    const KEYS: usize = 40;
    const STORES: usize = 4;
    let mut writers = Vec::new();
    for _ in 0..STORES {
        let store = place.open().await;
        writers.push(tokio::spawn(async move {
            let mut sequences = Vec::new();
            for number in 0..KEYS {
                let entry = keyed("a", &number.to_string(), "1");
                sequences.push(store.append(vec![entry]).await.unwrap()[0]);
            }
            sequences
        }));
    }
    let mut answers = Vec::new();
    for writer in writers {
        answers.push(writer.await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let store = place.open().await;
    assert_eq!(read(&store, "a", 0).await.entries.len(), KEYS);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

/// Readers continue from the last sequence that they saw. A lower sequence that became visible later would be
/// missed.
async fn a_reader_misses_nothing_that_many_append(place: Place) {
    const WRITERS: usize = 6;
    const EACH: usize = 60;
    let stores = [place.open().await, place.open().await];
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, done) = (place.open().await, Arc::clone(&done));
        async move {
            let mut seen = Vec::new();
            loop {
                let last = done.load(Ordering::SeqCst);
                let found = store.read("a", seen.len() as i64, 7, MUCH).await.unwrap();
                let found = found.unwrap_or_default().entries;
                if last && found.is_empty() {
                    return seen;
                }
                for entry in found {
                    assert_eq!(entry.sequence, seen.len() as i64 + 1);
                    seen.push(entry.body);
                }
            }
        }
    });
    let writers = (0..WRITERS).map(|writer| {
        let store = stores[writer % 2].clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                let body = format!("{writer}/{number}");
                let others = NewStoredEntry {
                    topic: format!("t{writer}"),
                    key: None,
                    body: vec![],
                };
                store.append(vec![entry("a", &body), others]).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let seen = reader.await.unwrap();
    assert_eq!(seen.len(), WRITERS * EACH);
    for writer in 0..WRITERS {
        let prefix = format!("{writer}/");
        let of_writer = seen
            .iter()
            .filter(|body| body.starts_with(prefix.as_bytes()));
        let expected: Vec<String> = (0..EACH)
            .map(|number| format!("{writer}/{number}"))
            .collect();
        assert!(of_writer.eq(expected.iter().map(String::as_bytes)));
    }
}
