//! More calls than can be run.

use crate::harness::{Broker, in_time, seconds, turn, within};
use futures::future::join_all;
use pyroxene_client::{CallError, Policy};
use pyroxene_common::values::Payload;
use pyroxene_objects::interfaces::{
    calculator::{Calculator, calculator::CalculatorRequest},
    echo::{Echo, echo::EchoRequest},
};
use std::collections::BTreeMap;

/// What a process may grow by, in bytes, under a load whose waiting calls are bounded.
const GROWTH: u64 = 32 * 1024 * 1024;

/// Heavy enough for the compute pool, and short enough for many of them.
const HEAVY: CalculatorRequest = CalculatorRequest::Compute {
    iterations: 200_000,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_a_busy_worker_refuses_go_to_another_one() {
    let _turn = turn().await;
    let mut broker = Broker::start()
        .worker("small", &["--threads", "1", "--queue", "4"])
        .worker("large", &["--threads", "2", "--queue", "1000"])
        .await;
    let client = broker
        .client_with(|config| config.policy(Policy::RoundRobin))
        .await;
    let calculator = client.proxy::<Calculator>("calculator").await.unwrap();
    let before = broker.worker("small").peak_memory();
    let calls = (0..200).map(|_| calculator.call_traced(within(seconds(60)), &HEAVY));
    let answers = in_time(seconds(60), "200 heavy calls", join_all(calls)).await;
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    let mut retried = 0;
    for answer in answers {
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        *shares.entry(answer.worker).or_default() += 1;
        retried += usize::from(answer.attempts > 1);
    }
    // Both worked, and the small one could not take what it got.
    assert!(shares.contains_key("small"), "{shares:?}");
    assert!(retried > 0 && shares["large"] > 100, "{retried} {shares:?}");
    let grown = broker.worker("small").peak_memory().saturating_sub(before);
    assert!(grown < GROWTH, "it grew by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nobody_else_to_take_it_a_refused_call_says_so_and_the_worker_stays_small() {
    let _turn = turn().await;
    let mut broker = Broker::start()
        .worker("small", &["--threads", "1", "--queue", "4"])
        .await;
    let client = broker.client_with(|config| config.max_attempts(1)).await;
    let calculator = client.proxy::<Calculator>("calculator").await.unwrap();
    let heavy = CalculatorRequest::Compute {
        iterations: 5_000_000,
    };
    let before = broker.worker("small").peak_memory();
    let calls = (0..500).map(|_| calculator.call_traced(within(seconds(60)), &heavy));
    let answers = in_time(seconds(60), "500 heavy calls", join_all(calls)).await;
    let grown = broker.worker("small").peak_memory().saturating_sub(before);
    assert!(grown < GROWTH, "it grew by {grown} bytes");
    let (answered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(!answered.is_empty(), "nothing was answered");
    assert!(refused.len() > 100, "{} were refused", refused.len());
    for error in refused.into_iter().map(Result::unwrap_err) {
        assert!(matches!(error, CallError::Unavailable(_)), "{error}");
    }
    // It is as well as before.
    calculator
        .call_traced(within(seconds(10)), &HEAVY)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_calls_and_heartbeats_are_not_held_up_by_heavy_ones() {
    let _turn = turn().await;
    let broker = Broker::start().worker("w1", &["--threads", "1"]).await;
    let client = broker.client().await;
    let calculator = client.proxy::<Calculator>("calculator").await.unwrap();
    let heavy = tokio::spawn(async move {
        // Longer than a lease.
        let forever = CalculatorRequest::Compute {
            iterations: 1_000_000_000_000,
        };
        calculator.call_traced(within(seconds(4)), &forever).await
    });
    let echo = client.object::<Echo>("echo").await.unwrap();
    while !heavy.is_finished() {
        let call = echo.whoami(within(seconds(2)));
        in_time(seconds(1), "a small call", call).await.unwrap();
    }
    // A deadline ends the work as well as the call: the only thread is free again.
    let error = heavy.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded(_)), "{error}");
    let calculator = client.proxy::<Calculator>("calculator").await.unwrap();
    calculator
        .call_traced(within(seconds(3)), &HEAVY)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_at_once_on_one_connection_are_all_answered_in_bounded_memory() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let before = broker.worker("w1").peak_memory();
    let calls = (0..10_000usize).map(|number| {
        let echo = &echo;
        async move {
            // Some are answered in place, some have to wait, some are large.
            let request = match number % 10 {
                0 => EchoRequest::Sleep { ms: 10 },
                1 => EchoRequest::Echo {
                    data: Payload::Bytes(vec![1; 50_000].into()),
                },
                _ => EchoRequest::Whoami {},
            };
            echo.call_traced(within(seconds(60)), &request).await
        }
    });
    let answers = in_time(seconds(60), "10000 calls", join_all(calls)).await;
    for answer in answers {
        answer.unwrap_or_else(|error| panic!("{error}"));
    }
    let grown = broker.worker("w1").peak_memory().saturating_sub(before);
    assert!(grown < GROWTH, "it grew by {grown} bytes");
}
