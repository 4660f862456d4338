//! How many calls of one user wait at a name server, and what a listing costs.

use super::desk_of;
use crate::{
    harness::{SecuredBroker, eventually, seconds, within},
    tasks::desk::echo,
};
use futures::stream::{FuturesUnordered, StreamExt};
use pyroxene_client::NameServerClient;
use pyroxene_common::interfaces::{
    directory::DirectoryError,
    tasks::{Submission, Submissions, TasksError},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_does_not_take_every_watch() {
    let flags = ["--limit", "watches=20"];
    let broker = SecuredBroker::with_tokens()
        .worker("w1", &[])
        .nameserver_flags(&flags)
        .await;
    let directory = |user: &str| {
        let config = broker.config(user);
        NameServerClient::new(config.endpoints()[0].clone(), &config).directory()
    };
    let ana = directory("ana");
    let object = || "echo".to_owned();
    let first = ana.watch(within(seconds(10)), object(), None, 0).await;
    let cursor = first.unwrap().unwrap().cursor;
    let watch = |_| ana.watch(within(seconds(60)), object(), Some(cursor), 60_000);
    let mut watches: FuturesUnordered<_> = (0..30).map(watch).collect();
    for _ in 0..10 {
        let refused = watches.next().await.unwrap().unwrap().unwrap_err();
        let DirectoryError::Limited { sentence } = refused else {
            panic!("{refused:?}");
        };
        assert!(
            sentence.contains("'watches' of user 'ana' is 20"),
            "{sentence}"
        );
    }
    let oli = directory("oli");
    let other = oli
        .watch(within(seconds(10)), object(), Some(cursor), 100)
        .await;
    other.unwrap().unwrap();
    // What ends is given back.
    drop(watches);
    eventually("there is room again", || async {
        let again = ana
            .watch(within(seconds(10)), object(), Some(cursor), 1)
            .await;
        let again = again.map_err(|error| error.to_string())?;
        again.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_does_not_take_every_long_poll() {
    let flags = ["--limit", "polls=20"];
    let broker = SecuredBroker::with_tokens().nameserver_flags(&flags).await;
    let ana = desk_of(&broker, "ana").await;
    let waits = Submission {
        delay_ms: 3_600_000,
        ..echo("x")
    };
    let ids = ana
        .submit(within(seconds(10)), Submissions(vec![waits]))
        .await;
    let id = ids.unwrap().unwrap().remove(0);
    let wait = |_| ana.ended(within(seconds(60)), id.clone(), 50_000);
    let mut polls: FuturesUnordered<_> = (0..30).map(wait).collect();
    for _ in 0..10 {
        let refused = polls.next().await.unwrap().unwrap().unwrap_err();
        let TasksError::Limited { sentence } = refused else {
            panic!("{refused:?}");
        };
        assert!(
            sentence.contains("'polls' of user 'ana' is 20"),
            "{sentence}"
        );
    }
    // What does not wait is answered.
    ana.show(within(seconds(10)), id.clone())
        .await
        .unwrap()
        .unwrap();
}
