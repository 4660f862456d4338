//! Programs in Python where callers have to log in.

use super::{balanced::security_server, pyroxene, python::Python, test_objects};
use crate::{
    harness::{Broker, Process, SecuredBroker, in_time, seconds, turn},
    http::request as http_request,
};
use pyroxene_common::tls::TlsClient;
use pyroxene_pyro::{client::PyroConnection, uri::PyroUri};
use std::{collections::BTreeSet, path::Path, process::Stdio};

/// The environment of a Python program that speaks TLS, with a certificate if one is named.
pub(super) fn tls(
    broker: &SecuredBroker,
    certificate: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("PYRO_SSL", "1".to_owned()),
        ("PYRO_SSL_CACERTS", broker.keys.path("ca.crt")),
    ];
    if let Some(name) = certificate {
        let file = |extension| broker.keys.path(&format!("{name}.{extension}"));
        variables.push(("PYRO_SSL_CLIENTCERT", file("crt")));
        variables.push(("PYRO_SSL_CLIENTKEY", file("key")));
    }
    variables
}

impl Python {
    /// Starts calls of `echo` as somebody.
    fn caller(
        &self,
        broker: &SecuredBroker,
        certificate: Option<&str>,
        login: Option<(&str, &str)>,
    ) -> Process {
        let location = broker.addresses();
        let mut arguments = vec![&*location];
        arguments.extend(login.iter().flat_map(|(user, token)| [*user, *token]));
        let variables = tls(broker, certificate);
        self.start_with(broker, "secured_calls.py", &arguments, &variables)
    }

    /// What such calls have said when they have ended.
    async fn called(
        &self,
        broker: &SecuredBroker,
        certificate: Option<&str>,
        login: Option<(&str, &str)>,
    ) -> String {
        let mut caller = self.caller(broker, certificate, login);
        caller.end_input();
        in_time(seconds(60), "calls", caller.rest_of_output()).await
    }
}

