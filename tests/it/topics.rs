//! Topics: what is appended is there once and in order, whoever dies.

use crate::harness::{Broker, eventually, in_time, seconds, turn};
use futures::StreamExt;
use pyroxene_client::{Client, TopicError};
use std::{collections::HashMap, time::Duration};
use tokio::task::JoinSet;

/// Longer than it takes to find out that a name server is dead.
const PATIENCE: Duration = seconds(30);

/// A follower that has read so many entries: each with the number of its place.
async fn read(client: &Client, count: usize) -> Vec<String> {
    let mut entries = Box::pin(client.topic("news").follow(0));
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let entry = in_time(PATIENCE, "the next entry", entries.next()).await;
        let entry = entry.expect("it never ends").unwrap();
        assert_eq!(entry.sequence, bodies.len() as u64 + 1);
        bodies.push(String::from_utf8(entry.body.0.to_vec()).unwrap());
    }
    bodies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_while_name_servers_are_killed_is_there_once_and_in_order() {
    const APPENDERS: usize = 8;
    const EACH: usize = 100;
    let _turn = turn().await;
    let mut broker = Broker::start().nameservers(2).one_store().await;
    let client = broker.client().await;
    let followers: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { read(&client, APPENDERS * EACH).await })
        })
        .collect();
    let mut appenders = JoinSet::new();
    for appender in 0..APPENDERS {
        let topic = client.topic("news");
        appenders.spawn(async move {
            let mut sequences = Vec::new();
            for number in 0..EACH {
                let body = format!("{appender}/{number}").into_bytes();
                sequences.push(topic.append(body, PATIENCE).await.unwrap());
            }
            (appender, sequences)
        });
    }
    let grown_to = async |count: u64| {
        let topic = client.topic("news");
        eventually("the topic grows", || async {
            let page = topic.read(0, 1, Duration::ZERO, PATIENCE).await;
            let head = page.map_err(|error| error.to_string())?.head;
            (head >= count).then_some(()).ok_or(format!("{head}"))
        })
        .await;
    };
    grown_to(100).await;
    broker.nameserver(0).kill().await;
    grown_to(250).await;
    broker.nameserver(0).restart().await;
    grown_to(400).await;
    broker.nameserver(1).kill().await;
    broker.nameserver(0).kill().await;
    broker.nameserver(1).restart().await;
    grown_to(600).await;

    let mut places = HashMap::new();
    while let Some(ended) = appenders.join_next().await {
        let (appender, sequences) = ended.unwrap();
        assert!(sequences.is_sorted());
        for (number, sequence) in sequences.into_iter().enumerate() {
            places.insert(sequence, format!("{appender}/{number}"));
        }
    }
    assert_eq!(places.len(), APPENDERS * EACH);
    for follower in followers {
        for (index, body) in follower.await.unwrap().iter().enumerate() {
            assert_eq!(&places[&(index as u64 + 1)], body);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_outlive_every_name_server_and_say_what_they_no_longer_have() {
    let flags = ["--topic-retention-bytes", "1KiB"];
    let broker = Broker::start().one_store().nameserver_flags(&flags);
    let mut broker = broker.await;
    let client = broker.client().await;
    let topic = client.topic("news");
    for number in 1..=4_u8 {
        let appended = topic.append(vec![number; 400], PATIENCE).await;
        assert_eq!(appended.unwrap(), u64::from(number));
    }
    broker.nameserver(0).kill().await;
    broker.nameserver(0).restart().await;
    let key = "the same";
    let fifth = topic.append_once(key, vec![5], PATIENCE).await;
    let again = topic.append_once(key, vec![5], PATIENCE).await;
    assert_eq!((fifth.unwrap(), again.unwrap()), (5, 5));
    eventually("it makes room", || async {
        let page = topic.read(0, 10, Duration::ZERO, PATIENCE).await;
        let first = page.map_err(|error| error.to_string())?.first;
        (first == 3).then_some(()).ok_or(format!("{first}"))
    })
    .await;
    let mut entries = Box::pin(topic.follow(1));
    let gone = entries.next().await.expect("it never ends");
    assert!(
        matches!(&gone, Err(TopicError::Gone { first: 3, .. })),
        "{gone:?}"
    );
    for expected in 3..=5 {
        let entry = entries.next().await.expect("it never ends").unwrap();
        assert_eq!(entry.sequence, expected);
    }
}
