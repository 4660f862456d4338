//! What the dashboard shows while things die.

use super::window::open;
use crate::harness::{Broker, seconds, turn};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_shows_within_3_s() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(3).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/workers").await;
    window.sees(".row-link", "w2").await;
    window.is_live().await;
    let killed = Instant::now();
    broker.worker("w2").kill().await;
    window
        .sees_within(seconds(10), "[role=status]", "w2 went away")
        .await;
    window.misses(".row-link", "w2").await;
    let shown = killed.elapsed();
    // Looking costs time too: a look at all rows is several requests to the driver.
    assert!(shown <= seconds(3), "it showed after {shown:?}");
    window.go("/").await;
    window.sees(".verdict p", "2 workers ready").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_is_away_is_said_to_be_and_found_again_without_reloading() {
    let _turn = turn().await;
    let mut broker = Broker::start().one_store().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/tasks").await;
    window.is_live().await;
    window.run("window.isTheSamePage = true").await;
    broker.nameserver(0).kill().await;
    window.sees("[role=status]", "Trying again").await;
    window
        .sees("#connection[data-state=away]", "Trying again")
        .await;
    broker.nameserver(0).restart().await;
    window.is_live().await;
    window.misses("[role=status]", "Trying again").await;
    broker.nameserver(0).lists("w1").await;
    broker
        .run(&["submit", "text", "uppercase", "text=a"])
        .await
        .out();
    window.sees(".row-link", "text.uppercase").await;
    let same = window.run("return window.isTheSamePage").await;
    assert_eq!(same, serde_json::json!(true), "the page was loaded again");
    window.close().await;
}
