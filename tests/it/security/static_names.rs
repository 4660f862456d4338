//! Static names lead to workers, and not to the name server's own objects.

use crate::harness::{SecuredBroker, Wiretap, eventually, eventually_within, seconds, within};
use pyroxene_client::NameServerClient;
use pyroxene_common::interfaces::directory::DirectoryError;

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
        // It is no matter of time.
        let patient = [&["call", "--timeout", "30s"], &call[..]].concat();
        let ran = broker.run_as(user, &patient).await;
        let said = ran.error(3);
        let expected = "its static name leads to no worker";
        assert!(said.contains(expected), "{ran:?}");
        let expected = "this is a name server and no worker, and the hello is for what listens at";
        assert_eq!(said.matches(expected).count(), 1, "tried once: {ran:?}");
        assert!(ran.hint().contains("pyroxene register"), "{ran:?}");
    }
    // Nor does the name server call itself for a task.
    let submit = [&["submit"], &call[..], &["--max-attempts", "1"]].concat();
    let ran = broker.run_as("root", &submit).await;
    let id = ran.out().to_owned();
    let wait = ["tasks", "wait", &id, "--timeout", "3s"];
    let ran = broker.run_as("root", &wait).await;
    assert_ne!(ran.code, Some(0), "{ran:?}");
    let shown = broker.run_as("root", &["tasks", "show", &id]).await;
    assert!(
        shown.out().contains("this is a name server and no worker"),
        "{shown:?}"
    );
    let listed = broker.run_as("root", &["list", "y", "--json"]).await.json();
    assert_eq!(listed, serde_json::json!([]));
}

/// Beside a worker it is one more address that cannot be reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_to_the_worker_that_hosts_it_beside_a_static_name_that_leads_astray() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let forwarded = Wiretap::before(Some(&broker.addresses())).await;
    let uri = format!("text@{}", forwarded.address());
    broker
        .run_as("root", &["register", "text", &uri])
        .await
        .out();
    for _ in 0..10 {
        let call = ["call", "text", "uppercase", "text=x"];
        broker.run_as("ana", &call).await.out();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_name_does_not_lead_to_another_name_server_of_the_store() {
    let mut broker = SecuredBroker::with_tokens()
        .nameservers(2)
        .one_store()
        .await;
    let addresses: Vec<String> = broker.addresses().split(',').map(str::to_owned).collect();
    for target in &addresses {
        // They hear of each other within seconds.
        eventually("both refuse it", || async {
            for nameserver in &addresses {
                let uri = format!("directory@{target}");
                let config = broker.config_at(nameserver, "host");
                let directory =
                    NameServerClient::new(config.endpoints()[0].clone(), &config).directory();
                let registered =
                    directory.register(within(seconds(5)), "x".to_owned(), uri, vec![], false);
                let Err(DirectoryError::Invalid { sentence }) = registered.await.unwrap() else {
                    return Err(format!("{nameserver} takes {target}"));
                };
                let expected = match nameserver == target {
                    true => "is this name server",
                    false => "is a name server over the same store",
                };
                assert!(sentence.contains(expected), "{sentence}");
            }
            Ok(())
        })
        .await;
    }
    // One that is gone is no name server any more, once it is missed: its port is anybody's.
    broker.nameserver(1).kill().await;
    let target = addresses[1].clone();
    eventually_within(seconds(30), "it is forgotten", || async {
        let config = broker.config_at(&addresses[0], "host");
        let directory = NameServerClient::new(config.endpoints()[0].clone(), &config).directory();
        let uri = format!("directory@{target}");
        let registered = directory.register(within(seconds(5)), "x".to_owned(), uri, vec![], false);
        registered.await.unwrap().map_err(|error| error.to_string())
    })
    .await;
}
