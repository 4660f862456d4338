//! Calls as they should be: nothing breaks.

use crate::harness::{Broker, Load, in_time, ledger, seconds, within};
use futures::{StreamExt, future::join_all};
use pyroxene_client::CallError;
use pyroxene_common::{
    interfaces::{
        calculator::{Calculator, CalculatorError, calculator::CalculatorRequest},
        echo::{Echo, echo::EchoRequest},
        hash::Hash,
        text::Text,
    },
    values::Payload,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_object_answers_typed_calls() {
    let broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let now = || within(seconds(10));

    let calculator = client.object::<Calculator>("calculator").await.unwrap();
    let factorial = calculator.factorial(now(), 30).await.unwrap().unwrap();
    assert_eq!(factorial.0.to_string(), "265252859812191058636308480000000");
    let text = client.object::<Text>("text").await.unwrap();
    assert_eq!(text.reverse(now(), "añb".into()).await.unwrap(), "bña");
    let hash = client.object::<Hash>("hash").await.unwrap();
    let digest = hash.sha256(now(), String::new()).await.unwrap();
    assert!(digest.starts_with("e3b0c44298fc1c14"), "{digest}");
    let echo = client.object::<Echo>("echo").await.unwrap();
    let identity = echo.whoami(now()).await.unwrap();
    assert_eq!((&*identity.worker, &*identity.caller), ("w1", "test"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_of_one_worker_each_get_their_own_answer() {
    let broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let echo = client.object::<Echo>("echo").await.unwrap();
    let calls = (0..2000).map(|number| {
        let echo = echo.clone();
        async move {
            let said = Payload::Text(format!("number {number}"));
            let heard = echo.echo(within(seconds(20)), said.clone()).await.unwrap();
            assert!(heard == said, "call {number} was answered {heard:?}");
        }
    });
    in_time(seconds(30), "2000 calls", join_all(calls)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_objects_own_error_is_the_answer_and_is_not_retried() {
    let broker = Broker::start().workers(2).await;
    let client = broker.client().await;
    let proxy = client.proxy::<Calculator>("calculator").await.unwrap();
    let request = CalculatorRequest::Factorial { n: u64::MAX };
    let answered = proxy.call_traced(within(seconds(5)), &request).await;
    assert_eq!(answered.unwrap().attempts, 1);
    let calculator = client.object::<Calculator>("calculator").await.unwrap();
    let error = calculator.factorial(within(seconds(5)), u64::MAX).await;
    let error = error.unwrap().unwrap_err();
    assert!(matches!(error, CalculatorError::TooGreat { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passes_is_told_as_such() {
    let broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let proxy = client.proxy::<Echo>("echo").await.unwrap();
    let request = EchoRequest::Sleep { ms: 60_000 };
    let error = proxy.call_traced(within(std::time::Duration::from_millis(200)), &request);
    let error = in_time(seconds(3), "the deadline's end", error).await;
    let error = error.unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_answers_in_the_order_of_its_inputs() {
    let broker = Broker::start().workers(3).await;
    let client = broker.client().await;
    let results = client
        .map::<Calculator, _, _, _>("calculator", 0..500u64, |calculator, n| async move {
            let terms = calculator.fibonacci(within(seconds(20)), n % 60 + 1).await;
            terms.unwrap().unwrap().len()
        })
        .await
        .unwrap();
    let lengths: Vec<usize> = results.collect().await;
    let expected: Vec<usize> = (0..500).map(|n| n % 60 + 1).collect();
    assert_eq!(lengths, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_not_safe_to_repeat_runs_exactly_once() {
    let mut broker = Broker::start().await;
    broker.add_ledger("l1", None).await;
    let client = broker.client().await;
    let proxy = client
        .proxy::<ledger::Ledger>(ledger::OBJECT)
        .await
        .unwrap();
    let load = Load::start(&proxy, 8, |entry| ledger::ledger::LedgerRequest::Enter {
        entry,
        ms: 0,
    });
    load.goes_on_for(200).await;
    let mut tally = load.stop().await;
    tally.all_succeeded();
    let mut entries = broker.ledger_entries();
    entries.sort_unstable();
    tally.numbers.sort_unstable();
    assert_eq!(entries, tally.numbers);
}
