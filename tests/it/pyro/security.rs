//! Programs in Python where callers have to log in.

use super::{pyroxene, python::Python};
use crate::harness::{Broker, Process, SecuredBroker, in_time, seconds};

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
