//! Certificates alone say who somebody is, and what they may do.

use crate::harness::{SecuredBroker, seconds, within};
use pyroxene_common::{access::Role, interfaces::echo::Echo};
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
        assert_eq!(listed.as_array().map(Vec::len), Some(4), "{listed}");
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
