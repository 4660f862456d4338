//! How workers get into the directory, and how clients get to them.

mod commands;
mod nameservers;

use crate::{
    fault_proxy::{FaultProxy, Mode},
    harness::{
        Broker, Load, OBJECTS, Process, Ran, eventually, in_time, ledger, seconds, start_command,
        turn, within,
    },
};
use futures::future::join_all;
use ledger::{Ledger, ledger::LedgerRequest};
use pyroxene_client::{CallError, Policy, Proxy};
use pyroxene_common::hello::{self, HelloRefusal, RefusalCode};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// A worker that knows only these name servers, and is ready once the answer is there.
async fn ready_worker(broker: &Broker, name: &str, nameservers: &str, flags: &[&str]) -> Process {
    let objects = OBJECTS.join(",");
    let common = [
        "--name",
        name,
        "--nameserver",
        nameservers,
        "--objects",
        &objects,
    ];
    let flags = [&["--exit-with-parent"], &common[..], flags].concat();
    let mut process = start_command(broker.dir(), "worker", &flags);
    process.ready(&format!("ready worker {name}")).await;
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_waits_for_its_name_while_a_frozen_predecessor_has_it() {
    let mut broker = Broker::start().workers(1).await;
    broker.worker("w1").freeze();
    let addresses = broker.addresses();
    let successor = ready_worker(&broker, "w1", &addresses, &[]).await;
    let listed = broker.nameserver(0).listed().await.unwrap();
    let pids: Vec<u32> = listed.iter().map(|worker| worker.pid).collect();
    assert_eq!(pids, [successor.pid().cast_unsigned()]);
    assert!(
        successor
            .log()
            .contains("waiting for this to end: the name 'w1' is taken")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_one_name_server_accepts_is_ready_whatever_another_says() {
    let mut broker = Broker::start().nameservers(2).await;
    let first = broker.nameserver(0).address().to_owned();
    let _holder = ready_worker(&broker, "w1", &first, &[]).await;
    let both = broker.addresses();
    let second = ready_worker(&broker, "w1", &both, &["--start-timeout", "0s"]).await;
    let listed = broker.nameserver(1).listed().await.unwrap();
    let pids: Vec<u32> = listed.iter().map(|worker| worker.pid).collect();
    assert_eq!(pids, [second.pid().cast_unsigned()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_an_address_that_they_can_reach() {
    let mut broker = Broker::start().await;
    let everywhere = ["--listen", "0.0.0.0:0", "--insecure"];
    broker.add_worker("w1", &everywhere).await;
    let listed = broker.nameserver(0).listed().await.unwrap();
    assert!(!listed[0].endpoint.starts_with("0.0.0.0"), "{listed:?}");
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let call = echo.call_traced(within(seconds(10)), &EchoRequest::Whoami {});
    assert_eq!(call.await.unwrap().worker, "w1");

    let refused = broker.run(&["register", "sums", "calc@0.0.0.0:4000"]).await;
    assert!(refused.error(2).contains("every interface"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_on_every_interface_tells_addresses_that_lead_somewhere() {
    let broker = Broker::start().await;
    let flags = [
        "--listen",
        "0.0.0.0:0",
        "--workers",
        "1",
        "--insecure",
        "--json",
    ];
    let flags = [&flags[..], &["--store", "memory:", "--exit-with-parent"]].concat();
    let mut up = start_command(broker.dir(), "up", &flags);
    let line: serde_json::Value = serde_json::from_str(&up.line().await).unwrap();
    let nameserver = line["nameservers"][0]["endpoint"].as_str().unwrap();
    assert!(nameserver.starts_with("127.0.0.1:"), "{line}");
    let listed = Ran::in_dir(
        broker.dir(),
        &["workers", "--json", "--nameserver", nameserver],
    )
    .await;
    let endpoint = listed.json()[0]["endpoint"].to_string();
    assert!(!endpoint.contains("0.0.0.0:"), "{listed:?}");
    up.terminate().await;
}

/// Somebody who accepts connections and says nothing.
async fn silent_listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A new client's stub, which uses all workers in turn.
async fn echo_in_turn(broker: &Broker) -> Proxy<Echo> {
    let client = broker
        .client_with(|config| config.policy(Policy::RoundRobin))
        .await;
    client.proxy::<Echo>("echo").await.unwrap()
}

/// Calls of little time, one after the other and many at once: all are answered by `worker`.
async fn all_are_answered_by(broker: &Broker, worker: &str) {
    let request = EchoRequest::Whoami {};
    let echo = echo_in_turn(broker).await;
    for _ in 0..6 {
        let answered = echo.call_traced(within(seconds(4)), &request).await;
        assert_eq!(answered.unwrap().worker, worker);
    }
    let echo = echo_in_turn(broker).await;
    let calls = (0..40).map(|_| echo.call_traced(within(seconds(4)), &request));
    for answered in join_all(calls).await {
        assert_eq!(answered.unwrap().worker, worker);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_accept_and_say_nothing_hold_up_no_call() {
    let _turn = turn().await;
    let (_first, first) = silent_listener().await;
    let (_second, second) = silent_listener().await;
    let broker = Broker::start()
        .worker("silent", &["--advertise", &first])
        .worker("mute", &["--advertise", &second])
        .worker("near", &[])
        .await;
    all_are_answered_by(&broker, "near").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_cannot_open_another_connection_hold_up_no_call() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(3).await;
    for worker in ["w1", "w2"] {
        broker.worker(worker).process().run_out_of_files();
    }
    all_are_answered_by(&broker, "w3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_a_map_do_not_wait_for_a_silent_worker() {
    let _turn = turn().await;
    let (_silent, address) = silent_listener().await;
    let broker = Broker::start()
        .worker("silent", &["--advertise", &address])
        .worker("near", &[])
        .await;
    let lines = "{}\n".repeat(50);
    let arguments = ["map", "echo", "whoami", "--input", "-", "--timeout", "4s"];
    let mapped = in_time(seconds(20), "map", broker.feed(&arguments, &lines)).await;
    assert_eq!(mapped.out().lines().count(), 50, "{mapped:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_sent_is_tried_until_the_deadline_however_often() {
    let _turn = turn().await;
    let proxy = FaultProxy::start().await;
    let mut broker = Broker::start().await;
    broker.add_ledger("far", Some(&proxy.address())).await;
    proxy.lead_to(broker.worker("far").address());
    proxy.set(Mode::HangUp);
    let client = broker.client_with(|config| config.max_attempts(3)).await;
    let ledger = client.proxy::<Ledger>(ledger::OBJECT).await.unwrap();
    let enter = LedgerRequest::Enter { entry: 7, ms: 0 };
    let calling = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.call_traced(within(seconds(40)), &enter).await }
    });
    proxy.hangs_up(8).await;
    proxy.set(Mode::Pass);
    let answered = in_time(seconds(20), "the answer", calling).await.unwrap();
    assert!(answered.unwrap().attempts > 8);
    assert_eq!(broker.ledger_entries(), [7]);
}

/// Refuses this many connections as a worker that has too many does, and then leads to `worker`.
async fn refuse_as_full(listener: TcpListener, times: usize, worker: String) {
    for _ in 0..times {
        let (mut socket, _) = listener.accept().await.unwrap();
        let full = HelloRefusal::new(RefusalCode::Busy, "too many connections");
        // The client may have gone.
        let _ = hello::answer(&mut socket, &Err(full)).await;
    }
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let worker = worker.clone();
        tokio::spawn(async move {
            let mut onward = TcpStream::connect(worker).await.unwrap();
            let _ = copy_bidirectional(&mut socket, &mut onward).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_refused_do_not_use_up_the_attempts_of_a_call() {
    let _turn = turn().await;
    let (listener, address) = silent_listener().await;
    let mut broker = Broker::start().await;
    broker.add_ledger("far", Some(&address)).await;
    let worker = broker.worker("far").address().to_string();
    let refusing = tokio::spawn(refuse_as_full(listener, 8, worker));
    let client = broker.client_with(|config| config.max_attempts(3)).await;
    let ledger = client.proxy::<Ledger>(ledger::OBJECT).await.unwrap();
    let enter = LedgerRequest::Enter { entry: 7, ms: 0 };
    let answered = ledger.call_traced(within(seconds(40)), &enter).await;
    assert!(answered.unwrap().attempts > 8);
    assert_eq!(broker.ledger_entries(), [7]);
    refusing.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_sent_is_not_said_to_have_reached_nobody() {
    let proxy = FaultProxy::start().await;
    let broker = Broker::start()
        .worker("far", &["--advertise", &proxy.address()])
        .await;
    let mut broker = broker;
    proxy.lead_to(broker.worker("far").address());
    let echo = echo_in_turn(&broker).await;
    let whoami = EchoRequest::Whoami {};
    echo.call_traced(within(seconds(5)), &whoami).await.unwrap();
    let load = Load::start(&echo, 1, |_| EchoRequest::Sleep { ms: 60_000 });
    proxy.set(Mode::CutAnswersAfter(1));
    let call = echo.call_traced(within(seconds(2)), &whoami);
    let error = in_time(seconds(10), "the error", call).await.unwrap_err();
    drop(load);
    assert!(!matches!(error, CallError::Unavailable(_)), "{error}");
    assert!(
        !error.to_string().contains("reached no instance"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_on_at_a_worker_that_only_the_name_server_has_lost() {
    let _turn = turn().await;
    let proxy = FaultProxy::start().await;
    let mut broker = Broker::start().await;
    proxy.lead_to(broker.nameserver(0).address());
    let worker = ready_worker(&broker, "w1", &proxy.address(), &[]).await;
    broker.nameserver(0).lists("w1").await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let calling = tokio::spawn(async move {
        let sleep = EchoRequest::Sleep { ms: 8_000 };
        echo.call_traced(within(seconds(30)), &sleep).await
    });
    proxy.set(Mode::Blackhole);
    broker.nameserver(0).forgets("w1").await;
    assert!(!calling.is_finished(), "the call ended before the lease");
    let answered = in_time(seconds(20), "the answer", calling).await.unwrap();
    assert_eq!(answered.unwrap().attempts, 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_for_a_worker_that_is_on_its_way_back_to_the_only_name_server() {
    let _turn = turn().await;
    let proxy = FaultProxy::start().await;
    // Not one that is believed to have just started.
    let mut broker = Broker::start().nameserver_flags(&["--settle", "0s"]).await;
    proxy.lead_to(broker.nameserver(0).address());
    let worker = ready_worker(&broker, "w1", &proxy.address(), &[]).await;
    broker.nameserver(0).lists("w1").await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 2, |_| EchoRequest::Sleep { ms: 5 });
    load.reaches("w1", 10).await;
    proxy.set(Mode::Blackhole);
    broker.nameserver(0).forgets("w1").await;
    eventually("the client knows it too", || async {
        let known = echo.instance_count();
        (known == 0).then_some(()).ok_or(known.to_string())
    })
    .await;
    proxy.set(Mode::Pass);
    load.goes_on_for(50).await;
    load.stop().await.all_succeeded();
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_whose_first_address_is_silent_is_reached_at_another_one() {
    let mut broker = Broker::start()
        .worker("w1", &["--advertise", "manifold:0"])
        .await;
    let mut silent = Vec::new();
    let nameserver = broker.nameserver(0).address().to_owned();
    let worker = broker.worker("w1").address().to_owned();
    for daemon in [&nameserver, &worker] {
        let port = daemon.rsplit_once(':').unwrap().1;
        for address in ["127.0.0.2", "127.0.0.3"] {
            silent.push(
                TcpListener::bind(format!("{address}:{port}"))
                    .await
                    .unwrap(),
            );
        }
    }
    let nameserver = nameserver.replace("127.0.0.1", "manifold");
    // Whatever order the resolver prefers, one order or the other begins with silence.
    for order in [
        ["127.0.0.2", "127.0.0.1", "127.0.0.3"],
        ["127.0.0.3", "127.0.0.2", "127.0.0.1"],
    ] {
        let hosts: String = order
            .map(|address| format!("{address} manifold\n"))
            .concat();
        let call = ["call", "echo", "whoami", "--nameserver", &nameserver];
        let ran = Ran::where_names_mean(broker.dir(), &hosts, &call).await;
        assert!(ran.out().contains("w1"), "{ran:?}");
    }
    drop(silent);
}
