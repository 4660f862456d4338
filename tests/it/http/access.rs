//! Who may do what: an admin, a user who may call one object, and nobody.

use super::request;
use crate::harness::{SecuredBroker, eventually, http::Request};

/// What each path answers an admin, a user who may call `calculator` alone, and nobody.
const PATHS: [(&str, &str, &str, [u16; 3]); 23] = [
    ("GET", "/v1/objects", "", [200, 200, 401]),
    ("GET", "/v1/objects/calculator", "", [200, 200, 401]),
    (
        "POST",
        "/v1/objects/calculator/factorial",
        "[5]",
        [200, 200, 401],
    ),
    ("POST", "/v1/objects/echo/echo", "[5]", [200, 403, 401]),
    ("GET", "/v1/workers", "", [200, 200, 401]),
    ("POST", "/v1/workers/w9/drain", "", [404, 403, 401]),
    ("GET", "/v1/nameservers", "", [200, 200, 401]),
    ("GET", "/v1/clients", "", [200, 200, 401]),
    (
        "POST",
        "/v1/tasks",
        r#"{"object": "calculator", "method": "factorial", "args": {"n": 5}}"#,
        [201, 201, 401],
    ),
    (
        "POST",
        "/v1/tasks",
        r#"{"object": "echo", "method": "echo", "args": {"data": 5}}"#,
        [201, 403, 401],
    ),
    ("GET", "/v1/tasks", "", [200, 200, 401]),
    ("GET", "/v1/tasks/counts", "", [200, 200, 401]),
    ("GET", "/v1/batches/batch-12345678", "", [404, 404, 401]),
    ("GET", "/v1/schedules", "", [200, 200, 401]),
    ("GET", "/v1/topics", "", [200, 403, 401]),
    (
        "POST",
        "/v1/topics/door/entries",
        r#"{"text": "x"}"#,
        [201, 403, 401],
    ),
    ("GET", "/v1/topics/door/entries", "", [200, 403, 401]),
    ("GET", "/v1/stats", "", [200, 200, 401]),
    ("GET", "/openapi.json", "", [200, 200, 401]),
    ("GET", "/v1/whoami", "", [200, 200, 200]),
    ("GET", "/healthz", "", [200, 200, 200]),
    ("GET", "/metrics", "", [200, 200, 401]),
    ("GET", "/", "", [200, 200, 200]),
];

#[tokio::test]
async fn every_path_has_the_rights_of_its_caller() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    broker.add_user("uma", "user", &["calculator"]).await;
    let (root, uma) = (broker.keys.token("root"), broker.keys.token("uma"));
    for (method, path, body, expected) in PATHS {
        let send = |request: Request| async move {
            let answer = match method {
                "GET" => request.send().await,
                _ => request.json(body).send().await,
            };
            (answer.status, answer.body)
        };
        let callers = [
            request(&broker, method, path).basic("root", &root),
            request(&broker, method, path).basic("uma", &uma),
            request(&broker, method, path),
        ];
        for (caller, expected) in callers.into_iter().zip(expected) {
            let (status, body) = send(caller.clone()).await;
            assert_eq!(status, expected, "{caller:?}: {body}");
        }
    }
    // A user does not see who else was here.
    for (user, token, sees_root) in [("root", &root, true), ("uma", &uma, false)] {
        let clients = request(&broker, "GET", "/v1/clients").basic(user, token);
        let clients = clients.send().await.json();
        let is_listed = |name: &str| {
            let mut clients = clients.as_array().unwrap().iter();
            clients.any(|one| one["name"] == name)
        };
        assert!(is_listed("uma"), "{clients}");
        assert_eq!(is_listed("root"), sees_root, "{clients}");
    }
}

#[tokio::test]
async fn a_browser_logs_in_and_out_and_a_revoked_user_is_out_at_once() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    broker.add_user("uma", "user", &["calculator"]).await;
    let token = broker.keys.token("uma");
    let login = |token: &str| {
        let body = format!(r#"{{"user": "uma", "token": "{token}"}}"#);
        request(&broker, "POST", "/v1/login").json(&body)
    };
    let wrong = login(&broker.keys.token("root")).send().await;
    assert_eq!((wrong.status, &*wrong.problem()), (401, "unauthenticated"));
    let answer = login(&token).send().await;
    assert_eq!(
        (answer.status, &answer.json()["user"]),
        (200, &"uma".into())
    );
    let cookie = answer.headers["set-cookie"].clone();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let call = request(&broker, "POST", "/v1/objects/calculator/factorial").json("[5]");
    let with_cookie = call.clone().header("cookie", cookie);
    assert_eq!(with_cookie.send().await.status, 200);
    let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
    let with_ticket = call
        .clone()
        .header("authorization", &format!("Bearer {ticket}"));
    assert_eq!(with_ticket.send().await.status, 200);
    let whoami = request(&broker, "GET", "/v1/whoami")
        .header("cookie", cookie)
        .send()
        .await;
    assert_eq!(whoami.json()["role"], "user");
    let logout = request(&broker, "POST", "/v1/logout")
        .header("cookie", cookie)
        .json("");
    assert_eq!(logout.send().await.status, 204);
    assert_eq!(with_cookie.send().await.status, 401);

    let again = login(&token).send().await.headers["set-cookie"].clone();
    let with_cookie = call.header("cookie", again.split(';').next().unwrap());
    assert_eq!(with_cookie.send().await.status, 200);
    broker.keys.users(&["revoke", "uma"]).await;
    broker.hang_up_all();
    eventually("uma is out", || async {
        match with_cookie.send().await.status {
            401 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn wrong_tokens_are_counted_as_failed_logins() {
    let broker = SecuredBroker::with_tokens().await;
    let wrong = broker.keys.token("root");
    let mut seen = Vec::new();
    for _ in 0..40 {
        let answer = request(&broker, "GET", "/v1/workers")
            .basic("ana", &wrong)
            .send()
            .await;
        seen.push(answer.status);
        if answer.status == 429 {
            assert!(answer.headers.contains_key("retry-after"));
            return;
        }
    }
    panic!("no limit: {seen:?}");
}

#[tokio::test]
async fn a_stranger_sends_little_and_a_caller_any_amount() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let long = "x".repeat(1 << 20);
    // A login takes no part of the memory for the bodies of calls.
    let login = format!(r#"{{"user": "{long}", "token": ""}}"#);
    for (path, body) in [("/v1/login", &*login), ("/v1/logout", &*login)] {
        let answer = request(&broker, "POST", path).json(body).send().await;
        assert_eq!((answer.status, &*answer.problem()), (413, "too-large"));
    }
    let call = request(&broker, "POST", "/v1/objects/echo/echo").json(&format!("[\"{long}\"]"));
    let answer = call.basic("root", &broker.keys.token("root")).send().await;
    assert_eq!((answer.status, answer.json()), (200, long.into()));
}
