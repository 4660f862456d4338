//! Tickets run out all the time, and nobody who may be here notices.

use super::strangers::{admission, show};
use crate::harness::{Load, SecuredBroker, eventually, seconds, turn, within};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_over_many_lives_of_a_ticket_and_a_restart_of_the_name_server() {
    let _turn = turn().await;
    let mut broker = SecuredBroker::with_tokens()
        .nameserver_flags(&["--ticket-life", "1s"])
        .worker("w1", &[])
        .worker("w2", &[])
        .await;
    let first = admission(&broker.config("ana")).await;
    let first = first.admission.ticket.as_bytes();
    let client = broker.client_as("ana").await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 5 });
    // Longer than a ticket lasts, tolerance and all.
    let long = tokio::spawn({
        let (echo, request) = (echo.clone(), EchoRequest::Sleep { ms: 6_000 });
        async move { echo.call_traced(within(seconds(20)), &request).await }
    });
    load.goes_on_while(Duration::from_millis(1_500)).await;

    broker.nameserver(0).terminate().await;
    load.goes_on_for(50).await;
    broker.nameserver(0).restart().await;
    for worker in ["w1", "w2"] {
        broker.nameserver(0).lists(worker).await;
    }

    let worker = broker.worker("w1").address().to_owned();
    let refused = eventually("the first ticket runs out", || async {
        show(&worker, first)
            .await
            .err()
            .ok_or("it is good".to_owned())
    })
    .await;
    assert_eq!(refused.message, "the ticket has expired");
    let answered = long.await.unwrap().unwrap();
    assert_eq!(answered.attempts, 1, "it was not broken off");
    load.goes_on_for(50).await;
    load.stop().await.all_succeeded();
}
