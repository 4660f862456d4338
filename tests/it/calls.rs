//! Calls as they should be: nothing breaks.

use crate::harness::{Broker, Load, eventually, in_time, ledger, seconds, within};
use futures::{StreamExt, future::join_all};
use ledger::{
    Ledger,
    ledger::{LedgerRequest, LedgerResponse},
};
use pyroxene_client::CallError;
use pyroxene_common::values::Payload;
use pyroxene_objects::interfaces::{
    calculator::{Calculator, CalculatorError, calculator::CalculatorRequest},
    echo::{Echo, echo::EchoRequest},
    hash::Hash,
    text::Text,
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
    let proxy = client.proxy::<Ledger>(ledger::OBJECT).await.unwrap();
    let load = Load::start(&proxy, 8, |entry| LedgerRequest::Enter { entry, ms: 0 });
    load.goes_on_for(200).await;
    let mut tally = load.stop().await;
    tally.all_succeeded();
    let mut entries = broker.ledger_entries();
    entries.sort_unstable();
    tally.numbers.sort_unstable();
    assert_eq!(entries, tally.numbers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_waits_for_an_object_that_is_not_there_yet() {
    let mut broker = Broker::start().await;
    let client = broker.client().await;
    let missing = client.object::<Echo>("echo").await.unwrap_err();
    assert!(matches!(missing, CallError::Unavailable(_)), "{missing}");
    let echo = client.weak_object::<Echo>("echo");
    let waiting = tokio::spawn(async move { echo.whoami(within(seconds(20))).await });
    broker.add_worker("w1", &[]).await;
    let identity = in_time(seconds(3), "the waiting call", waiting).await;
    assert_eq!(identity.unwrap().unwrap().worker, "w1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_in_its_order_and_a_call_without_an_answer_runs() {
    let mut broker = Broker::start().await;
    broker.add_ledger("l1", None).await;
    let client = broker.client().await;
    let proxy = client.proxy::<Ledger>(ledger::OBJECT).await.unwrap();
    let requests: Vec<_> = (0..300)
        .map(|entry| LedgerRequest::Enter {
            entry,
            ms: entry % 3,
        })
        .collect();
    let answers = proxy.batch(within(seconds(10)), &requests).await;
    let answers: Vec<u64> = answers
        .into_iter()
        .map(|answer| match answer.unwrap() {
            LedgerResponse::Enter(entry) => entry,
            LedgerResponse::Repeat(_) | LedgerResponse::Fence(_) => {
                panic!("another method's answer")
            }
        })
        .collect();
    assert!(answers.iter().copied().eq(0..300), "{answers:?}");

    let request = LedgerRequest::Enter { entry: 300, ms: 0 };
    proxy.send(within(seconds(5)), &request).await.unwrap();
    eventually("all ran once", || async {
        let mut entries = broker.ledger_entries();
        entries.sort_unstable();
        let all = entries.iter().copied().eq(0..=300);
        all.then_some(()).ok_or(format!("{entries:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_is_an_error_for_its_sender_alone() {
    let broker = Broker::start()
        .worker("w1", &["--max-message", "100000"])
        .await;
    let client = broker
        .client_with(|config| config.max_message(20_000))
        .await;
    let echo = client.object::<Echo>("echo").await.unwrap();
    let say = |bytes: usize| {
        let data = Payload::Bytes(vec![0; bytes].into());
        echo.echo(within(seconds(5)), data)
    };
    let connection = echo.whoami(within(seconds(5))).await.unwrap().address;

    let request = say(200_000).await.unwrap_err();
    assert!(matches!(request, CallError::NotSent(_)), "{request}");
    assert!(request.to_string().contains("100000 bytes"), "{request}");
    let answer = say(50_000).await.unwrap_err();
    assert!(matches!(answer, CallError::Failed(_)), "{answer}");
    assert!(answer.to_string().contains("20000 bytes"), "{answer}");
    say(10_000).await.unwrap();

    let same = echo.whoami(within(seconds(5))).await.unwrap().address;
    assert_eq!(same, connection, "the connection survived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_on_a_unix_socket_is_as_good_as_any() {
    let mut broker = Broker::start().await;
    let socket = format!("unix:{}/w1.sock", broker.dir().display());
    broker.add_worker("w1", &["--listen", &socket]).await;
    assert_eq!(broker.worker("w1").address(), socket);
    let client = broker.client().await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let load = Load::start(&echo, 4, |_| EchoRequest::Sleep { ms: 1 });
    load.goes_on_for(50).await;
    load.stop().await.all_succeeded();
    let status = broker.worker("w1").terminate().await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(!broker.dir().join("w1.sock").exists(), "its file is left");
}
