//! Lookups at name servers that do not answer.

use super::*;
use crate::tasks::{NewTask, TaskError};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

const SECOND: Duration = Duration::from_secs(1);

fn client_of(listener: &TcpListener) -> Client {
    let address = listener.local_addr().unwrap().to_string();
    Client::new(ClientConfig::new(&address).unwrap())
}

/// A peer that the kernel accepts connections for, and that says nothing.
async fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A client of a balancer that closes every connection at once.
async fn hung_up_on() -> (Client, AbortOnDropHandle<()>) {
    let listener = silent().await;
    let client = client_of(&listener);
    let closing = tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    (client, AbortOnDropHandle::new(closing))
}

async fn looked_up(client: &Client, time: Duration) -> (CallError, Duration) {
    let began = Instant::now();
    let found = client.proxy_with_deadline::<Echo>("echo", began + time);
    (found.await.unwrap_err(), began.elapsed())
}

fn is_late(error: &CallError) -> bool {
    let said = error
        .to_string()
        .contains("no name server answered in time");
    said && matches!(error, CallError::DeadlineExceeded(_))
}

#[tokio::test(start_paused = true)]
async fn a_lookup_at_a_silent_name_server_ends_at_its_deadline() {
    let listener = silent().await;
    // The hello times out before the longer one, and is said again.
    for time in [SECOND / 3, 8 * SECOND] {
        let (error, took) = looked_up(&client_of(&listener), time).await;
        assert!(is_late(&error), "{error}");
        assert!((time..time + SECOND / 10).contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_at_a_name_server_that_hangs_up_goes_on_until_its_deadline() {
    let (client, _closing) = hung_up_on().await;
    let (error, took) = looked_up(&client, 20 * SECOND).await;
    assert!(is_late(&error), "{error}");
    assert!(took >= 20 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_instances_waits_for_a_name_server_that_hangs_up() {
    let (client, _closing) = hung_up_on().await;
    let object = client.watched_object::<Echo>("echo");
    let proxy = client.stub::<Echo>(object, CallOptions::default(), false);
    let began = Instant::now();
    let mut context = context::current();
    context.deadline = (began + 20 * SECOND).into_std();
    let called = proxy.call_traced(context, &EchoRequest::Whoami {});
    let error = called.await.unwrap_err();
    assert!(is_late(&error), "{error}");
    assert!(began.elapsed() >= 20 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lookup_fails_at_once_if_every_name_server_refuses_connections() {
    let listener = silent().await;
    let client = client_of(&listener);
    drop(listener);
    let (error, took) = looked_up(&client, 20 * SECOND).await;
    assert!(matches!(error, CallError::Unavailable(_)), "{error}");
    assert!(took < SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_connects_until_its_time_is_over() {
    let listener = silent().await;
    let address = listener.local_addr().unwrap().to_string();
    let closing = tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let began = Instant::now();
    assert!(Client::connect(&address).await.is_err());
    // Too little time for another attempt may be left over.
    assert!(
        began.elapsed() >= CONNECT_TIMEOUT - SECOND,
        "{:?}",
        began.elapsed()
    );
    closing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_submission_at_a_name_server_that_does_not_answer_ends_at_its_deadline() {
    let listener = silent().await;
    let (hung_up_on, _closing) = hung_up_on().await;
    for client in [client_of(&listener), hung_up_on] {
        for time in [SECOND / 3, 30 * SECOND] {
            let began = Instant::now();
            let submitted =
                client.submit_with_deadline(NewTask::new("echo", "whoami"), began + time);
            let error = submitted.await.unwrap_err();
            assert!(
                matches!(error, TaskError::Unavailable { sent: false, .. }),
                "{error:?}"
            );
            let took = began.elapsed();
            assert!((time..time + SECOND / 10).contains(&took), "{took:?}");
        }
    }
}
