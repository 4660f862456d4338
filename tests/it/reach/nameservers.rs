//! Name servers that know each other, and those behind one balanced address.

use super::ready_worker;
use crate::{
    balancer::Balancer,
    fault_proxy::{FaultProxy, Mode},
    harness::{Broker, Ran, eventually, eventually_within, seconds, turn, within},
};
use pyroxene_client::{Client, ClientConfig};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};

/// Waits until each name server knows where all of them are.
async fn all_know_each_other(broker: &Broker) {
    let client = broker.client().await;
    for nameserver in client.nameservers() {
        eventually("the name servers know each other", || async {
            let peers = nameserver.directory().peers(within(seconds(2))).await;
            let peers = peers.map_err(|error| error.to_string())?;
            let all = peers.addresses.len() == client.nameservers().len();
            all.then_some(()).ok_or(format!("{peers:?}"))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_ends_in_order_is_forgotten_by_the_others_at_once() {
    let _turn = turn().await;
    let mut broker = Broker::start().nameservers(2).one_store().await;
    all_know_each_other(&broker).await;
    assert!(broker.nameserver(1).terminate().await.success());
    let client = broker.client().await;
    let first = &client.nameservers()[0];
    // One that dies is told of for 10 s.
    eventually_within(seconds(6), "the name server is alone", || async {
        let peers = first.directory().peers(within(seconds(2))).await;
        let peers = peers.map_err(|error| error.to_string())?;
        let is_alone = peers.addresses.is_empty();
        is_alone.then_some(()).ok_or(format!("{peers:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_servers_behind_one_balanced_address_all_know_every_worker() {
    let _turn = turn().await;
    let mut broker = Broker::start().nameservers(2).one_store().await;
    all_know_each_other(&broker).await;
    let servers = [0, 1].map(|index| broker.nameserver(index).address().to_owned());
    let balancer = Balancer::before(&servers).await;
    let address = balancer.address();
    let mut worker = ready_worker(&broker, "w1", &address, &[]).await;
    for index in [0, 1] {
        let listed = broker.nameserver(index).listed().await.unwrap();
        assert_eq!(
            listed.len(),
            1,
            "name server {index} does not know the worker"
        );
    }
    for _ in 0..4 {
        let call = ["call", "echo", "whoami", "--nameserver", &address];
        let ran = Ran::in_dir(broker.dir(), &call).await;
        assert!(ran.out().contains("w1"), "{ran:?}");
    }

    // The one that remains is enough, and the other one is found again.
    broker.nameserver(0).kill().await;
    let client = Client::connect(&address).await;
    let client = match client {
        Ok(client) => client,
        // Its connection went to the dead one.
        Err(_) => Client::connect(&address).await.unwrap(),
    };
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let call = echo.call_traced(within(seconds(10)), &EchoRequest::Whoami {});
    assert_eq!(call.await.unwrap().worker, "w1");
    broker.nameserver(0).restart().await;
    broker.nameserver(0).lists("w1").await;
    worker.terminate().await;
    for index in [0, 1] {
        broker.nameserver(index).forgets("w1").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_with_nobody_behind_it_is_asked_ever_more_seldom_and_once_for_all() {
    let _turn = turn().await;
    let proxy = FaultProxy::start().await;
    let mut broker = Broker::start().workers(1).await;
    proxy.lead_to(broker.nameserver(0).address());
    proxy.set(Mode::HangUp);
    let client = Client::new(ClientConfig::new(&proxy.address()).unwrap());
    let objects = (0..50).map(|number| client.weak_proxy::<Echo>(&format!("echo-{number}")));
    let objects: Vec<_> = objects.collect();
    tokio::time::sleep(seconds(5)).await;
    let connections = proxy.hung_up();
    assert!((4..20).contains(&connections), "{connections} connections");
    proxy.set(Mode::Pass);
    let echo = client.weak_proxy::<Echo>("echo");
    let answered = echo.call_traced(within(seconds(5)), &EchoRequest::Whoami {});
    assert_eq!(answered.await.unwrap().worker, "w1");
    drop(objects);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balanced_name_servers_that_share_no_store_are_named_in_a_hint() {
    let mut broker = Broker::start().nameservers(2).await;
    let servers = [0, 1].map(|index| broker.nameserver(index).address().to_owned());
    let balancer = Balancer::before(&servers).await;
    let address = balancer.address();
    let call = ["call", "echo", "whoami", "--nameserver", &address];
    let ran = Ran::in_dir(broker.dir(), &call).await;
    ran.error(3);
    assert!(ran.hint().contains("list each of them"), "{ran:?}");
}
