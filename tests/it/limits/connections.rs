//! How many connections one user has at a name server.

use crate::harness::{Broker, SecuredBroker, eventually, seconds, within};
use pyroxene_client::{DirectProxy, NewTask};
use pyroxene_common::{
    channel::AttemptError,
    endpoint::Endpoint,
    interfaces::directory::{Directory, OBJECT},
    message::RefusalReason,
};
use pyroxene_objects::interfaces::text::Text;

const SENTENCE: &str =
    "refused: the limit 'connections' of user 'ana' is 3 (connections to a name server)";

/// Connects to the first name server once more.
async fn connect(
    broker: &SecuredBroker,
    user: &str,
) -> Result<DirectProxy<Directory>, AttemptError> {
    let config = broker.config(user);
    let endpoint: Endpoint = config.endpoints()[0].clone();
    DirectProxy::connect_with(&endpoint, OBJECT, &config).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_does_not_take_every_connection() {
    let flags = ["--limit", "connections=3"];
    let broker = SecuredBroker::with_tokens().nameserver_flags(&flags).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(connect(&broker, "ana").await.unwrap());
    }
    let AttemptError::Refused(refused) = connect(&broker, "ana").await.unwrap_err() else {
        panic!("it is let in");
    };
    assert_eq!(refused.reason, RefusalReason::Limited);
    assert_eq!(refused.message, SENTENCE);
    // Others are let in, and see how many there are.
    let limits = broker.run_as("root", &["limits", "ana", "--json"]).await;
    let connections = &limits.json()[0]["limits"]["connections"];
    assert_eq!(
        (&connections["value"], &connections["used"]),
        (&3.into(), &3.into())
    );

    // Whatever a client wants, it is told at once and in the same words.
    for command in [
        &["list"][..],
        &["whoami"],
        &["call", "echo", "echo", "data=x"],
        &["submit", "echo", "echo", "data=x"],
        &["topic", "read", "t"],
    ] {
        let ran = broker.run_as("ana", command).await;
        assert!(ran.error(4).contains(SENTENCE), "{ran:?}");
        assert!(ran.stderr.contains("pyroxene users set"), "{ran:?}");
    }

    // What ends is given back.
    drop(open.pop());
    eventually("there is room again", || async {
        connect(&broker, "ana")
            .await
            .map(drop)
            .map_err(|error| format!("{error:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_one_name_server_has_too_many_of_goes_to_another() {
    let flags = ["--limit", "connections=3"];
    let broker = SecuredBroker::with_tokens()
        .nameservers(2)
        .nameserver_flags(&flags)
        .worker("w1", &[])
        .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(connect(&broker, "ana").await.unwrap());
    }
    connect(&broker, "ana").await.unwrap_err();
    let client = broker.client_as("ana").await;
    let text = client.object::<Text>("text").await.unwrap();
    let called = text.uppercase(within(seconds(10)), "x".to_owned()).await;
    assert_eq!(called.unwrap(), "X");
    let task = client.submit(NewTask::new("echo", "echo").argument("data", "y"));
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_not_counted_where_nobody_is_asked_who_they_are() {
    let flags = ["--limit", "connections=1"];
    let broker = Broker::start()
        .nameserver_flags(&flags)
        .worker("w1", &[])
        .await;
    let limits = broker.run(&["limits", "--json"]).await.json();
    let connections = &limits[0]["limits"]["connections"];
    assert!(connections["used"].is_null(), "{connections}");
    let call = ["call", "echo", "echo", "data=x"];
    broker.run(&call).await.out();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_waits_until_its_user_may_have_more_connections() {
    let broker = SecuredBroker::with_tokens().await;
    broker.add_user("own", "worker", &[]).await;
    let set = |value: &'static str| {
        let broker = &broker;
        async move {
            broker
                .keys
                .users(&["set", "own", "--limit", value])
                .await
                .out();
            broker.hang_up_all();
        }
    };
    set("connections=1").await;
    let held = eventually("it counts", || async {
        let held = connect(&broker, "own")
            .await
            .map_err(|error| format!("{error:?}"))?;
        match connect(&broker, "own").await {
            Err(AttemptError::Refused(_)) => Ok(held),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let worker = broker
        .refused_worker("own", &["--start-timeout", "1s"])
        .await;
    assert!(
        worker
            .stderr
            .contains("the limit 'connections' of user 'own' is 1"),
        "{worker:?}"
    );
    drop(held);
}
