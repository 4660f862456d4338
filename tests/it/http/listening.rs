//! HTTP at an address of its own.

use crate::harness::{Broker, eventually, http::Request};

/// The address of the dashboard, which the name server logs.
async fn dashboard(broker: &mut Broker) -> String {
    let nameserver = broker.nameserver(0);
    eventually("the address of the dashboard", || {
        let log = nameserver.process().log();
        let found = log.split("http://").nth(1);
        let found = found.and_then(|rest| rest.split('/').next());
        let found = found.map(str::to_owned).ok_or(log.clone());
        async move { found }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_at_an_address_of_its_own_is_not_on_the_name_servers_port() {
    let mut broker = Broker::start()
        .nameserver_flags(&["--http-listen", "127.0.0.1:0"])
        .workers(1)
        .await;
    let own = dashboard(&mut broker).await;
    assert_ne!(own, broker.addresses());
    let call = Request::new(&own, "POST", "/v1/objects/calculator/factorial");
    let answer = call.json(r#"{"n": 5}"#).send().await;
    assert_eq!((answer.status, &*answer.body), (200, r#""120""#));
    let page = Request::new(&own, "GET", "/").send().await;
    assert!(page.headers["content-type"].starts_with("text/html"));
    // The port of the name server speaks its own protocol alone.
    let refused = Request::new(&broker.addresses(), "GET", "/healthz");
    let refused = tokio::spawn(async move { refused.send().await.status }).await;
    // It hangs up, or says what it speaks.
    assert!(matches!(refused, Err(_) | Ok(400)), "{refused:?}");
    let pinged = broker.run(&["ping", "--json"]).await.json();
    assert_eq!(pinged[0]["ok"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_http_the_name_server_answers_no_request() {
    let broker = Broker::start().nameserver_flags(&["--http", "off"]).await;
    let refused = Request::new(&broker.addresses(), "GET", "/healthz");
    let refused = tokio::spawn(async move { refused.send().await.status }).await;
    // It hangs up, or says what it speaks.
    assert!(matches!(refused, Err(_) | Ok(400)), "{refused:?}");
}
