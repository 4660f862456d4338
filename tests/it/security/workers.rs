//! Who may host what, and under which name.

use crate::harness::{SecuredBroker, seconds, within};
use pyroxene_common::{
    interfaces::directory::{
        DirectoryError, ObjectFilter, ObjectRegistration, Registration, SessionId,
    },
    message::Load,
};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_hosts_what_it_may_and_nothing_else() {
    let broker = SecuredBroker::with_tokens().await;
    broker.add_user("calc", "worker", &["calculator"]).await;
    let ran = broker.refused_worker("calc", &["--name", "w1"]).await;
    let sentence = ran.error(4);
    assert!(
        sentence.contains("refuses the worker: 'calc' (worker) may not host '"),
        "{ran:?}"
    );
    let ran = broker.refused_worker("ana", &["--name", "w1"]).await;
    let expected = "'ana' (user) may not call directory.open";
    assert!(ran.error(4).ends_with(expected), "{ran:?}");
    let ran = broker
        .refused_worker("calc", &["--name", "w1", "--objects", "calculator,echo"])
        .await;
    assert!(ran.error(4).ends_with("may not host 'echo'"), "{ran:?}");
    // Nor does it give or take a name that it may not host.
    let ran = broker
        .run_as("calc", &["register", "echo", "127.0.0.1:1"])
        .await;
    assert!(
        ran.error(4).contains("'calc' (worker) may not host 'echo'"),
        "{ran:?}"
    );
    broker
        .run_as("root", &["register", "echo", "127.0.0.1:1"])
        .await
        .out();
    let ran = broker.run_as("calc", &["remove", "echo"]).await;
    assert!(
        ran.error(4).contains("'calc' (worker) may not host 'echo'"),
        "{ran:?}"
    );
    assert!(broker.run_as("oli", &["list"]).await.out().contains("echo"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_the_name_or_the_session_of_somebody_elses_worker() {
    let mut broker = SecuredBroker::with_tokens()
        .worker("w1", &["--ttl", "1s"])
        .await;
    broker.add_user("rival", "worker", &[]).await;
    let ran = broker.refused_worker("rival", &["--name", "w1"]).await;
    assert!(ran.error(1).contains("refuses the worker"), "{ran:?}");
    assert!(ran.hint().contains("--name"), "{ran:?}");

    // All that the directory tells of it does not make it one's own.
    let client = broker.client_as("rival").await;
    let directory = client.nameservers()[0].directory();
    let context = || within(seconds(5));
    let listed = directory
        .list(context(), ObjectFilter::default())
        .await
        .unwrap()
        .unwrap();
    let echo = listed.iter().find(|entry| entry.name == "echo").unwrap();
    let instance = &echo.instances[0];
    let forged = Registration {
        worker: "w1".to_owned(),
        incarnation: instance.incarnation,
        endpoint: instance.endpoint.clone(),
        pid: 1,
        host: "elsewhere".to_owned(),
        capacity: 1,
        ttl_ms: 1000,
        objects: vec![ObjectRegistration {
            object: "echo".to_owned(),
            interface: instance.interface.clone(),
            version: instance.version,
            spoken: Vec::new(),
            tags: Vec::new(),
            exclusive: false,
        }],
    };
    let opened = directory
        .open(context(), forged.clone(), None)
        .await
        .unwrap();
    assert!(
        matches!(opened, Err(DirectoryError::NameTaken { .. })),
        "{opened:?}"
    );
    for session in [SessionId([0, 0]), SessionId([1, 2])] {
        let closed = directory.close(context(), session).await.unwrap();
        assert_eq!(closed, Err(DirectoryError::UnknownSession));
        let renewed = directory
            .renew(context(), session, Load::default())
            .await
            .unwrap();
        assert_eq!(renewed.unwrap_err(), DirectoryError::UnknownSession);
    }
    broker
        .run_as("ana", &["call", "echo", "whoami"])
        .await
        .out();

    // Dead or not: while its lease lasts the name is its owner's.
    broker.worker("w1").freeze();
    let opened = directory.open(context(), forged, None).await.unwrap();
    assert!(
        matches!(opened, Err(DirectoryError::NameTaken { .. })),
        "{opened:?}"
    );
    broker.worker("w1").thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_name_stays_with_its_holder_whoever_else_offers_it() {
    let broker = SecuredBroker::with_tokens()
        .worker("w1", &["--exclusive"])
        .await;
    broker.add_user("rival", "worker", &[]).await;
    // Not beside it,
    let ran = broker
        .refused_worker("rival", &["--name", "w2", "--objects", "echo"])
        .await;
    assert!(ran.error(1).contains("'echo'"), "{ran:?}");
    let register = ["register", "echo", "127.0.0.1:1"];
    let ran = broker.run_as("rival", &register).await;
    assert!(ran.error(1).contains("'echo'"), "{ran:?}");
    // and not instead of it.
    let login = broker.flags("rival");
    let flags: Vec<&str> = login.iter().map(String::as_str).collect();
    let own = [
        "--name",
        "w2",
        "--objects",
        "echo",
        "--exclusive",
        "--exit-with-parent",
    ];
    let mut waiting = broker.start_command("worker", &[&own, &flags[..]].concat());
    waiting.ready("ready worker w2").await;
    let client = broker.client_as("ana").await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    for _ in 0..20 {
        let answered = echo
            .call_traced(within(seconds(5)), &EchoRequest::Whoami {})
            .await;
        assert_eq!(answered.unwrap().worker, "w1");
    }
}
