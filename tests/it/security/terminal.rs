//! What others write, as it comes to the terminal of whoever looks.

use crate::harness::{Broker, Ran, seconds, within};
use pyroxene_client::Client;
use pyroxene_common::{
    clean,
    interfaces::directory::{DirectoryError, ObjectRegistration, Registration},
};

/// Clears the screen, sets the title, and reads backwards.
const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;pwned\u{7}\u{202e}txt\u{9b}31m";

/// Whether anything in a command's output would be obeyed by a terminal.
fn assert_clean(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        let cleaned = clean::lines(text);
        assert_eq!(cleaned, text.as_str(), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_hands_on_what_a_terminal_would_obey() {
    let broker = Broker::start()
        .nameservers(1)
        .worker("w1", &["--objects", "chat"])
        .await;
    let client = Client::connect(&broker.addresses()).await.unwrap();
    // The room takes no such message, but a forged entry of its topic has one.
    let entry = serde_json::json!({"from": HOSTILE, "to": null, "text": format!("hi\n[12:00:00] ana: {HOSTILE}")});
    let body = entry.to_string().into_bytes();
    let topic = client.topic("pyroxene.chat/chat");
    topic.append(body, seconds(5)).await.unwrap();
    let chat = broker.run(&["chat", "--as", "bob"]).await;
    assert_clean(&chat);

    let error = broker.run(&["call", "echo", "fail", HOSTILE]).await;
    assert!(error.error(1).contains(r"\u{1b}[2J"), "{error:?}");
    assert_clean(&error);
    let id = broker
        .run(&["submit", "echo", "echo", HOSTILE, "--wait", "--json"])
        .await;
    assert_clean(&id);
    // JSON says the same without a character that is obeyed.
    assert_eq!(id.json()["result"], HOSTILE);
    assert_clean(
        &broker
            .run(&["tasks", "show", id.json()["id"].as_str().unwrap()])
            .await,
    );
    assert_clean(&broker.run(&["tasks", "list"]).await);
    let called = broker
        .run(&["call", "echo", "echo", HOSTILE, "--json"])
        .await;
    assert_clean(&called);
    assert_eq!(called.json()["result"], HOSTILE);
    // What goes to a pipe is data, as it is.
    let piped = broker.run(&["call", "echo", "echo", HOSTILE]).await;
    assert_eq!(piped.out(), HOSTILE);
    assert_clean(&broker.run(&["call", HOSTILE, HOSTILE]).await);
    assert_clean(&broker.run(&["lookup", HOSTILE]).await);
    assert_clean(&Ran::in_dir(broker.dir(), &["list", "--nameserver", HOSTILE]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_would_harm_a_terminal_are_refused_where_they_enter() {
    let broker = Broker::start().nameservers(1).await;
    for flags in [
        ["--name", "w\u{202e}1"],
        ["--name", "w 1"],
        ["--name", "w1\u{200b}"],
        ["--tag", "a\u{1b}[2J"],
    ] {
        // The worker looks at its own names before it starts, without asking anybody.
        let all = [&["worker", "--nameserver", "127.0.0.1:1"], &flags[..]].concat();
        let ran = Ran::with(broker.dir(), &[("RUST_LOG", "off")], &all).await;
        assert!(
            ran.error(2)
                .contains("contains white space, control characters"),
            "{ran:?}"
        );
        assert_clean(&ran);
    }
    // One that does not look is told by the name server.
    let client = Client::connect(&broker.addresses()).await.unwrap();
    let directory = client.nameservers()[0].directory();
    let offer = |object: &str, interface: &str| Registration {
        worker: "w1".to_owned(),
        incarnation: 1,
        endpoint: "127.0.0.1:1".to_owned(),
        pid: 1,
        host: "here".to_owned(),
        capacity: 1,
        ttl_ms: 1000,
        objects: vec![ObjectRegistration {
            object: object.to_owned(),
            interface: interface.to_owned(),
            version: 1,
            spoken: Vec::new(),
            tags: Vec::new(),
            exclusive: false,
        }],
    };
    for hostile in ["e\u{202e}cho", "echo\u{200b}", "e\u{1b}[2J", "e\ncho"] {
        for registration in [offer(hostile, "Echo"), offer("echo", hostile)] {
            let opened = directory
                .open(within(seconds(5)), registration, None)
                .await
                .unwrap();
            assert!(
                matches!(opened, Err(DirectoryError::Invalid { .. })),
                "{opened:?}"
            );
        }
        let uri = "127.0.0.1:1".to_owned();
        let registered =
            directory.register(within(seconds(5)), hostile.to_owned(), uri, vec![], false);
        let registered = registered.await.unwrap();
        assert!(
            matches!(registered, Err(DirectoryError::Invalid { .. })),
            "{registered:?}"
        );
    }
}
