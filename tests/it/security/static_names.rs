//! Static names lead to workers, and not to the name server's own objects.

use crate::harness::{SecuredBroker, Wiretap};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_name_does_not_lead_to_the_name_server_or_to_no_host() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let own = broker.addresses();
    let port = own.rsplit_once(':').unwrap().1;
    for (target, why) in [
        (own.clone(), "is this name server"),
        (format!("localhost:{port}"), "is this name server"),
        (
            format!("0.0.0.0:{port}"),
            "is the address of every interface",
        ),
        (format!("[::]:{port}"), "is the address of every interface"),
    ] {
        let uri = format!("directory@{target}");
        let ran = broker.run_as("host", &["register", "x", &uri]).await;
        assert!(ran.error(2).contains(why), "{ran:?}");
    }
}

/// It may have got there all the same, for example through a forwarded port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_answers_nobody_who_came_by_a_static_name() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let forwarded = Wiretap::before(Some(&broker.addresses())).await;
    let uri = format!("directory@{}", forwarded.address());
    broker.run_as("host", &["register", "x", &uri]).await.out();
    let call = [
        "x",
        "register",
        "name=y",
        "uri=127.0.0.1:1",
        "tags=[]",
        "exclusive=false",
    ];
    for user in ["root", "ana"] {
        let limited = [&["call", "--timeout", "2s"], &call[..]].concat();
        let ran = broker.run_as(user, &limited).await;
        assert!(matches!(ran.code, Some(3 | 5)), "{ran:?}");
        let expected = "this is a name server, and the hello is for what listens at";
        assert!(ran.stderr.contains(expected), "{ran:?}");
    }
    // Nor does the name server call itself for a task.
    let submit = [&["submit"], &call[..], &["--max-attempts", "1"]].concat();
    let ran = broker.run_as("root", &submit).await;
    let id = ran.out().to_owned();
    let wait = ["tasks", "wait", &id, "--timeout", "3s"];
    let ran = broker.run_as("root", &wait).await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
    let listed = broker.run_as("root", &["list", "y", "--json"]).await.json();
    assert_eq!(listed, serde_json::json!([]));
}
