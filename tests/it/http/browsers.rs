//! A browser is a hostile neighbour, even on loopback.

use super::request;
use crate::harness::Broker;

#[tokio::test]
async fn pages_of_other_origins_and_foreign_names_are_refused_before_anything_else() {
    let flags = ["--http-host", "broker.example"];
    let broker = Broker::start().nameserver_flags(&flags).workers(1).await;
    let call = || request(&broker, "POST", "/v1/objects/echo/echo").json("[1]");
    let address = broker.addresses();
    let own = format!("http://{address}");
    let refused = [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    for (name, value) in refused {
        let answer = call().header(name, value).send().await;
        assert_eq!(
            (answer.status, &*answer.problem()),
            (403, "forbidden"),
            "{name}: {value}"
        );
    }
    let allowed = [
        ("origin", &*own),
        ("host", "localhost:1"),
        ("host", "broker.example"),
    ];
    for (name, value) in allowed {
        assert_eq!(
            call().header(name, value).send().await.status,
            200,
            "{name}: {value}"
        );
    }
}

#[tokio::test]
async fn every_answer_keeps_browsers_from_loading_anything_else() {
    let broker = Broker::start().await;
    for path in ["/", "/v1/workers", "/v1/nothing"] {
        let answer = request(&broker, "GET", path).send().await;
        let policy = &answer.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'self'"), "{path}: {policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}

#[tokio::test]
async fn the_dashboard_is_at_the_root_and_under_every_address_of_its_own() {
    let broker = Broker::start().await;
    for path in ["/", "/tasks/some-id"] {
        let page = request(&broker, "GET", path)
            .header("accept", "text/html")
            .send()
            .await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.body.contains("<title>Pyroxene"), "{path}");
    }
    let page = request(&broker, "GET", "/").send().await;
    let tag = &page.headers["etag"];
    let again = request(&broker, "GET", "/")
        .header("if-none-match", tag)
        .send()
        .await;
    assert_eq!(again.status, 304);
    let missing = request(&broker, "GET", "/assets/nothing.js").send().await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn http_can_be_turned_off() {
    let broker = Broker::start().nameserver_flags(&["--http", "off"]).await;
    let answer = request(&broker, "GET", "/v1/workers").send().await;
    assert_eq!(answer.status, 400);
}
