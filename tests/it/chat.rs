//! Members of a chat room, each a process, while everything that carries it dies.

use crate::harness::{
    Broker, Process, Ran, eventually, eventually_within, seconds, turn, write_private,
};
use pyroxene_client::{CallError, Client, ClientConfig, Credentials, TopicError};
use serde_json::{Value, json};
use std::{fs, path::Path, time::Duration};
use tempfile::TempDir;

/// A worker that hosts the room beside the usual objects.
const CHAT: &[&str] = &["--objects", "chat"];

/// A member, as a script would be one, and what it has seen.
struct Member {
    process: Process,
    seen: Vec<Value>,
}

impl Member {
    /// Comes in, and is there.
    async fn enter(broker: &Broker, name: &str) -> Self {
        let arguments = ["--as", name, "--history", "0", "--json"];
        let process = broker.start_command("chat", &arguments);
        eventually(&format!("{name} is there"), || async {
            let members = members(broker).await;
            let there = members.iter().any(|member| member == name);
            there.then_some(()).ok_or(format!("{members:?}"))
        })
        .await;
        let seen = Vec::new();
        Self { process, seen }
    }

    async fn say(&mut self, lines: &[String]) {
        self.process.write(lines).await;
    }

    /// Reads on until it has seen so many messages.
    async fn sees(&mut self, count: usize) {
        while self.seen.len() < count {
            let line = self.process.line().await;
            self.seen.push(serde_json::from_str(&line).unwrap());
        }
    }

    /// The sequences of what it has seen but for what was said to one alone, in order.
    fn sequences(&self) -> Vec<u64> {
        let public = self.seen.iter().filter(|message| message["to"].is_null());
        public
            .map(|message| message["sequence"].as_u64().unwrap())
            .collect()
    }

    /// What it has seen somebody say to all.
    fn said_by(&self, name: &str) -> Vec<&str> {
        let public = self.seen.iter().filter(|message| message["to"].is_null());
        let of_name = public.filter(|message| message["from"] == name);
        of_name
            .map(|message| message["text"].as_str().unwrap())
            .collect()
    }
}

async fn members(broker: &Broker) -> Vec<String> {
    let ran = broker.run(&["call", "chat", "members"]).await;
    serde_json::from_value(ran.json()).unwrap()
}

