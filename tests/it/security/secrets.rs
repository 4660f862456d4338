//! Tokens and tickets are nowhere but where they belong.

use super::strangers::{show, ticket_of};
use crate::harness::{Process, Ran, SecuredBroker, eventually, start_command, write_private};
use std::fs;

/// What every ticket begins with.
const TICKET: &str = "v4.public.";

/// Looks for secrets in a text, which is called `what`.
fn search(secrets: &[String], what: &str, text: &str) {
    assert!(
        !text.contains(TICKET),
        "there is a ticket in {what}: {text}"
    );
    for secret in secrets {
        // Without its prefix, and as a log might have escaped or cut it.
        let part = &secret[4..24];
        assert!(!text.contains(part), "there is a token in {what}: {text}");
    }
}

/// Looks for secrets in what a daemon shows to others.
fn look_at(secrets: &[String], daemon: &Process) {
    let log = daemon.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
    search(secrets, "a log", &log);
    search(secrets, "a command line", &daemon.command_line());
}

async fn run(broker: &SecuredBroker, user: &str, token: &str, command: &[&str]) -> Ran {
    let addresses = broker.addresses();
    let environment = [("PYROXENE_TOKEN", token), ("RUST_LOG", "trace")];
    let flags = ["--nameserver", &addresses, "--user", user];
    Ran::with(broker.dir(), &environment, &[command, &flags].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_no_message_and_no_command_line_shows_a_secret() {
    let mut broker = SecuredBroker::with_tokens()
        .nameserver_flags(&["--ticket-life", "1s"])
        .log("trace")
        .worker("w1", &[])
        .await;
    let mut secrets: Vec<String> = ["root", "host", "ana", "oli"]
        .map(|name| broker.keys.token(name))
        .to_vec();
    let wrong = "prx_WRONGWRONGWRONGWRONGWRONGWRONGWRONGWRONGWRO".to_owned();
    secrets.push(wrong.clone());
    let (ana, oli) = (broker.keys.token("ana"), broker.keys.token("oli"));
    let mut told = Vec::new();
    for (user, token, command) in [
        ("ana", &ana, &["call", "echo", "whoami"][..]),
        ("ana", &ana, &["describe", "echo"]),
        ("ana", &ana, &["whoami", "--json"]),
        ("ana", &ana, &["register", "x", "127.0.0.1:1"]),
        ("oli", &oli, &["call", "echo", "whoami"]),
        ("ana", &wrong, &["call", "echo", "whoami"]),
        ("ana", &wrong, &["list"]),
        // A token in the place of the name.
        (&ana, &ana, &["list"]),
    ] {
        let ran = run(&broker, user, token, command).await;
        if user != ana {
            told.push(format!("{ran:?}"));
        }
    }
    // And in other places where none is wanted.
    for words in [
        &["whoami", "--token-file", &ana][..],
        &["limits", &ana],
        &["worker", "--name", &ana],
        &["certs", "issue", "--name", &ana],
    ] {
        let ran = broker.run(words).await;
        assert!(
            ran.error(2).contains("a token is on the command line"),
            "{words:?}"
        );
        told.push(format!("{ran:?}"));
    }
    let wrong_file = broker.keys.path("wrong.token");
    write_private(&wrong_file, &wrong);
    let ran = broker
        .run(&["worker", "--user", "host", "--token-file", &wrong_file])
        .await;
    told.push(format!("{ran:?}"));
    for said in &told {
        search(&secrets, "what a command said", said);
    }

    // Long enough for a renewal, and so for every kind of message that there is.
    let nameserver = broker.addresses();
    let worker = broker.worker("w1").address().to_owned();
    let ticket = ticket_of(&nameserver, "root", &broker.keys.token("root")).await;
    assert!(ticket.starts_with(TICKET.as_bytes()));
    eventually("a ticket of now runs out", || async {
        let refused = show(&worker, &ticket).await;
        refused.err().ok_or("it is good".to_owned())
    })
    .await;
    look_at(&secrets, broker.nameserver(0).process());
    look_at(&secrets, broker.worker("w1").process());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_hands_the_token_to_its_children_in_no_command_line() {
    let broker = SecuredBroker::with_tokens().await;
    let users = broker.keys.path("users.toml");
    let login = broker.keys.log_in("host");
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    let flags = [
        &[
            "--listen",
            "127.0.0.1:0",
            "--workers",
            "1",
            "--json",
            "--exit-with-parent",
        ][..],
        &["--users", &users],
        &login,
    ]
    .concat();
    let mut up = start_command(broker.dir(), "up", &flags);
    let ready: serde_json::Value = serde_json::from_str(&up.line().await).unwrap();
    // It counts the tasks itself: the workers' login may not.
    assert_eq!(ready["waiting"], 0, "{ready}");
    let secrets = [broker.keys.token("host")];
    for kind in ["nameservers", "workers"] {
        let pid = &ready[kind][0]["pid"];
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(words.contains("pyroxene"), "{words}");
        search(&secrets, "a child's command line", &words);
    }
    // It is of use all the same.
    let address = ready["nameservers"][0]["endpoint"].as_str().unwrap();
    let login = broker.keys.log_in("ana");
    let login: Vec<&str> = login.iter().map(String::as_str).collect();
    let call = ["call", "echo", "whoami", "--nameserver", address];
    let ran = Ran::in_dir(broker.dir(), &[&call[..], &login].concat()).await;
    assert_eq!(ran.json()["user"], "ana");
    assert!(!up.log().contains("WARN"), "{}", up.log());
    search(&secrets, "its log", &up.log());
}