fn says(said: &str, line: &str) {
    assert!(said.lines().any(|found| found == line), "{line}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_say_who_pythons_programs_are() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = SecuredBroker::with_certificates().worker("w1", &[]).await;
    let said = python.called(&broker, Some("ana"), None).await;
    says(&said, "who ('ana', 'user')");
    says(&said, "echo x");
    says(
        &said,
        "register SecurityError: 'ana' (user) may not call directory.register",
    );
    let said = python.called(&broker, Some("oli"), None).await;
    says(
        &said,
        "who SecurityError: 'oli' (observer) may not call echo.whoami",
    );
    let said = python.called(&broker, Some("host"), None).await;
    says(&said, "register None");
    says(&said, "remove 1");
    let said = python.called(&broker, None, None).await;
    assert!(
        said.contains("lookup ConnectionClosedError") || said.contains("lookup CommunicationError"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_in_the_handshake_say_who_pythons_programs_are() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = SecuredBroker::with_tokens_over_tls()
        .worker("w1", &[])
        .await;
    broker.add_user("bo", "user", &["echo.whoami"]).await;
    let (ana, bo) = (broker.keys.token("ana"), broker.keys.token("bo"));
    let said = python.called(&broker, None, Some(("ana", &ana))).await;
    says(&said, "who ('ana', 'user')");
    says(&said, "echo x");
    let mut steady = python.caller(&broker, None, Some(("bo", &bo)));
    let mut said = String::new();
    while !said.contains("remove") {
        let line = in_time(seconds(60), "calls", steady.line()).await;
        said = format!("{said}{line}\n");
    }
    says(&said, "who ('bo', 'user')");
    says(
        &said,
        "echo SecurityError: 'bo' (user) may not call echo.echo",
    );

    // Whoever is refused reads why.
    let said = python.called(&broker, None, Some(("ana", &bo))).await;
    assert!(
        said.contains("rejected: the login of 'ana' failed: the user or the token is wrong")
            || said.contains("rejected: the user or the token is wrong"),
        "{said}"
    );
    let said = python.called(&broker, None, None).await;
    assert!(
        said.contains("rejected: it wants to know who calls"),
        "{said}"
    );

    // Whoever was revoked is out, also over a connection that is open.
    broker.keys.users(&["revoke", "bo"]).await.out();
    broker.hang_up_all();
    let refused = async {
        loop {
            steady.write(&["?".to_owned()]).await;
            let line = steady.line().await;
            if line.contains("rejected") {
                return line;
            }
        }
    };
    let line = in_time(seconds(60), "bo is refused", refused).await;
    assert!(line.starts_with("again CommunicationError"), "{line}");
    // Others go on.
    let said = python.called(&broker, None, Some(("ana", &ana))).await;
    says(&said, "who ('ana', 'user')");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_in_python_that_lets_nobody_in_says_why() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = Broker::start().workers(0).await;
    let _server = python.server(&broker, "doorkeeper.py", &[]).await;
    let called = ["call", "Example.closed", "ping", "--timeout", "2s"];
    let refused = pyroxene(&broker, &called).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("no entry for you"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_in_python_are_found_and_called_over_tls_with_certificates() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let broker = SecuredBroker::with_certificates().worker("w1", &[]).await;
    let server = security_server(&broker);
    let mut warehouses: Vec<Process> = Vec::new();
    for name in ["p1", "p2", "p3"] {
        let mut warehouse = python.start_with(&broker, "warehouse.py", &[name], &server);
        let line = in_time(seconds(60), "a warehouse", warehouse.line()).await;
        assert!(line.starts_with("ready"), "{line} {}", warehouse.log());
        warehouses.push(warehouse);
    }
    let who = async || {
        let called = broker.run_as("ana", &["call", "Example.warehouse", "who"]);
        called.await.out().to_owned()
    };
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        seen.insert(who().await);
    }
    warehouses[0].kill().await;
    for _ in 0..6 {
        assert_ne!(who().await, "p1");
    }
    // Without a certificate nobody gets in.
    let words = [
        &["call", "Example.warehouse", "who"][..],
        &["--timeout", "2s"],
    ]
    .concat();
    let trust = broker.keys.trust();
    let trust: Vec<&str> = trust.iter().map(String::as_str).collect();
    let refused = broker.run(&[&words[..], &trust].concat()).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
}

/// A program in Python knows nothing of patterns: whoever calls it for somebody asks for the rights.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_at_objects_of_pyro_are_those_of_the_caller_of_the_gateway() {
    let broker = SecuredBroker::with_tokens().await;
    for (name, role, allow) in [
        ("uma", "user", "vault"),
        ("bo", "user", "vault.echo"),
        ("nina", "user", "nothing"),
        ("otto", "observer", "vault"),
    ] {
        broker.add_user(name, role, &[allow]).await;
    }
    let host = test_objects::serve().await;
    let uri = format!("PYRO:something-1@{}", host.local_addr());
    let registered = broker.run_as("root", &["register", "vault", &uri]).await;
    assert_eq!(registered.code, Some(0), "{registered:?}");
    for (name, method, body, status) in [
        ("root", "multiply", r#"{"*": [6, 7]}"#, 200),
        ("uma", "multiply", r#"{"*": [6, 7]}"#, 200),
        ("bo", "echo", r#"{"*": [1]}"#, 200),
        ("bo", "multiply", r#"{"*": [6, 7]}"#, 403),
        ("nina", "multiply", r#"{"*": [6, 7]}"#, 403),
        ("nina", "generator", "{}", 403),
        ("otto", "multiply", r#"{"*": [6, 7]}"#, 403),
    ] {
        let path = format!("/v1/objects/vault/{method}");
        let request = http_request(&broker, "POST", &path).basic(name, &broker.keys.token(name));
        let answer = request.json(body).send().await;
        assert_eq!(answer.status, status, "{name} {method}: {answer:?}");
    }
    let own = broker.addresses();
    let itself = format!("PYRO:Pyro.NameServer@{own}");
    let refused = broker
        .run_as("root", &["register", "itself", &itself])
        .await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(
        refused.stderr.contains("is this name server"),
        "{refused:?}"
    );
}

/// Runs a command that makes a certificate. Whether there is such a command.
async fn openssl(dir: &Path, words: &str) -> bool {
    let mut command = tokio::process::Command::new("openssl");
    command
        .args(words.split(' '))
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_whose_host_is_only_its_common_name_is_refused() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = Broker::start().workers(0).await;
    let dir = broker.dir().to_owned();
    for words in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=authority -days 2",
        "req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=localhost",
        "x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out leaf.crt -days 2",
    ] {
        if !openssl(&dir, words).await {
            eprintln!("SKIPPED, because there is no openssl");
            return;
        }
    }
    let file = |name: &str| dir.join(name).display().to_string();
    let variables = [
        ("PYRO_SSL", "1".to_owned()),
        ("PYRO_SSL_SERVERCERT", file("leaf.crt")),
        ("PYRO_SSL_SERVERKEY", file("leaf.key")),
        ("PYRO_SSL_CACERTS", file("ca.crt")),
    ];
    let mut server = python.start_with(&broker, "bare_daemon.py", &[], &variables);
    let line = in_time(seconds(60), "a daemon", server.line()).await;
    let uri = PyroUri::parse(line.strip_prefix("ready ").unwrap()).unwrap();
    let tls = TlsClient::new(dir.join("ca.crt"), None).unwrap();
    let connecting = PyroConnection::connect(&uri, Some(&tls)).await;
    let refused = connecting.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
    // Python itself takes it for that host.
    let client = python.start_with(&broker, "bare_client.py", &[&uri.to_string()], &variables);
    let mut client = client;
    let said = in_time(seconds(60), "a call", client.rest_of_output()).await;
    assert_eq!(said.trim(), "pong");
}
