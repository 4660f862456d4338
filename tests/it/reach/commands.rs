//! Commands whose name server is silent, away or behind a balancer.

use super::silent_listener;
use crate::{
    fault_proxy::{FaultProxy, Mode},
    harness::{Broker, Ran, in_time, seconds, turn},
};
use futures::future::join_all;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_at_a_name_server_that_says_nothing_ends_at_its_timeout() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let (_silent, address) = silent_listener().await;
    let call = ["call", "echo", "whoami", "--timeout", "300ms"];
    let map = ["map", "echo", "whoami", "--input", "-", "--timeout", "1s"];
    let submit = ["submit", "echo", "whoami", "--wait", "--timeout", "1s"];
    for command in [&call[..], &map, &submit] {
        let began = Instant::now();
        let command = [command, &["--nameserver", &address]].concat();
        let ran = Ran::fed(broker.dir(), &command, "{}\n").await;
        ran.error(5);
        // The greeting alone would wait for 5 s.
        assert!(
            began.elapsed() < seconds(4),
            "{:?}: {ran:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_command_at_a_name_server_that_says_nothing_is_its_own() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let (_silent, address) = silent_listener().await;
    // A greeting that is not answered fails after 5 s.
    let submit = ["submit", "echo", "echo", "1", "--timeout", "7s"];
    let wait = ["submit", "echo", "echo", "1", "--wait", "--timeout", "7s"];
    let append = ["topic", "append", "door", "1", "--timeout", "7s"];
    let commands = [
        (&submit[..], 7),
        (&wait, 7),
        (&append, 7),
        // Without a timeout it is 10 s.
        (&["list"], 10),
        (&["ping"], 10),
        (&["register", "a", "127.0.0.1:1"], 10),
        (&["tasks", "list"], 10),
        (&["tasks", "show", "ffff"], 10),
        (&["tasks", "cancel", "ffff", "fffe"], 10),
        (&["tasks", "retry", "ffff"], 10),
    ];
    let run = async |(command, time): (&[&str], u64)| {
        let began = Instant::now();
        let words = [command, &["--nameserver", &address]].concat();
        let ran = Ran::in_dir(broker.dir(), &words).await;
        ran.error(5);
        let passed = began.elapsed();
        let expected = seconds(time)..seconds(time + 5);
        assert!(expected.contains(&passed), "{passed:?}: {words:?} {ran:?}");
    };
    join_all(commands.map(run)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_listens_a_command_ends_soon() {
    let broker = Broker::start().await;
    let address = silent_listener().await.1;
    for command in [
        &["list"][..],
        &["tasks", "list"],
        &["topic", "read", "door"],
    ] {
        let words = [command, &["--nameserver", &address]].concat();
        let ran = in_time(seconds(8), "the end", Ran::in_dir(broker.dir(), &words)).await;
        assert!(ran.error(3).contains("refused"), "{ran:?}");
        assert!(ran.hint().contains("pyroxene up"), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_for_a_name_server_behind_a_balancer_that_hangs_up() {
    let _turn = turn().await;
    let proxy = FaultProxy::start().await;
    let mut broker = Broker::start().workers(1).await;
    proxy.lead_to(broker.nameserver(0).address());
    let address = proxy.address();
    let call = ["call", "echo", "whoami", "--timeout", "30s"];
    // A value without a name needs the description of the object, and so a name server.
    let submit = ["submit", "echo", "echo", "1", "--wait", "--timeout", "30s"];
    broker
        .run(&["submit", "echo", "echo", "data=1"])
        .await
        .out();
    broker
        .run(&["topic", "append", "door", "opened"])
        .await
        .out();
    for (command, times) in [
        (&call[..], 6),
        (&submit, 6),
        (&["list"], 6),
        // About 5 s.
        (&["tasks", "list"], 8),
        (&["topic", "list"], 8),
    ] {
        proxy.set(Mode::HangUp);
        let heal = async {
            proxy.hangs_up(proxy.hung_up() + times).await;
            proxy.set(Mode::Pass);
        };
        let command = [command, &["--nameserver", &address]].concat();
        let (ran, ()) = tokio::join!(Ran::in_dir(broker.dir(), &command), heal);
        assert_ne!(ran.out(), "", "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_which_no_name_server_tells_anything_is_not_said_to_go_on() {
    let (_silent, address) = silent_listener().await;
    let dir = tempfile::tempdir().unwrap();
    let wait = [
        "tasks",
        "wait",
        "ffff",
        "--timeout",
        "1s",
        "--nameserver",
        &address,
    ];
    let ran = Ran::in_dir(dir.path(), &wait).await;
    let error = ran.error(5);
    assert!(error.contains("no name server answered"), "{error}");
    assert!(!ran.stderr.contains("it continues"), "{ran:?}");
}
