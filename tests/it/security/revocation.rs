//! Somebody's access ends while it is in use.

use super::strangers::{Stranger, show, ticket_of};
use crate::harness::{SecuredBroker, eventually, eventually_within, in_time, seconds, within};
use futures::{StreamExt, TryStreamExt, stream};
use pyroxene_client::{CallError, Client, Proxy};
use pyroxene_common::{
    Stream, channel::StreamFailure, interfaces::access::AccessError, values::Payload,
};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use std::time::Duration;
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

/// How long it takes at most until everybody knows: a look at the file every second, and what a
/// busy machine adds.
const SOON: Duration = Duration::from_secs(4);

async fn echo(client: &Client) -> Proxy<Echo> {
    client.proxy::<Echo>("echo").await.unwrap()
}

/// A call that lasts until somebody ends it, and is under way.
async fn long_call(echo: &Proxy<Echo>) -> JoinHandle<Result<(), CallError>> {
    let proxy = echo.clone();
    let call = tokio::spawn(async move {
        let request = EchoRequest::Sleep { ms: 60_000 };
        let answered = proxy.call_traced(within(seconds(90)), &request).await;
        answered.map(drop)
    });
    // One that is answered over the same connection shows that it is open.
    whoami(echo).await.unwrap();
    call
}

async fn whoami(echo: &Proxy<Echo>) -> Result<(), CallError> {
    let request = EchoRequest::Whoami {};
    let answered = echo.call_traced(within(seconds(5)), &request).await;
    answered.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_user_is_out_at_once_and_a_new_token_lets_it_in_again() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let (ana, root) = (
        broker.client_as("ana").await,
        broker.client_as("root").await,
    );
    let (of_ana, of_root) = (echo(&ana).await, echo(&root).await);
    let call = long_call(&of_ana).await;
    let other = long_call(&of_root).await;

    broker.keys.users(&["revoke", "ana"]).await.out();
    let outcome = in_time(SOON, "the end of the call that was under way", call).await;
    let expected = "the access of 'ana' was revoked";
    for error in [
        outcome.unwrap().unwrap_err(),
        whoami(&of_ana).await.unwrap_err(),
    ] {
        assert!(matches!(error, CallError::Refused(_)), "{error}");
        assert_eq!(error.last_reason(), expected);
    }
    let ran = broker.run_as("ana", &["call", "echo", "whoami"]).await;
    let sentence = ran.error(4);
    let expected = "'ana' cannot log in: the user or the token is wrong";
    assert!(sentence.contains(expected), "{ran:?}");
    // Nobody else notices.
    whoami(&of_root).await.unwrap();
    assert!(!other.is_finished());
    other.abort();
    drop(ana);

    broker.keys.rotate("ana").await;
    broker.hang_up_all();
    broker.is_let_in("ana").await;
    broker
        .run_as("ana", &["call", "echo", "whoami"])
        .await
        .out();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_streams_of_a_revoked_user_end_at_once_in_both_directions() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let (ana, root) = (
        broker.client_as("ana").await,
        broker.client_as("root").await,
    );
    let mut streams = Vec::new();
    for client in [&ana, &root] {
        let echo = client.object::<Echo>("echo").await.unwrap();
        let counted = echo.count(within(seconds(60)), 1_000_000, Some(1)).await;
        streams.push(counted.unwrap());
    }
    let (asking, of_ana) = (echo(&ana).await, ana.object::<Echo>("echo").await.unwrap());
    let (sending, is_sending) = oneshot::channel();
    let first = stream::once(async move {
        sending.send(()).unwrap();
        Payload::from(serde_json::json!(1))
    });
    let further = stream::repeat(()).then(|()| async {
        sleep(Duration::from_millis(1)).await;
        Payload::from(serde_json::json!(1))
    });
    let endless = Stream::new(first.chain(further));
    let collecting =
        tokio::spawn(async move { of_ana.collect(within(seconds(60)), endless).await });
    in_time(seconds(10), "the first item that ana sends", is_sending)
        .await
        .unwrap();
    for counted in &mut streams {
        in_time(seconds(10), "an item", counted.next())
            .await
            .unwrap()
            .unwrap();
    }

    broker.keys.users(&["revoke", "ana"]).await.out();
    let [of_ana, of_root] = &mut streams[..] else {
        unreachable!("there are two")
    };
    let reading = of_ana.try_for_each(|_| async { Ok(()) });
    let broken = in_time(SOON, "the end of what ana reads", reading).await;
    let broken = broken.unwrap_err();
    assert!(
        matches!(broken.failure, StreamFailure::Lost(_)),
        "{broken:?}"
    );
    // Its items were sent, so the call is not made again, and hears no refusal.
    let lost = in_time(SOON, "the end of what ana sends", collecting).await;
    let lost = lost.unwrap().unwrap_err();
    assert!(matches!(lost, CallError::MaybeRan(_)), "{lost}");
    let refused = whoami(&asking).await.unwrap_err();
    assert_eq!(refused.last_reason(), "the access of 'ana' was revoked");
    // Nobody else notices.
    let item = in_time(seconds(10), "an item", of_root.next()).await;
    item.unwrap().unwrap();
    whoami(&echo(&root).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_user_is_out_at_once_also_with_a_ticket_of_before() {
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let ana = broker.client_as("ana").await;
    let call = long_call(&echo(&ana).await).await;
    let worker = broker.worker("w1").address().to_owned();
    let (nameserver, token) = (broker.addresses(), broker.keys.token("ana"));
    let ticket = ticket_of(&nameserver, "ana", &token).await;
    show(&worker, &ticket).await.unwrap();

    broker.keys.users(&["remove", "ana"]).await.out();
    broker.hang_up_all();
    let outcome = in_time(SOON, "the end of the call that was under way", call).await;
    assert!(matches!(outcome.unwrap(), Err(CallError::Refused(_))));
    let refused = show(&worker, &ticket).await.unwrap_err();
    assert_eq!(refused.message, "the access of 'ana' was revoked");

    // Nor does the ticket come back with somebody else of that name.
    broker.add_user("ana", "user", &[]).await;
    broker
        .run_as("ana", &["call", "echo", "whoami"])
        .await
        .out();
    show(&worker, &ticket).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_rotation_the_old_token_is_nobodys() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let ana = broker.client_as("ana").await;
    let echo = echo(&ana).await;
    whoami(&echo).await.unwrap();
    let old = broker.keys.token("ana");
    let new = broker.keys.rotate("ana").await;
    let stranger = Stranger::from("127.0.0.7", &broker.addresses()).await;
    eventually("the new token is good", || async {
        let answer = stranger.log_in("ana", &new).await;
        answer.map_err(|error| error.to_string())
    })
    .await;
    let refused = stranger.log_in("ana", &old).await.unwrap_err();
    assert_eq!(refused, AccessError::WrongToken);
    // Who is in stays for as long as the ticket lasts: nothing was revoked.
    whoami(&echo).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_worker_leaves_the_directory() {
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    broker.keys.users(&["revoke", "host"]).await.out();
    broker.nameserver(0).forgets("w1").await;
    let ran = broker.run_as("root", &["call", "echo", "whoami"]).await;
    assert!(ran.error(3).contains("no live worker hosts it"), "{ran:?}");
}

/// Its client goes on trying, over and over, from the machine on which everybody else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_user_whose_client_keeps_trying_locks_nobody_out() {
    let broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let ana = broker.client_as("ana").await;
    let echo = echo(&ana).await;
    whoami(&echo).await.unwrap();
    broker.keys.users(&["revoke", "ana"]).await.out();
    broker.hang_up_all();
    let nameserver = ana.nameservers()[0].clone();
    eventually_within(seconds(8), "its logins are held up", || async {
        let outcome = nameserver.directory().workers(within(seconds(2))).await;
        let Err(error) = outcome else {
            return Err("it is let in".to_owned());
        };
        let sentence = error.to_string();
        let is_held_up = sentence.contains("too many failed logins");
        is_held_up.then_some(()).ok_or(sentence)
    })
    .await;
    for name in ["oli", "root"] {
        broker.run_as(name, &["list"]).await.out();
    }
}