/// The members, or why there is no answer just now.
async fn members_if_reached(broker: &Broker) -> Result<Vec<String>, String> {
    let ran = broker.run(&["call", "chat", "members"]).await;
    match ran.code {
        Some(0) => Ok(serde_json::from_value(ran.json()).unwrap()),
        _ => Err(ran.stderr),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_sees_every_message_once_in_one_order_whoever_dies() {
    const EACH: usize = 100;
    let _turn = turn().await;
    let broker = Broker::start().nameservers(2).one_store();
    let broker = broker.worker("c1", CHAT).worker("c2", CHAT);
    let mut broker = broker.worker("c3", CHAT).await;
    let mut ana = Member::enter(&broker, "ana").await;
    let mut bob = Member::enter(&broker, "bob").await;
    let mut cleo = Member::enter(&broker, "cleo").await;

    ana.say(&["/msg bob a secret".to_owned()]).await;
    bob.sees(1).await;
    ana.sees(1).await;
    assert_eq!(bob.seen[0]["text"], "a secret");
    assert_eq!(bob.seen, ana.seen);

    let lines = |name: &str| {
        let number = |number| format!("{name} {number}");
        (0..EACH).map(number).collect::<Vec<_>>()
    };
    let (of_ana, of_bob) = (lines("ana"), lines("bob"));
    ana.say(&of_ana).await;
    bob.say(&of_bob).await;
    cleo.sees(30).await;
    broker.worker("c1").kill().await;
    broker.nameserver(0).kill().await;
    cleo.sees(70).await;
    broker.worker("c2").kill().await;
    broker.nameserver(0).restart().await;
    cleo.sees(110).await;
    broker.add_worker("c4", CHAT).await;
    broker.worker("c3").kill().await;
    broker.nameserver(1).kill().await;
    cleo.sees(2 * EACH).await;
    ana.sees(2 * EACH + 1).await;
    bob.sees(2 * EACH + 1).await;

    let order = cleo.sequences();
    assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    for member in [&ana, &bob, &cleo] {
        assert_eq!(member.sequences(), order);
        assert_eq!(member.said_by("ana"), of_ana);
        assert_eq!(member.said_by("bob"), of_bob);
    }
    assert!(cleo.seen.iter().all(|message| message["to"].is_null()));

    for member in [&mut ana, &mut bob, &mut cleo] {
        member.process.end_input();
        assert!(member.process.exit().await.success());
        assert_eq!(member.process.rest_of_output().await, "");
    }
    assert_eq!(members(&broker).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_outlives_everything() {
    let broker = Broker::start().one_store().worker("c1", CHAT);
    let mut broker = broker.await;
    let said = [
        ["broadcast", "from=ana", "text=one", "id=1"].as_slice(),
        &["broadcast", "from=ana", "text=one", "id=1"],
        &["send", "from=ana", "to=bob", "text=two"],
        &["send", "from=ana", "to=cleo", "text=not for bob"],
        &["broadcast", "from=cleo", "text=three"],
    ];
    let mut sequences = Vec::new();
    for words in said {
        let all = [&["call", "chat"], words].concat();
        let sent = broker.run(&all).await.json();
        sequences.push(sent["sequence"].as_u64().unwrap());
    }
    assert_eq!(sequences, [1, 1, 2, 3, 4]);
    broker.worker("c1").kill().await;
    broker.nameserver(0).kill().await;
    broker.nameserver(0).restart().await;
    broker.add_worker("c2", CHAT).await;

    let receive = [
        "call",
        "chat",
        "receive",
        "name=bob",
        "after=1",
        "wait_ms=0",
    ];
    let received = broker.run(&receive).await.json();
    assert_eq!(received["next"], 4);
    let texts: Vec<&Value> = received["messages"].as_array().unwrap().iter().collect();
    let texts: Vec<&Value> = texts.iter().map(|message| &message["text"]).collect();
    assert_eq!(texts, [&json!("two"), &json!("three")]);

    let ran = broker.run(&["chat", "--as", "bob", "--history", "2"]).await;
    let lines: Vec<&str> = ran.out().lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    for (line, expected) in lines.iter().zip(["ana → bob: two", "cleo: three"]) {
        let (time, rest) = line.split_at("[00:00:00] ".len());
        assert_eq!(rest, expected);
        assert!(time.starts_with('[') && time.ends_with("] "), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_taken_until_its_member_leaves_or_is_no_longer_heard_of() {
    let broker = Broker::start().nameservers(2).one_store();
    let mut broker = broker.worker("c1", CHAT).worker("c2", CHAT).await;
    let mut ana = Member::enter(&broker, "ana").await;
    let ran = broker.run(&["chat", "--as", "ana"]).await;
    assert_eq!(ran.error(1), "somebody called 'ana' is there already");
    let mut bob = Member::enter(&broker, "bob").await;
    assert_eq!(members(&broker).await, ["ana", "bob"]);
    bob.say(&["/quit".to_owned()]).await;
    assert!(bob.process.exit().await.success());
    assert_eq!(members(&broker).await, ["ana"]);

    // Members stay members whichever name server and worker remain.
    broker.nameserver(0).kill().await;
    broker.nameserver(0).restart().await;
    broker.nameserver(0).lists("c2").await;
    broker.nameserver(1).kill().await;
    broker.worker("c1").kill().await;
    // If all that knew of it died at once, the member tells those that are left.
    eventually("ana is still there", || async {
        let members = members_if_reached(&broker).await?;
        // Bob may be back for his lease, if nobody is left who was told that he went.
        let still_there = members.iter().any(|member| member == "ana");
        still_there.then_some(()).ok_or(format!("{members:?}"))
    })
    .await;
    let ran = broker.run(&["chat", "--as", "ana"]).await;
    assert_eq!(ran.error(1), "somebody called 'ana' is there already");

    ana.process.kill().await;
    eventually_within(seconds(45), "ana is gone", || async {
        let members = members_if_reached(&broker).await?;
        members
            .is_empty()
            .then_some(())
            .ok_or(format!("{members:?}"))
    })
    .await;
    let ran = broker.run(&["chat", "--as", "ana"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_left_comes_back_at_once_whichever_worker_it_meets() {
    let broker = Broker::start().worker("c1", CHAT).worker("c2", CHAT);
    let broker = broker.worker("c3", CHAT).await;
    for visit in 0..10 {
        let mut ana = broker.start_command("chat", &["--as", "ana", "--history", "0"]);
        let line = format!("visit {visit}");
        ana.write(std::slice::from_ref(&line)).await;
        ana.end_input();
        assert!(ana.line().await.ends_with(&line));
        assert!(ana.exit().await.success(), "{line}");
    }
    // Nor does it matter where one who only looked in says goodbye.
    for visit in 0..10 {
        let mut bob = broker.start_command("shell", &["--as", "bob"]);
        bob.write(&["/list".to_owned()]).await;
        bob.end_input();
        assert!(bob.exit().await.success(), "visit {visit}");
    }
}

/// The token of a new user, in a file.
async fn user(dir: &Path, name: &str, role: &str) -> String {
    let add = [
        "users",
        "add",
        name,
        "--role",
        role,
        "--users",
        "users.toml",
    ];
    let token = Ran::in_dir(dir, &add).await;
    let file = dir.join(format!("{name}.token"));
    write_private(&file, token.stdout);
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_users_are_known_they_speak_and_read_for_themselves() {
    let dir = TempDir::new().unwrap();
    let ana = user(dir.path(), "ana", "user").await;
    let bob = user(dir.path(), "bob", "user").await;
    let root = user(dir.path(), "root", "admin").await;
    let c1 = user(dir.path(), "c1", "worker").await;
    let users = dir.path().join("users.toml").display().to_string();
    let broker = Broker::start().one_store();
    let broker = broker.nameserver_flags(&["--users", &users]).await;
    let flags = ["--exit-with-parent", "--name", "c1", "--objects", "chat"];
    let login = ["--user", "c1", "--token-file", &c1];
    let mut worker = broker.start_command("worker", &[&flags[..], &login].concat());
    worker.ready("ready worker c1").await;

    let call = async |user: &str, token: &str, words: &[&str]| {
        let login = ["--user", user, "--token-file", token];
        broker
            .run(&[&["call", "chat"], words, &login].concat())
            .await
    };
    let as_bob = ["broadcast", "from=bob", "text=hi"];
    let denied = call("ana", &ana, &as_bob).await;
    assert_eq!(denied.error(1), "'ana' may not speak or read as 'bob'");
    for method in ["join", "leave", "history"] {
        call("ana", &ana, &[method, "name=bob"]).await.error(1);
    }
    let read = ["receive", "name=bob", "after=0", "wait_ms=0"];
    call("ana", &ana, &read).await.error(1);
    call("root", &root, &as_bob).await.out();
    let to_bob = ["send", "from=ana", "to=bob", "text=psst"];
    call("ana", &ana, &to_bob).await.out();
    let received = call("bob", &bob, &read).await.json();
    assert_eq!(received["messages"][1]["text"], "psst");

    // Under one's own name, without saying it.
    let login = ["--user", "bob", "--token-file", &bob];
    let ran = broker.run(&[&["chat"][..], &login].concat()).await;
    assert!(ran.out().ends_with("ana → bob: psst"), "{ran:?}");

    // Nobody reads past the room.
    let token = fs::read_to_string(&ana).unwrap();
    let config = ClientConfig::new(&broker.addresses()).unwrap();
    let credentials = Credentials::new("ana", token.trim());
    let client = Client::new(config.credentials(credentials));
    let topic = client.topic("pyroxene.chat/chat");
    let read = topic.read(0, 10, Duration::ZERO, seconds(5)).await;
    assert!(
        matches!(read, Err(TopicError::Call(CallError::Refused(_)))),
        "{read:?}"
    );
}
