//! What workers and observers may see and change beyond calls: topics, who is there, tasks.

use crate::harness::{SecuredBroker, seconds, within};
use pyroxene_client::{CallError, Client, TopicError};
use pyroxene_common::interfaces::{
    presence::{self, PresenceError, PresenceMember},
    topics::TopicsError,
};
use pyroxene_objects::HostBuiltins;
use pyroxene_worker::Worker;
use std::time::Duration;

/// Whether somebody is refused a topic because of its name.
fn is_denied<T>(outcome: &Result<T, TopicError>) -> bool {
    matches!(
        outcome,
        Err(TopicError::Topics {
            error: TopicsError::Denied { .. },
            ..
        })
    )
}

async fn read(client: &Client, topic: &str) -> Result<usize, TopicError> {
    let topic = client.topic(topic);
    let read = topic.read(0, 10, Duration::ZERO, seconds(5)).await;
    read.map(|found| found.entries.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_uses_the_topics_that_its_patterns_cover_and_no_others() {
    let broker = SecuredBroker::with_tokens()
        .worker("w1", &["--objects", "chat"])
        .await;
    broker.add_user("texter", "worker", &["text"]).await;
    broker.add_user("keeper", "worker", &["topic:prices"]).await;
    let private = ["call", "chat", "send", "from=ana", "to=bob", "text=psst"];
    broker.run_as("ana", &private).await.out();
    let room = presence::topic_of("chat");

    // A worker that hosts something else reads no direct message and forges none.
    let texter = broker.client_as("texter").await;
    for topic in [room.as_str(), "prices"] {
        assert!(is_denied(&read(&texter, topic).await), "{topic}");
        let forged = texter.topic(topic).append(b"{}".to_vec(), seconds(5)).await;
        assert!(is_denied(&forged), "{topic}");
        // Nobody but an admin removes a topic.
        let removed = texter.topic(topic).remove(seconds(5)).await;
        assert!(
            matches!(removed, Err(TopicError::Call(CallError::Refused(_)))),
            "{removed:?}"
        );
    }
    let topics = texter.nameservers()[0].topics();
    let listed = topics.list(within(seconds(5)), String::new(), String::new());
    assert_eq!(listed.await.unwrap().unwrap(), []);

    let keeper = broker.client_as("keeper").await;
    let appended = keeper
        .topic("prices")
        .append(b"1".to_vec(), seconds(5))
        .await;
    assert_eq!(appended.unwrap(), 1);
    assert_eq!(read(&keeper, "prices").await.unwrap(), 1);
    assert!(is_denied(&read(&keeper, &room).await));
    let root = broker.client_as("root").await;
    assert_eq!(read(&root, &room).await.unwrap(), 1);
    root.topic("prices").remove(seconds(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_tells_who_is_in_a_room_that_it_may_host_and_in_no_other() {
    let broker = SecuredBroker::with_tokens().await;
    broker.add_user("texter", "worker", &["text"]).await;
    broker.add_user("chatter", "worker", &["chat"]).await;
    let room = presence::topic_of("chat");
    let member = || PresenceMember {
        name: "ana".to_owned(),
        session: "1".to_owned(),
        stays_ms: 30_000,
    };
    let chatter = broker.client_as("chatter").await;
    let texter = broker.client_as("texter").await;
    let presence = |client: &Client| client.nameservers()[0].presence();
    let (from_chatter, from_texter) = (presence(&chatter), presence(&texter));
    let context = || within(seconds(5));
    let claimed = from_chatter.claim(context(), room.clone(), member(), true);
    assert_eq!(claimed.await.unwrap().unwrap().members.len(), 1);

    // Neither hears of sessions, nor ends them.
    let kicking = from_texter.exchange(context(), room.clone(), vec![], vec!["1".to_owned()]);
    let kicked = kicking.await.unwrap();
    assert!(
        matches!(kicked, Err(PresenceError::Denied { .. })),
        "{kicked:?}"
    );
    let joining = from_texter.claim(context(), room.clone(), member(), true);
    let joined = joining.await.unwrap();
    assert!(
        matches!(joined, Err(PresenceError::Denied { .. })),
        "{joined:?}"
    );
    let elsewhere = from_chatter.exchange(context(), "other".to_owned(), vec![], vec![]);
    let elsewhere = elsewhere.await.unwrap();
    assert!(
        matches!(elsewhere, Err(PresenceError::Denied { .. })),
        "{elsewhere:?}"
    );
    let there = from_chatter.exchange(context(), room, vec![], vec![]);
    assert_eq!(there.await.unwrap().unwrap().members.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_may_host_the_chat_alone_hosts_it() {
    let broker = SecuredBroker::with_tokens().await;
    broker.add_user("chatter", "worker", &["chat"]).await;
    let credentials = pyroxene_client::Credentials::new("chatter", &broker.keys.token("chatter"));
    let worker = Worker::builder()
        .name("w9")
        .nameserver(broker.addresses())
        .credentials(credentials)
        .builtins(["chat"])
        .unwrap();
    let _worker = worker.bind().await.unwrap();
    let say = ["call", "chat", "broadcast", "from=ana", "text=hello"];
    broker.run_as("ana", &say).await.out();
    let read = ["call", "chat", "history", "name=ana"];
    let history = broker.run_as("ana", &read).await.json();
    assert_eq!(history[0]["text"], "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_sees_that_tasks_exist_and_their_content_where_it_is_allowed() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    broker.add_user("auditor", "observer", &["text"]).await;
    let submit = [
        "submit",
        "text",
        "uppercase",
        "text=secret",
        "--wait",
        "--json",
    ];
    let id = broker.run_as("ana", &submit).await.json()["id"].clone();
    let id = id.as_str().unwrap();
    let submit = ["submit", "echo", "fail", "secret", "--max-attempts", "1"];
    let failed = broker.run_as("ana", &submit).await.out().to_owned();
    broker
        .run_as("ana", &["tasks", "wait", &failed])
        .await
        .error(1);

    let shown = broker.run_as("oli", &["tasks", "show", id, "--json"]).await;
    let task = shown.json();
    assert_eq!(
        (&task["object"], &task["state"]),
        (&"text".into(), &"succeeded".into())
    );
    assert!(task["args"].is_null() && task["result"].is_null(), "{task}");
    for command in [
        &["tasks", "show", &failed, "--json"][..],
        &["tasks", "list", "--json"],
    ] {
        let ran = broker.run_as("oli", command).await;
        assert!(ran.out().contains("failed"), "{ran:?}");
        assert!(!ran.out().to_lowercase().contains("secret"), "{ran:?}");
    }
    let waited = broker.run_as("oli", &["tasks", "wait", id]).await;
    assert!(
        waited
            .error(4)
            .contains("an observer sees its result only if the users file allows it"),
        "{waited:?}"
    );

    let granted = broker
        .run_as("auditor", &["tasks", "show", id, "--json"])
        .await;
    assert_eq!(granted.json()["args"]["text"], "secret");
    assert_eq!(granted.json()["result"], "SECRET");
    let other = broker.run_as("auditor", &["tasks", "show", &failed]).await;
    assert!(!other.out().contains("secret"), "{other:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_that_is_narrowed_is_refused_as_misleading() {
    let broker = SecuredBroker::with_tokens().await;
    let add = ["add", "boss", "--role", "admin", "--allow", "echo"];
    let ran = broker.keys.users(&add).await;
    let expected = "an admin may do everything: --allow cannot restrict it";
    assert_eq!(ran.error(2), expected);
    let listed = broker.keys.users(&["list", "--json"]).await;
    assert!(!listed.out().contains("boss"), "{listed:?}");
    // Nor is it read from a file that was edited by hand.
    let path = broker.keys.path("users.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let admin = "role = \"admin\"\nallow = [\"*\"]";
    assert!(text.contains(admin), "{text}");
    let narrowed = text.replace(admin, "role = \"admin\"\nallow = [\"echo\"]");
    std::fs::write(&path, narrowed).unwrap();
    let ran = broker.keys.users(&["list"]).await;
    assert!(
        ran.error(2).contains("an admin may do everything"),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_owner_rule_users_use_their_own_accounts() {
    let bank = tempfile::TempDir::new().unwrap();
    let database = format!("sqlite:{}", bank.path().join("bank.db").display());
    let flags = [
        "--objects",
        "accounts",
        "--accounts-db",
        &database,
        "--accounts-owner-rule",
    ];
    let broker = SecuredBroker::with_tokens().worker("w1", &flags).await;
    let allow = ["accounts", "account:shop-*"];
    broker.add_user("clerk", "user", &allow).await;
    let call = async |user: &str, arguments: &[&str]| {
        let call = [&["call", "accounts"], arguments].concat();
        broker.run_as(user, &call).await
    };
    call("ana", &["open", "user=ana", "balance=5"]).await.out();
    call("root", &["open", "user=bob", "balance=5"]).await.out();
    call("clerk", &["open", "user=shop-1", "balance=5"])
        .await
        .out();
    let pay = ["transfer", "from=ana", "to=bob", "amount=1", "request_id=1"];
    call("ana", &pay).await.out();
    for denied in [
        &["query", "user=bob"][..],
        &["update", "user=bob", "delta=1", "request_id=2"],
        &["open", "user=eve", "balance=1"],
        &["transfer", "from=bob", "to=ana", "amount=1", "request_id=3"],
    ] {
        let ran = call("ana", denied).await;
        assert!(
            ran.error(1).contains("'ana' may not use the account of '"),
            "{ran:?}"
        );
    }
    call("clerk", &["query", "user=shop-1"]).await.out();
    call("clerk", &["query", "user=bob"]).await.error(1);
    assert_eq!(call("root", &["query", "user=bob"]).await.out(), "6");
}
