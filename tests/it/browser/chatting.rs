//! A person at the browser and one at a terminal, in the same room.

use super::window::open;
use crate::harness::{Broker, eventually, seconds, turn};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_and_a_terminal_talk() {
    let _turn = turn().await;
    let mut broker = Broker::start().worker("w1", &["--objects", "chat"]).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    let mut bob = broker.start_command("chat", &["--as", "bob", "--history", "0", "--json"]);
    window.go("/chat").await;
    window.fill("input[name=name]", "zoe").await;
    window.click(".chat-join button", "Join").await;
    window.sees(".chat-members", "bob").await;
    window.sees(".chat-members", "zoe").await;

    window.fill("input[name=text]", "hello from the page").await;
    window.click(".chat-say button", "Send").await;
    let heard: Value = serde_json::from_str(&bob.line().await).unwrap();
    assert_eq!(
        (heard["from"].as_str(), heard["text"].as_str()),
        (Some("zoe"), Some("hello from the page"))
    );

    bob.write(&[
        "hello from a terminal".to_owned(),
        "/msg zoe a secret".to_owned(),
    ])
    .await;
    window
        .sees_within(seconds(5), ".chat-messages", "hello from a terminal")
        .await;
    window
        .sees(".chat-messages .direct", "to you alone: a secret")
        .await;

    window.choose("select[name=to]", "to bob alone").await;
    window.fill("input[name=text]", "kept").await;
    window.click(".chat-say button", "Send").await;
    let is_the_answer = |line: &Value| line["to"] == "bob" && line["text"] == "kept";
    while !is_the_answer(&serde_json::from_str(&bob.line().await).unwrap()) {}

    // A page that is loaded again is the same member, and has not missed anything.
    window.go("/chat").await;
    window.sees(".chat-messages", "a secret").await;
    window.click("main button", "Leave").await;
    eventually("zoe has left", || async {
        let ran = broker.run(&["call", "chat", "members"]).await;
        let members = ran.out().to_owned();
        if members.contains("zoe") {
            Err(members)
        } else {
            Ok(())
        }
    })
    .await;
    window.close().await;
}
