//! What the dashboard shows while things die.

use super::window::open;
use crate::harness::{Broker, turn};
use std::time::{SystemTime, UNIX_EPOCH};

/// Notes in the page when it says that w2 is gone.
const NOTE_WHEN: &str = "
    const look = () => {
        if (document.body.textContent.includes('w2 went away')) window.shownAt ??= Date.now();
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_shows_within_3_s() {
    let _turn = turn().await;
    // A lease ends up to its time to live after the worker's death; the rest is what the page takes.
    let flags: &[&str] = &["--ttl", "2s"];
    let mut broker = Broker::start()
        .worker("w1", flags)
        .worker("w2", flags)
        .await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/workers").await;
    window.sees(".row-link", "w2").await;
    window.is_live().await;
    window.run(NOTE_WHEN).await;
    let killed = SystemTime::now();
    broker.worker("w2").kill().await;
    window.sees("[role=status]", "w2 went away").await;
    let killed = killed.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let shown = window.run("return window.shownAt").await.as_u64().unwrap();
    let took = u128::from(shown).saturating_sub(killed);
    assert!(took <= 3000, "it showed after {took} ms");
    window.misses(".row-link", "w2").await;
    window.go("/").await;
    window.sees(".verdict p", "1 worker ready").await;
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
