//! Certificates alone say who somebody is, and what they may do.

use crate::harness::{SecuredBroker, eventually, seconds, within};
use pyroxene_common::identity::Role;
use pyroxene_objects::interfaces::echo::Echo;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_everything_works_and_without_one_nothing_does() {
    let broker = SecuredBroker::with_certificates().worker("w1", &[]).await;
    let who = broker.run_as("ana", &["call", "echo", "whoami"]).await;
    let who = who.json();
    assert_eq!(who["user"], json!("ana"));
    assert_eq!(who["role"], json!("user"));

    let client = broker.client_as("root").await;
    let echo = client.object::<Echo>("echo").await.unwrap();
    let who = echo.whoami(within(seconds(5))).await.unwrap();
    assert_eq!(who.user.as_deref(), Some("root"));
    assert_eq!(who.role, Some(Role::Admin));

    let ca = broker.keys.path("ca.crt");
    for command in [
        &["call", "echo", "whoami"][..],
        &["list"],
        &["whoami"],
        &["describe", "echo"],
    ] {
        let ran = broker.run(&[command, &["--tls-ca", &ca]].concat()).await;
        let sentence = ran.error(4);
        let expected =
            "the server refuses this side's certificate: it demands one, and there is none";
        assert!(sentence.contains(expected), "{ran:?}");
        assert!(ran.hint().contains("--tls-cert FILE"), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_in_a_certificate_is_all_that_its_holder_may_do() {
    let broker = SecuredBroker::with_certificates().worker("w1", &[]).await;
    let call = ["call", "echo", "whoami"];

    for looks in ["oli", "host", "ana"] {
        let listed = broker.run_as(looks, &["list", "--json"]).await.json();
        assert_eq!(listed.as_array().map(Vec::len), Some(5), "{listed}");
    }
    let ran = broker.run_as("oli", &call).await;
    assert_eq!(ran.error(4), "'oli' (observer) may not call echo.whoami");
    let ran = broker.run_as("host", &call).await;
    assert_eq!(ran.error(4), "'host' (worker) may not call echo.whoami");

    for (name, role) in [("ana", "user"), ("oli", "observer")] {
        let ran = broker.refused_worker(name, &["--name", "w2"]).await;
        let sentence = ran.error(4);
        let expected = format!("refuses the worker: '{name}' ({role}) may not call directory.open");
        assert!(sentence.ends_with(&expected), "{ran:?}");
        let ran = broker
            .run_as(name, &["register", "echo", "127.0.0.1:1"])
            .await;
        let sentence = ran.error(4);
        let expected = format!("'{name}' ({role}) may not call directory.register");
        assert!(sentence.contains(&expected), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_names_no_role_opens_nothing() {
    let broker = SecuredBroker::with_certificates().worker("w1", &[]).await;
    broker.keys.issue("nobody", None);
    let ran = broker.run_as("nobody", &["list"]).await;
    let sentence = ran.error(4);
    assert!(
        sentence
            .ends_with("the certificate cannot log in: the certificate of 'nobody' names no role"),
        "{ran:?}"
    );
}

/// With a users file it is the file that says who is who.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_does_not_bring_back_who_was_removed_or_was_never_listed() {
    let broker = SecuredBroker::with_tokens_over_tls()
        .takes_certificates()
        .worker("w1", &[])
        .await;
    let admin = Some(pyroxene_certs::CertificateRole::Admin);
    for name in ["rob", "cy", "eve"] {
        broker.keys.issue(name, admin);
    }
    broker.add_user("rob", "admin", &[]).await;
    let add = ["add", "cy", "--role", "observer", "--certificate"];
    let added = broker.keys.users(&add).await;
    assert_eq!(added.out(), "", "there is no token");
    broker.hang_up_all();
    let by_certificate = async |name: &str| {
        let flags = [broker.keys.trust(), broker.keys.show(name)].concat();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        broker
            .run(&[&["whoami", "--json"], &flags[..]].concat())
            .await
    };
    for (name, role) in [("rob", "admin"), ("cy", "observer")] {
        eventually(&format!("{name} is let in"), || async {
            let ran = by_certificate(name).await;
            (ran.code == Some(0)).then_some(()).ok_or(ran.stderr)
        })
        .await;
        let who = by_certificate(name).await.json();
        assert_eq!(who[0]["role"], json!(role), "{who}");
    }
    let ran = by_certificate("eve").await;
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(
        ran.stderr.contains("'eve' is not in the users file"),
        "{ran:?}"
    );

    for verb in [&["remove", "rob"][..], &["revoke", "cy"]] {
        broker.keys.users(verb).await.out();
    }
    broker.hang_up_all();
    for name in ["rob", "cy"] {
        let expected = format!("the access of '{name}' was revoked");
        eventually(&format!("{name} is kept out"), || async {
            let ran = by_certificate(name).await;
            let is_out = ran.code == Some(4) && ran.stderr.contains(&expected);
            is_out.then_some(()).ok_or(format!("{ran:?}"))
        })
        .await;
    }
}

/// Where certificates count for names that no file lists, a file can still say who is kept out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_known_by_its_certificate_alone_can_be_revoked() {
    let broker = SecuredBroker::with_tokens_over_tls()
        .takes_certificates()
        .nameserver_flags(&["--certificates", "any"])
        .worker("w1", &[])
        .await;
    broker
        .keys
        .issue("eve", Some(pyroxene_certs::CertificateRole::Admin));
    let flags = [broker.keys.trust(), broker.keys.show("eve")].concat();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let list = [&["list"], &flags[..]].concat();
    broker.run(&list).await.out();
    broker
        .keys
        .users(&["revoke", "eve", "--certificate"])
        .await
        .out();
    broker.hang_up_all();
    eventually("eve is kept out", || async {
        let ran = broker.run(&list).await;
        let is_out = ran.code == Some(4) && ran.stderr.contains("was revoked");
        is_out.then_some(()).ok_or(format!("{ran:?}"))
    })
    .await;
}
