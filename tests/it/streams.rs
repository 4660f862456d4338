//! Streams of items between real processes.

use crate::harness::{Broker, in_time, seconds, within};
use futures::{StreamExt, stream};
use pyroxene_common::{Stream, channel::StreamFailure, values::Payload};
use pyroxene_objects::interfaces::echo::Echo;
use serde_json::json;
use tokio::sync::oneshot;

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
