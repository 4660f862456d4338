//! Sessions of browsers at several name servers.

use crate::harness::{
    SecuredBroker, Shim, eventually,
    http::{Answer, Request},
};

/// Logs in at a name server.
async fn log_in(address: &str, user: &str, token: &str) -> Answer {
    let body = format!(r#"{{"user": "{user}", "token": "{token}"}}"#);
    let answer = Request::new(address, "POST", "/v1/login").json(&body);
    let answer = answer.send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// The cookie that a browser sends after a login.
fn cookie(answer: &Answer) -> String {
    let cookie = &answer.headers["set-cookie"];
    cookie.split(';').next().unwrap().to_owned()
}

/// A question that only somebody who has logged in may ask.
fn ask(address: &str, cookie: &str) -> Request {
    Request::new(address, "GET", "/v1/workers").header("cookie", cookie)
}

/// Waits until none of these requests is let in any more.
async fn are_out(requests: &[Request]) {
    eventually("the sessions have ended", || async {
        for request in requests {
            let status = request.send().await.status;
            let is_out = (status == 401).then_some(());
            is_out.ok_or_else(|| format!("{status} of {request:?}"))?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_counts_at_all_name_servers_over_one_store_and_so_does_its_end() {
    let mut broker = SecuredBroker::with_tokens()
        .nameservers(2)
        .one_store()
        .await;
    let addresses = [0, 1].map(|at| broker.nameserver(at).address().to_owned());
    let [first, second] = &addresses;
    let token = broker.keys.token("ana");
    let login = log_in(first, "ana", &token).await;
    let left = cookie(&login);
    let stays = cookie(&log_in(first, "ana", &token).await);
    assert!(!left.contains(&token) && !login.body.contains(&token));
    for address in &addresses {
        assert_eq!(ask(address, &left).send().await.status, 200);
    }
    let whoami = Request::new(second, "GET", "/v1/whoami").header("cookie", &left);
    assert_eq!(whoami.send().await.json()["user"], "ana");
    let events = Request::new(second, "GET", "/v1/events").header("cookie", &left);
    let events = events.follow().await;

    let logout = Request::new(first, "POST", "/v1/logout").header("cookie", &left);
    let logout = logout.json("").send().await;
    assert_eq!(logout.status, 204, "{logout:?}");
    assert!(logout.headers["set-cookie"].contains("Max-Age=0"));
    assert_eq!(ask(first, &left).send().await.status, 401);
    are_out(&[ask(second, &left)]).await;
    events.end().await;
    // The path that tells who asks takes an ended session for none.
    assert_eq!(whoami.send().await.json()["user"], serde_json::Value::Null);

    // A restart ends no session, and brings none back.
    broker.nameserver(0).kill().await;
    assert_eq!(ask(second, &stays).send().await.status, 200);
    broker.nameserver(0).restart().await;
    assert_eq!(ask(first, &stays).send().await.status, 200);
    assert_eq!(ask(first, &left).send().await.status, 401);
}

/// Ends a session.
async fn log_out(address: &str, cookie: &str) {
    let logout = Request::new(address, "POST", "/v1/logout").header("cookie", cookie);
    assert_eq!(logout.json("").send().await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_ended_stays_so_when_the_clock_is_set() {
    const HOUR_MS: i64 = 3_600_000;
    let machine = Shim::new();
    let broker = SecuredBroker::with_tokens().nameservers(2).one_store();
    let mut broker = broker.on(&machine).await;
    let addresses = [0, 1].map(|at| broker.nameserver(at).address().to_owned());
    let token = broker.keys.token("ana");
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(cookie(&log_in(&addresses[0], "ana", &token).await));
    }
    // Each later logout that the other name server knows of shows that it has asked the store since the clock was set.
    for (number, ahead_ms) in [0, 14 * HOUR_MS, 30 * HOUR_MS, -30 * HOUR_MS]
        .into_iter()
        .enumerate()
    {
        machine.clock_is_ahead_by(ahead_ms);
        log_out(&addresses[0], &sessions[number]).await;
        are_out(&[ask(&addresses[1], &sessions[number])]).await;
        for address in &addresses {
            for session in &sessions[..=number] {
                let status = ask(address, session).send().await.status;
                assert_eq!(status, 401, "{number} {ahead_ms}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_user_its_token_and_the_key_that_has_signed_it() {
    let mut broker = SecuredBroker::with_tokens()
        .nameservers(2)
        .one_store()
        .await;
    let addresses = [0, 1].map(|at| broker.nameserver(at).address().to_owned());
    for change in ["remove", "rotate", "revoke", "rotate-key"] {
        let token = broker.keys.add("eve", "user", &[]).await;
        broker.hang_up_all();
        for address in &addresses {
            let asked = Request::new(address, "GET", "/v1/workers").basic("eve", &token);
            eventually("eve is let in", || async {
                let status = asked.send().await.status;
                (status == 200).then_some(()).ok_or(status.to_string())
            })
            .await;
        }
        let session = cookie(&log_in(&addresses[0], "eve", &token).await);
        let asked: Vec<_> = addresses
            .iter()
            .map(|address| ask(address, &session))
            .collect();
        for request in &asked {
            assert_eq!(request.send().await.status, 200, "{change}");
        }
        let of_eve = Some("eve").filter(|_| change != "rotate-key");
        let arguments: Vec<_> = [change].into_iter().chain(of_eve).collect();
        broker.keys.users(&arguments).await.out();
        are_out(&asked).await;
        broker.keys.users(&["remove", "eve"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_a_name_server_without_a_store_counts_there_alone_until_it_ends() {
    let mut broker = SecuredBroker::with_tokens().nameservers(2).await;
    let addresses = [0, 1].map(|at| broker.nameserver(at).address().to_owned());
    let session = cookie(&log_in(&addresses[0], "ana", &broker.keys.token("ana")).await);
    assert_eq!(ask(&addresses[0], &session).send().await.status, 200);
    assert_eq!(ask(&addresses[1], &session).send().await.status, 401);
    broker.nameserver(0).kill().await;
    broker.nameserver(0).restart().await;
    assert_eq!(ask(&addresses[0], &session).send().await.status, 401);
}
