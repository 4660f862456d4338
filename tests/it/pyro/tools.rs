//! Pyro's own gateway to HTTP and its echo server, over this broker.

use super::{Python, pyroxene};
use crate::harness::{Broker, Process, Ran, in_time, seconds};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

impl Python {
    /// Starts a tool of Pyro, and waits for a line with this text.
    async fn tool(&self, broker: &Broker, words: &[&str], sign: &str) -> (Process, String) {
        let mut command = self.command(broker, words[0]);
        command.args(&words[1..]);
        let mut process = Process::start(words[0], command, broker.dir());
        let reading = async {
            loop {
                let line = process.line().await;
                if line.contains(sign) {
                    return line;
                }
            }
        };
        let line = in_time(seconds(60), words[0], reading).await;
        (process, line)
    }

    /// Runs Pyro's tool for name servers with an answer to its question.
    async fn nsc_answering(&self, broker: &Broker, words: &[&str], answer: &str) -> Ran {
        let addresses = broker.addresses();
        let (host, port) = addresses.rsplit_once(':').unwrap();
        let mut command = self.command(broker, "pyro5-nsc");
        command.args(["-n", host, "-p", port]).args(words);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(answer.as_bytes()).await.unwrap();
        drop(input);
        let output = in_time(seconds(60), "pyro5-nsc", child.wait_with_output()).await;
        let output = output.unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyros_gateway_calls_objects_of_workers_and_of_python() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = Broker::start().workers(1).await;
    let _server = python.server(&broker, "greeting_server.py", &[]).await;
    let exposed = "echo|calculator|example|Pyro.NameServer";
    let words = [
        "pyro5-httpgateway",
        "-H",
        "127.0.0.1",
        "-p",
        "0",
        "-e",
        exposed,
    ];
    let (_gateway, line) = python.tool(&broker, &words, "gateway running on").await;
    let base = line.rsplit(' ').next().unwrap();
    let said = python.script(&broker, "http_calls.py", &[base]).await;
    let said = said.out();
    for line in [
        r#"python 200 "Hello, Ana. Here is your fortune message:\nTomorrow's lucky number is 12345678.""#,
        r#"worker 200 "hello""#,
        "type True",
        "meta True",
        "index 200 True",
        "names True",
        "missing True",
        "oneway 200 ",
        // The gateway reads no parameters from the body of a form.
        "form True",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyros_echo_server_is_an_object_like_any_other() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = Broker::start().workers(0).await;
    let words = ["pyro5-echoserver", "-H", "127.0.0.1", "-n"];
    let (_server, _) = python.tool(&broker, &words, "echoserver running").await;
    let call = async |words: &[&str]| {
        let words: Vec<&str> = ["call", "test.echoserver"]
            .iter()
            .chain(words)
            .copied()
            .collect();
        pyroxene(&broker, &words).await
    };
    assert_eq!(call(&["echo", "message=hello"]).await.out(), "hello");
    assert_eq!(call(&["generator"]).await.out(), "one\ntwo\nthree");
    assert_eq!(call(&["nan"]).await.out(), "null");
    let failed = call(&["error_with_text"]).await;
    assert!(
        failed
            .stderr
            .contains("ValueError: the message of the error"),
        "{failed:?}"
    );
    let listed = python.nsc(&broker, &["list", "test."]).await;
    assert!(
        listed
            .stdout
            .contains("test.echoserver --> PYRO:test.echoserver@127.0.0.1:")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyro5_nsc_asks_before_it_removes_many() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = Broker::start().workers(0).await;
    let nsc = async |words: &[&str]| python.nsc(&broker, words).await;
    for name in ["many.a", "many.b", "other"] {
        nsc(&["register", name, "PYRO:o@host.example:1"]).await;
    }
    nsc(&["setmeta", "other", "t1", "t2"]).await;
    assert_eq!(
        nsc(&["setmeta", "other"]).await.stdout,
        "Metadata cleared\n"
    );
    assert_eq!(
        nsc(&["lookup", "other"]).await.stdout,
        "PYRO:o@host.example:1\n"
    );
    let words = ["removematching", "many"];
    let kept = python.nsc_answering(&broker, &words, "n\n").await;
    assert!(!kept.stdout.contains("removed"), "{kept:?}");
    let removed = python.nsc_answering(&broker, &words, "y\n").await;
    assert!(
        removed.stdout.ends_with("2 items removed.\n"),
        "{removed:?}"
    );
    assert_eq!(
        nsc(&["yplookup_all", "nosuch"]).await.stdout,
        "--------START LIST  - searched by metadata\n--------END LIST  - searched by metadata\n"
    );
    assert_eq!(nsc(&["yplookup_any", "nosuch"]).await.code, Some(0));
    assert_eq!(nsc(&["lookup"]).await.code, Some(1));
    assert_eq!(nsc(&["nosuch"]).await.code, Some(2));
}
