//! How calls are spread over workers.

use crate::harness::{Broker, Load, eventually, in_time, seconds, turn, within};
use pyroxene_client::{Policy, Proxy};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use std::{collections::BTreeMap, time::Duration};

/// Makes so many calls, one after the other, and counts who answered them.
async fn shares(echo: &Proxy<Echo>, calls: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..calls {
        let answered = echo
            .call_traced(within(seconds(10)), &EchoRequest::Whoami {})
            .await
            .unwrap();
        *shares.entry(answered.worker).or_default() += 1;
    }
    shares
}

async fn knows(echo: &Proxy<Echo>, instances: usize) {
    eventually(
        &format!("the client knows {instances} instances"),
        || async {
            let known = echo.instance_count();
            (known == instances).then_some(()).ok_or(format!("{known}"))
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_robin_is_even_to_one_call_and_a_new_worker_gets_its_share() {
    let mut broker = Broker::start().workers(3).await;
    let client = broker
        .client_with(|config| config.policy(Policy::RoundRobin))
        .await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let three = shares(&echo, 100).await;
    assert_eq!(three.len(), 3, "{three:?}");
    assert!(three.values().all(|&n| n == 33 || n == 34), "{three:?}");

    broker.add_worker("w4", &[]).await;
    knows(&echo, 4).await;
    let four = shares(&echo, 100).await;
    assert_eq!(four.len(), 4, "{four:?}");
    assert!(four.values().all(|&n| n == 25), "{four:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_come_while_calls_are_made_are_used_without_a_failure() {
    let mut broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 1 });
    load.goes_on_for(20).await;
    for worker in ["w2", "w3"] {
        broker.add_worker(worker, &[]).await;
        load.reaches(worker, 20).await;
    }
    load.stop().await.all_succeeded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn least_loaded_avoids_a_slow_worker() {
    let _turn = turn().await;
    let broker = Broker::start()
        .workers(2)
        .worker("slow", &["--chaos", "delay=50ms"])
        .await;
    let client = broker
        .client_with(|config| config.policy(Policy::LeastLoaded))
        .await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 6, |_| EchoRequest::Sleep { ms: 2 });
    load.goes_on_for(1000).await;
    let tally = load.stop().await;
    tally.all_succeeded();
    let (all, slow) = (tally.total(), tally.of("slow"));
    assert!(slow * 20 < all, "the slow worker answered {slow} of {all}");
    // The other two share the rest, as evenly as a busy machine lets them.
    for worker in ["w1", "w2"] {
        let share = tally.of(worker);
        assert!(share * 10 > all, "{worker} answered {share} of {all}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_hedged_does_not_wait_for_a_slow_worker() {
    let broker = Broker::start()
        .worker("w1", &[])
        .worker("slow", &["--chaos", "delay=3s"])
        .await;
    let client = broker
        .client_with(|config| {
            let config = config.policy(Policy::RoundRobin);
            config.hedge_after(Duration::from_millis(50))
        })
        .await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let all = shares(&echo, 20);
    let all = in_time(seconds(3), "20 hedged calls", all).await;
    assert_eq!(all, BTreeMap::from([("w1".to_owned(), 20)]));
}
