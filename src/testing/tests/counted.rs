//! Streams count as calls.

use super::super::Broker;
use crate::{CallError, Stream, tarpc::context::Context};
use futures::StreamExt;
use pyroxene_client::context_within;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Notify, time::Instant};

crate::interface! {
    /// Has streams.
    #[name = "Test.Source"]
    #[version = 1]
    pub(crate) trait Source in source {
        /// Numbers without end.
        #[idempotent]
        async fn numbers() -> Stream<u64>;
        /// How many items there are.
        async fn count(items: Stream<u64>) -> usize;
    }
}

/// Notified when `count` has begun.
#[derive(Clone)]
struct Numbers(Arc<Notify>);

impl source::Source for Numbers {
    async fn numbers(self, _: Context) -> Stream<u64> {
        Stream::new(futures::stream::iter(0..))
    }

    async fn count(self, _: Context, items: Stream<u64>) -> usize {
        self.0.notify_one();
        items.count().await
    }
}

fn minute() -> Context {
    context_within(Duration::from_secs(60))
}

#[tokio::test(start_paused = true)]
async fn streams_count_in_the_overload_of_their_worker_until_they_end() {
    let mut broker = Broker::start().await.unwrap();
    let begun = Arc::new(Notify::new());
    let numbers = Numbers(Arc::clone(&begun));
    let added = broker.worker("w1", |worker| {
        worker.max_calls(2).host("source", Source, numbers)
    });
    added.await.unwrap();
    let client = broker.client_with(|config| config.max_attempts(1)).await;
    let source = client.unwrap().object::<Source>("source").await.unwrap();
    let mut read = source.numbers(minute()).await.unwrap();
    assert_eq!(read.next().await.unwrap().unwrap(), 0);
    // A stream in the parameters: its method has not answered.
    let endless = Stream::new(futures::stream::pending());
    let mut counting = Box::pin(source.count(minute(), endless));
    tokio::select! {
        counted = &mut counting => panic!("{counted:?}"),
        () = begun.notified() => {}
    }
    let refused = source.numbers(minute()).await.unwrap_err();
    assert!(matches!(refused, CallError::Unavailable(_)), "{refused}");
    assert!(
        refused
            .to_string()
            .contains("its limit of calls is reached"),
        "{refused}"
    );
    drop((read, counting));
    let few = || Stream::new(futures::stream::iter(0..5));
    let dropped = Instant::now();
    for _ in 0..1000 {
        match source.count(minute(), few()).await {
            Ok(counted) => {
                assert_eq!(counted, 5);
                let took = dropped.elapsed();
                assert!(took < Duration::from_secs(1), "{took:?}");
                return;
            }
            Err(CallError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the worker still counts the streams that were dropped");
}
