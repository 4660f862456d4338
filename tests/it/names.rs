//! Name servers die and come back.

use crate::harness::{Broker, Load, eventually_within, seconds, turn, within};
use pyroxene_client::Client;
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};

/// A call by a client that is as new as can be.
async fn call_from_scratch(addresses: &str) -> Result<String, String> {
    let client = Client::connect(addresses).await;
    let client = client.map_err(|error| error.to_string())?;
    let echo = client.object::<Echo>("echo").await;
    let echo = echo.map_err(|error| error.to_string())?;
    let identity = echo.whoami(within(seconds(5))).await;
    Ok(identity.map_err(|error| error.to_string())?.worker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_without_a_name_server_and_all_is_well_two_seconds_after_it_is_back() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(2).await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 5 });
    load.goes_on_for(20).await;

    broker.nameserver(0).kill().await;
    load.goes_on_for(200).await;
    let addresses = broker.addresses();
    assert!(call_from_scratch(&addresses).await.is_err());

    broker.nameserver(0).restart().await;
    let nameserver = &*broker.nameserver(0);
    eventually_within(seconds(2), "both workers are back", || async {
        let listed = nameserver.listed().await?;
        let names: Vec<String> = listed.into_iter().map(|entry| entry.name).collect();
        (names == ["w1", "w2"])
            .then_some(())
            .ok_or(format!("{names:?}"))
    })
    .await;
    call_from_scratch(&addresses).await.unwrap();

    // The old client follows the new name server: it hears of a newcomer.
    broker.add_worker("w3", &[]).await;
    load.reaches("w3", 20).await;
    load.stop().await.all_succeeded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_name_servers_either_may_die_at_any_time() {
    let _turn = turn().await;
    let mut broker = Broker::start().nameservers(2).workers(2).await;
    let addresses = broker.addresses();
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 5 });
    for victim in [0, 1] {
        broker.nameserver(victim).kill().await;
        call_from_scratch(&addresses).await.unwrap();
        load.goes_on_for(100).await;
        // A worker's death is still noticed, and its successor found.
        let worker = ["w1", "w2"][victim];
        broker.worker(worker).kill().await;
        broker.nameserver(1 - victim).forgets(worker).await;
        broker.nameserver(victim).restart().await;
        let successor = format!("successor-of-{worker}");
        broker.add_worker(&successor, &[]).await;
        load.reaches(&successor, 20).await;
    }
    load.stop().await.all_succeeded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_name_server_does_not_hold_up_new_clients_while_another_answers() {
    let mut broker = Broker::start().nameservers(2).workers(1).await;
    let addresses = broker.addresses();
    for frozen in [0, 1] {
        broker.nameserver(frozen).freeze();
        let call = call_from_scratch(&addresses);
        let called = crate::harness::in_time(seconds(2), "a new client's call", call).await;
        assert_eq!(called, Ok("w1".to_owned()));
        broker.nameserver(frozen).thaw();
        broker.nameserver(frozen).lists("w1").await;
    }
}
