//! Streams of items between programs in Python and Rust.

use super::{Python, pyroxene};
use crate::harness::{Broker, eventually_within, in_time, seconds, within};
use futures::{StreamExt, TryStreamExt, stream};
use pyroxene_common::{Stream, interface};

interface! {
    /// What a program in Rust knows of the warehouses in Python.
    #[name = "Example.Warehouse"]
    #[version = 1]
    trait Warehouse in warehouse {
        async fn items_one_by_one() -> Stream<String>;
        async fn endless() -> Result<Stream<String>, String>;
        async fn closed() -> u32;
        async fn how_many(items: Stream<u32>) -> Result<u32, String>;
        async fn take(item: String) -> Result<String, String>;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_takes_the_items_of_workers_one_by_one() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = Broker::start().workers(1).await;
    let said = python.script(&broker, "streams.py", &[]).await;
    let said = said.out();
    for serializer in ["serpent", "json", "msgpack", "marshal"] {
        for line in ["items [0, 1, 2, 3, 4]", "a list as a stream 2"] {
            let line = format!("{serializer} {line}");
            assert!(said.lines().any(|found| found == line), "{line}: {said}");
        }
    }
    for line in [
        "side by side [0, 0, 1, 1] between [2]",
        "closed early []",
        "after timeouts [0, 1, 2, 3, 4] True",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_python_are_a_stream_for_clients_of_this_broker() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let broker = Broker::start().workers(0).await;
    let _server = python.server(&broker, "warehouse.py", &["p1"]).await;
    let items = pyroxene(
        &broker,
        &["call", "Example.warehouse", "items_one_by_one", "--json"],
    )
    .await;
    let items: Vec<&str> = items.out().lines().collect();
    assert_eq!(items[..2], [r#"{"item":"chair"}"#, r#"{"item":"bike"}"#]);

    let client = broker.client().await;
    let warehouse = client
        .object::<Warehouse>("Example.warehouse")
        .await
        .unwrap();
    let context = || within(seconds(30));
    let items = warehouse.items_one_by_one(context()).await.unwrap();
    let items: Vec<String> = items.try_collect().await.unwrap();
    assert_eq!(items, ["chair", "bike"]);
    let numbers = Stream::new(stream::iter(0..100));
    let count = warehouse.how_many(context(), numbers).await.unwrap();
    assert_eq!(count, Ok(100));
    let missing = warehouse.take(context(), "boat".to_owned()).await.unwrap();
    assert_eq!(missing, Err("ValueError: there is no boat".to_owned()));

    // A stream that is given up ends its generator.
    let mut endless = warehouse.endless(context()).await.unwrap().unwrap();
    for _ in 0..2000 {
        let item = in_time(seconds(10), "an item", endless.next()).await;
        assert_eq!(item.unwrap().unwrap(), "more");
    }
    assert_eq!(warehouse.closed(context()).await.unwrap(), 0);
    drop(endless);
    eventually_within(seconds(20), "the generator ends", async || {
        let closed = warehouse.closed(context()).await.unwrap();
        (closed == 1).then_some(()).ok_or(format!("{closed} ended"))
    })
    .await;
}
