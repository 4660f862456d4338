//! Streams of items between real processes.

use crate::{
    harness::{Broker, eventually, in_time, seconds, within},
    http::request,
};
use futures::{StreamExt, TryStreamExt, stream};
use pyroxene_common::{Stream, channel::StreamFailure, values::Payload};
use pyroxene_objects::interfaces::echo::Echo;
use pyroxene_worker::Worker;
use serde_json::json;
use std::time::Duration;
use tarpc::context::Context;
use tokio::{sync::oneshot, time::sleep};

#[tokio::test]
async fn a_stream_over_a_worker_that_is_killed_says_how_many_items_arrived() {
    let mut broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let echo = client.object::<Echo>("echo").await.unwrap();
    let mut counted = echo
        .count(within(seconds(60)), 1_000_000, Some(1))
        .await
        .unwrap();
    for expected in 0..20 {
        let item = in_time(seconds(10), "an item", counted.next()).await;
        assert_eq!(item.unwrap().unwrap(), expected);
    }
    broker.worker("w1").kill().await;
    let mut arrived = 20;
    let error = loop {
        match in_time(seconds(20), "the end", counted.next())
            .await
            .unwrap()
        {
            Ok(_) => arrived += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.items, arrived);
    assert!(matches!(error.failure, StreamFailure::Lost(_)), "{error:?}");
}

#[tokio::test]
async fn a_parameter_goes_to_a_worker_that_accepts_it_and_breaks_with_it() {
    let mut broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let echo = client.object::<Echo>("echo").await.unwrap();
    let items = Stream::new(stream::iter((0..1000).map(|n| Payload::from(json!(n)))));
    let collected = echo
        .collect(within(seconds(20)), items)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((collected.items, collected.bytes), (1000, 2890));
    // Once items were sent, the call is not made again elsewhere.
    let (started, has_started) = oneshot::channel();
    let first = stream::once(async move {
        started.send(()).unwrap();
        Payload::from(json!(1))
    });
    let items = Stream::new(first.chain(stream::pending()));
    let calling = echo.collect(within(seconds(30)), items);
    let killing = async {
        in_time(seconds(20), "the first item", has_started)
            .await
            .unwrap();
        broker.worker("w1").kill().await;
    };
    let (called, ()) = tokio::join!(calling, killing);
    assert!(called.is_err(), "{called:?}");
}

#[tokio::test]
async fn the_command_line_prints_items_and_reads_them() {
    let broker = Broker::start().workers(1).await;
    let counted = broker.run(&["call", "echo", "count", "n=5"]).await;
    assert_eq!(counted.out(), "0\n1\n2\n3\n4");
    let counted = broker
        .run(&["call", "--json", "echo", "count", "n=2"])
        .await;
    assert_eq!(
        counted.out(),
        "{\"item\":0}\n{\"item\":1}\n{\"done\":true,\"items\":2,\"worker\":\"w1\"}"
    );
    let numbers: String = (1..=1000).map(|n| format!("{n}\n")).collect();
    let collected = broker
        .feed(&["call", "echo", "collect", "items=-"], &numbers)
        .await;
    assert_eq!(collected.json(), json!({"items": 1000, "bytes": 2893}));
    let described = broker.run(&["describe", "echo"]).await;
    assert!(
        described
            .out()
            .contains("count(n: integer, interval_ms: integer | null) -> stream of integer")
    );
    let refused = broker.run(&["call", "echo", "collect", "items=[1]"]).await;
    assert!(refused.error(2).contains("is a stream"));
    let late = broker
        .run(&[
            "call",
            "--timeout",
            "300ms",
            "echo",
            "count",
            "n=1000",
            "interval_ms=50",
        ])
        .await;
    assert!(late.complaint(5).contains("the stream broke after"));
}

/// The metrics of a broker with one worker, once each of these lines is there.
async fn metrics_with(broker: &Broker, wanted: &[&str]) -> String {
    eventually("the metrics", || async {
        let metrics = request(broker, "GET", "/metrics").send().await.body;
        let mut missing = wanted
            .iter()
            .filter(|line| !metrics.lines().any(|there| there == **line));
        match missing.next() {
            None => Ok(metrics),
            Some(line) => Err(format!("{line} is missing in {metrics}")),
        }
    })
    .await
}

pyroxene_common::interface! {
    /// Has a stream that breaks.
    #[name = "Test.Brittle"]
    #[version = 1]
    pub(crate) trait Brittle in brittle {
        /// Three numbers, one each 0.3 s, and an error.
        async fn break_off() -> Stream<u64>;
    }
}

#[derive(Clone)]
struct Breaks;

impl brittle::Brittle for Breaks {
    async fn break_off(self, _: Context) -> Stream<u64> {
        let items = stream::iter([Ok(0), Ok(1), Ok(2), Err("no paper")]);
        Stream::fallible(items.then(|item| async move {
            sleep(Duration::from_millis(300)).await;
            item
        }))
    }
}

#[tokio::test]
async fn a_stream_is_a_call_in_flight_until_it_ends_and_counts_with_its_outcome_and_time() {
    let broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let echo = client.object::<Echo>("echo").await.unwrap();
    let in_flight = |count| format!(r#"pyroxene_calls_in_flight{{worker="w1"}} {count}"#);
    let ended = |outcome, count| {
        let labels = format!(r#"object="echo",method="count",outcome="{outcome}""#);
        format!("pyroxene_calls_total{{{labels}}} {count}")
    };
    let counted = echo.count(within(seconds(60)), 1_000_000, Some(1)).await;
    let mut counted = counted.unwrap();
    in_time(seconds(10), "an item", counted.next())
        .await
        .unwrap()
        .unwrap();
    metrics_with(&broker, &[&in_flight(1), &ended("ok", 0)]).await;
    // It is no error that its reader has enough.
    drop(counted);
    metrics_with(
        &broker,
        &[&in_flight(0), &ended("ok", 1), &ended("error", 0)],
    )
    .await;

    let _worker = Worker::builder()
        .nameserver(broker.addresses())
        .host("brittle", Brittle, Breaks)
        .bind()
        .await
        .unwrap();
    let brittle = client.object::<Brittle>("brittle").await.unwrap();
    let broken = brittle.break_off(within(seconds(60))).await.unwrap();
    let broken = broken.try_for_each(|_| async { Ok(()) }).await.unwrap_err();
    assert!(
        matches!(broken.failure, StreamFailure::Failed(_)),
        "{broken}"
    );
    let labels = r#"object="brittle",method="break_off""#;
    let failed = format!("pyroxene_calls_total{{{labels},outcome=\"error\"}} 1");
    let metrics = metrics_with(&broker, &[&failed]).await;
    let sum = format!("pyroxene_call_duration_seconds_sum{{{labels}}} ");
    let mut sums = metrics.lines().filter_map(|line| line.strip_prefix(&*sum));
    let took: f64 = sums.next().unwrap().parse().unwrap();
    assert!(took >= 1.2, "it took {took} s");
}
