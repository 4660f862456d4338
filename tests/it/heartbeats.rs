//! Heartbeats beside work that takes long, and calls that end workers.

use crate::harness::{Broker, in_time, seconds, turn, within};
use futures::future::join_all;
use pyroxene_client::{CallError, ClientConfig, NameServerClient as Directory};
use pyroxene_common::{interfaces::directory::Registration, message::Load, values::Payload};
use pyroxene_nameserver::{NameServer, NameServerConfig};
use pyroxene_objects::{
    HostBuiltins,
    interfaces::echo::{Echo, echo::EchoRequest},
};
use pyroxene_worker::Worker;
use std::{sync::mpsc, time::Duration};
use tokio::{runtime::Runtime, sync::oneshot};

/// A runtime with one thread.
struct OneThread(Option<Runtime>);

impl OneThread {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Self(Some(runtime.unwrap()))
    }

    async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let runtime = self.0.as_ref().unwrap();
        in_time(seconds(20), "the runtime's task", runtime.spawn(future))
            .await
            .unwrap()
    }

    /// Keeps the thread from everything else, as a method may, until what is returned is dropped.
    async fn keep_busy(&self) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        let (began, has_begun) = oneshot::channel();
        self.0.as_ref().unwrap().spawn(async move {
            began.send(()).unwrap();
            // It ends with an error, when the other end is dropped.
            let _ = released.recv();
        });
        in_time(seconds(20), "the work begins", has_begun)
            .await
            .unwrap();
        release
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn any_port() -> NameServerConfig {
    NameServerConfig::new("127.0.0.1:0".parse().unwrap())
}

fn directory(address: &str) -> Directory {
    let config = ClientConfig::new(address).unwrap();
    Directory::new(config.endpoints()[0].clone(), &config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_answers_heartbeats_while_its_runtime_is_busy() {
    let runtime = OneThread::start();
    let nameserver = runtime.run(NameServer::bind(any_port())).await.unwrap();
    let busy = runtime.keep_busy().await;

    let directory = directory(&nameserver.local_addr().to_string()).directory();
    let registration = Registration {
        worker: "w1".to_owned(),
        incarnation: 1,
        endpoint: "127.0.0.1:1".to_owned(),
        pid: 1,
        host: "here".to_owned(),
        capacity: 1,
        ttl_ms: 60_000,
        objects: Vec::new(),
    };
    let lease = directory
        .open(within(seconds(10)), registration, None)
        .await;
    let session = lease.unwrap().unwrap().session;
    for _ in 0..10 {
        let renewed = directory.renew(within(seconds(10)), session, Load::default());
        renewed.await.unwrap().unwrap();
    }
    drop(busy);
    runtime
        .run(nameserver.shutdown(Duration::from_secs(1)))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_keeps_its_lease_while_a_method_keeps_its_runtime_busy() {
    let _turn = turn().await;
    const LEASE: Duration = Duration::from_secs(3);
    let nameserver = NameServer::bind(any_port()).await.unwrap();
    let address = nameserver.local_addr().to_string();
    let runtime = OneThread::start();
    let worker = Worker::builder()
        .name("w1")
        .nameserver(address.clone())
        .ttl(LEASE)
        .builtins(["echo"])
        .unwrap();
    let worker = runtime.run(worker.bind()).await.unwrap();

    let directory = directory(&address).directory();
    let status = || directory.status(within(seconds(10)));
    let before = status().await.unwrap();
    assert_eq!(before.workers, 1);
    let busy = runtime.keep_busy().await;
    // The lease would be over, were it not renewed.
    tokio::time::sleep(LEASE * 2).await;
    let after = status().await.unwrap();
    assert_eq!(after.workers, 1);
    assert_eq!(after.revision, before.revision, "it was never away");
    drop(busy);
    runtime.run(worker.shutdown(seconds(1))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_is_lost_beside_large_products_in_json() {
    let _turn = turn().await;
    let broker = Broker::start().worker("w1", &["--threads", "1"]).await;
    let client = broker.client().await;
    let directory = client.nameservers()[0].directory();
    let status = || directory.status(within(seconds(20)));
    let before = status().await.unwrap();
    let calculator = client.dynamic("calculator", within(seconds(20))).await;
    let calculator = calculator.unwrap();
    let row = format!("[{}]", vec!["0.123456789"; 150].join(","));
    let matrix = format!("[{}]", vec![row; 150].join(","));
    let arguments = format!(r#"{{"a":{matrix},"b":{matrix}}}"#);
    let calls = (0..12).map(|_| {
        let arguments = arguments.clone();
        calculator.call_with_progress(within(seconds(120)), "matrix_multiply", arguments, None)
    });
    let answers = in_time(seconds(120), "12 products in JSON", join_all(calls)).await;
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!((&*answer.worker, answer.attempts), ("w1", 1));
    }
    let after = status().await.unwrap();
    assert_eq!(after.revision, before.revision, "the worker was away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_messages_take_no_more_memory_than_they_may() {
    let _turn = turn().await;
    const MEBIBYTE: usize = 1024 * 1024;
    let flags = ["--message-memory", "64MiB"];
    let mut broker = Broker::start().worker("w1", &flags).await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        // Each has a connection of its own.
        let client = broker.client().await;
        clients.push(client.object::<Echo>("echo").await.unwrap());
    }
    let calls = clients.iter().map(|echo| async {
        let data = Payload::Bytes(vec![1; 30 * MEBIBYTE].into());
        echo.echo(within(seconds(60)), data).await
    });
    let answers = in_time(seconds(90), "16 large calls", join_all(calls)).await;
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(answered >= 4, "{answered} were answered");
    for error in answers.into_iter().filter_map(Result::err) {
        let sentence = error.to_string();
        assert!(sentence.contains("--message-memory"), "{sentence}");
    }
    let peak = broker.worker("w1").peak_memory();
    assert!(peak < 320 * MEBIBYTE as u64, "it took {peak} bytes");
    // It is as well as before.
    let data = Payload::Bytes(vec![1; 30 * MEBIBYTE].into());
    clients[0].echo(within(seconds(20)), data).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_ended_two_workers_is_not_taken_to_a_third() {
    let mut broker = Broker::start()
        .worker("w1", &["--chaos", "crash-after=1"])
        .worker("w2", &["--chaos", "crash-after=1"])
        .worker("w3", &["--chaos", "crash-after=1"])
        .await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let request = EchoRequest::Whoami {};
    let error = echo.call_traced(within(seconds(20)), &request).await;
    let error = error.unwrap_err();
    assert!(matches!(error, CallError::MaybeRan(_)), "{error}");
    let sentence = error.to_string();
    assert!(
        sentence.contains("2 workers were lost while they ran it"),
        "{sentence}"
    );
    let lost: Vec<&str> = error.attempts().iter().map(|one| &*one.worker).collect();
    assert_eq!(lost.len(), 2, "{sentence}");
    let names = ["w1", "w2", "w3"];
    let spared = names.into_iter().find(|name| !lost.contains(name)).unwrap();
    for name in lost {
        assert_ne!(broker.worker(name).exit().await.code(), Some(0));
        broker.nameserver(0).forgets(name).await;
    }
    broker.nameserver(0).lists(spared).await;
}
