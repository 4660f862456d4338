//! Streams of items, in both directions.

mod hostile;
mod object;

use crate::harness::{lasting, minutes, session, within};
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use object::streamer::{StreamerRequest as Request, StreamerResponse as Response};
use object::{
    Client, StreamObject, Streamer, answer, call, numbers, pair, pair_with, serve_on, stream_of,
};
use pyroxene_common::{
    Stream,
    channel::{AttemptError, ConnectionLost, Settings, StreamError, StreamFailure, StreamInputs},
    interface::Interface,
    message::{EncodedRequest, RefusalReason},
    values::Blob,
};
use std::{error::Error, time::Duration};
use tokio::io::duplex;

#[test]
fn an_interface_says_which_methods_have_streams() {
    let streams = |name: &str| {
        let mut methods = Streamer::METHODS.iter();
        let method = methods.find(|method| method.name == name).unwrap();
        (method.takes_stream, method.answers_stream)
    };
    assert_eq!(streams("count"), (false, true));
    assert_eq!(streams("count_or_fail"), (false, true));
    assert_eq!(streams("sum"), (true, false));
    assert_eq!(streams("double"), (true, true));
    assert_eq!(streams("number"), (false, false));
    let description = Streamer::describe();
    let sum = description.method("sum").unwrap();
    assert!(sum.parameters[0].is_stream() && !sum.answers_stream());
    assert_eq!(sum.parameters[0].schema["items"]["type"], "integer");
    assert!(description.method("count").unwrap().answers_stream());
}

#[tokio::test]
async fn the_items_of_an_answer_arrive_in_their_order() {
    let pair = pair();
    for n in [0, 1, 10_000] {
        let items: Vec<u64> = within(
            numbers(&pair.client, Request::Count { n })
                .await
                .try_collect(),
        )
        .await
        .unwrap();
        assert_eq!(items, (0..n).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn large_items_arrive_whole() {
    let pair = pair();
    let answer = call(
        &pair.client,
        Request::Blobs {
            count: 40,
            size: 1 << 20,
        },
    )
    .await;
    let Ok(Response::Blobs(blobs)) = answer else {
        panic!("it answered {answer:?}")
    };
    let blobs: Vec<Blob> = within(blobs.try_collect()).await.unwrap();
    assert_eq!(blobs.len(), 40);
    for (number, blob) in blobs.iter().enumerate() {
        assert_eq!(blob.0.len(), 1 << 20);
        assert!(blob.0.iter().all(|&byte| usize::from(byte) == number));
    }
}

#[tokio::test]
async fn the_items_of_a_parameter_arrive_and_so_do_those_of_both() {
    let pair = pair();
    let items = stream_of(0..10_000);
    let summed = call(&pair.client, Request::Sum { items }).await;
    assert!(
        matches!(summed, Ok(Response::Sum(Ok(49_995_000)))),
        "{summed:?}"
    );
    let doubled = numbers(
        &pair.client,
        Request::Double {
            items: stream_of(0..5000),
        },
    )
    .await;
    let doubled: Vec<u64> = within(doubled.try_collect()).await.unwrap();
    assert_eq!(doubled, (0..5000).map(|n| 2 * n).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_stalled_reader_among_a_thousand_stops_nobody_and_holds_its_own_window() {
    let pair = pair();
    let stalled = numbers(&pair.client, Request::Endless { id: 0 }).await;
    let client = &pair.client;
    let others = (1..1000).map(|id| numbers(client, Request::Endless { id }));
    let others = within(join_all(others)).await;
    let read = others
        .into_iter()
        .map(|items| items.take(1500).try_collect::<Vec<u64>>());
    for items in within(join_all(read)).await {
        assert_eq!(items.unwrap(), (0..1500).collect::<Vec<_>>());
    }
    assert_eq!(answer(call(&pair.client, Request::Number {}).await), 7);
    // The first window has 1024 items.
    let made = pair.object.made();
    assert!((1..=1024).contains(&made), "{made}");
    drop(stalled);
    within(pair.object.ended(1000)).await;
}

#[tokio::test]
async fn an_endless_producer_ends_when_its_reader_goes() {
    let pair = pair();
    let mut items = numbers(&pair.client, Request::Endless { id: 1 }).await;
    assert_eq!(within(items.next()).await.unwrap().unwrap(), 0);
    drop(items);
    within(pair.object.ended(1)).await;
    // The same for an answer that nobody waits for, and for a reader that is dropped unread.
    drop(numbers(&pair.client, Request::Endless { id: 1 }).await);
    within(pair.object.ended(2)).await;
}

#[tokio::test]
async fn a_producer_at_the_caller_ends_when_the_method_stops_reading() {
    let pair = pair();
    let (items, ended) = object::guarded(stream::repeat(1));
    let ignored = call(&pair.client, Request::Ignore { items }).await;
    assert!(matches!(ignored, Ok(Response::Ignore(3))), "{ignored:?}");
    within(ended).await.unwrap_err();
}

#[tokio::test]
async fn a_caller_that_gives_up_ends_its_producer() {
    let pair = pair();
    let (items, ended) = object::guarded(stream::pending());
    let calling = call(&pair.client, Request::Sum { items });
    tokio::select! {
        answered = calling => panic!("{answered:?}"),
        () = pair.object.summing() => {}
    }
    within(ended).await.unwrap_err();
}

fn failure(error: &StreamError) -> String {
    format!("{error}: {}", error.source().unwrap())
}

#[tokio::test]
async fn a_broken_stream_says_how_many_items_arrived() {
    let pair = pair();
    let mut items = numbers(&pair.client, Request::CountAndFail { n: 3 }).await;
    let three: Vec<_> = within(items.by_ref().take(3).try_collect::<Vec<u64>>())
        .await
        .unwrap();
    assert_eq!(three, [0, 1, 2]);
    let error = within(items.next()).await.unwrap().unwrap_err();
    assert_eq!(
        failure(&error),
        "the stream broke after 3 items: out of numbers"
    );
    assert!(within(items.next()).await.is_none());
    let mut items = numbers(&pair.client, Request::CountAndPanic { n: 1 }).await;
    assert_eq!(within(items.next()).await.unwrap().unwrap(), 0);
    let error = within(items.next()).await.unwrap().unwrap_err();
    assert_eq!(
        failure(&error),
        "the stream broke after 1 item: the stream panicked"
    );
}

#[tokio::test]
async fn a_lost_connection_breaks_both_ends() {
    let pair = pair();
    let mut items = numbers(&pair.client, Request::CountAndHang { n: 5 }).await;
    let five: Vec<_> = within(items.by_ref().take(5).try_collect::<Vec<u64>>())
        .await
        .unwrap();
    assert_eq!(five.len(), 5);
    pair.server.abort();
    let error = within(items.next()).await.unwrap().unwrap_err();
    assert_eq!(error.items, 5);
    assert!(matches!(error.failure, StreamFailure::Lost(_)), "{error:?}");
    within(pair.object.ended(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_call_is_that_of_its_streams() {
    let pair = pair();
    let context = lasting(Duration::from_secs(3));
    let request = EncodedRequest::new(&Request::CountAndHang { n: 2 }).unwrap();
    let answer = pair
        .client
        .call_streaming(&context, &request, &StreamInputs::default())
        .await;
    let Ok(Response::CountAndHang(mut items)) = answer else {
        panic!("{answer:?}")
    };
    for _ in 0..2 {
        within(items.next()).await.unwrap().unwrap();
    }
    let error = within(items.next()).await.unwrap().unwrap_err();
    assert_eq!(error.items, 2);
    assert!(
        matches!(error.failure, StreamFailure::DeadlineExceeded),
        "{error:?}"
    );
    within(pair.object.ended(1)).await;
}

#[tokio::test]
async fn an_item_that_the_peer_does_not_accept_breaks_the_stream() {
    let settings = Settings {
        max_receive: 2000,
        ..Settings::CLIENT
    };
    let mut server = session();
    server.settings.max_send = 2000;
    let pair = pair_with(settings, server);
    let answer = call(
        &pair.client,
        Request::Blobs {
            count: 2,
            size: 3000,
        },
    )
    .await;
    let Ok(Response::Blobs(mut blobs)) = answer else {
        panic!("it answered {answer:?}")
    };
    let error = within(blobs.next()).await.unwrap().unwrap_err();
    let said = failure(&error);
    assert!(
        said.ends_with("bytes exceeds the limit of 2000 bytes"),
        "{said}"
    );
}

#[tokio::test]
async fn a_call_that_was_refused_has_taken_nothing_from_its_streams() {
    let draining = pair();
    draining.drain.cancel();
    let request = Request::Sum {
        items: stream_of(0..10),
    };
    let (encoded, inputs) = StreamInputs::collect(|| EncodedRequest::new(&request));
    let encoded = encoded.unwrap();
    let context = minutes(1);
    let error = draining
        .client
        .call_streaming(&context, &encoded, &inputs)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, AttemptError::Refused(refusal) if refusal.reason == RefusalReason::Draining)
            || matches!(error, AttemptError::NotSent(ConnectionLost::GoneAway)),
        "{error:?}"
    );
    assert!(!inputs.are_taken());
    let other = pair();
    let summed = other
        .client
        .call_streaming(&context, &encoded, &inputs)
        .await;
    assert!(matches!(summed, Ok(Response::Sum(Ok(45)))), "{summed:?}");
    assert!(inputs.are_taken());
}

#[tokio::test]
async fn a_peer_without_streams_is_named() {
    let settings = Settings {
        streams: false,
        ..Settings::CLIENT
    };
    let pair = pair_with(settings, session());
    let error = call(&pair.client, Request::Count { n: 1 })
        .await
        .unwrap_err();
    let said = error.source().unwrap().to_string();
    assert_eq!(
        said,
        "the worker speaks version 1 of the protocol, which has no streams"
    );
    assert_eq!(answer(call(&pair.client, Request::Number {}).await), 7);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_streams_and_refuses_new_ones() {
    let pair = pair();
    let mut items = numbers(&pair.client, Request::CountSlowly { n: 5 }).await;
    assert_eq!(within(items.next()).await.unwrap().unwrap(), 0);
    pair.drain.cancel();
    let rest: Vec<u64> = within(items.try_collect()).await.unwrap();
    assert_eq!(rest, [1, 2, 3, 4]);
    let ended = within(pair.server).await.unwrap();
    assert!(
        matches!(
            ended,
            ConnectionLost::GoneAway | ConnectionLost::Closed | ConnectionLost::Io(_)
        ),
        "{ended:?}"
    );
}

#[tokio::test]
async fn streams_count_as_calls_in_flight() {
    let client = Settings {
        max_in_flight: 4,
        ..Settings::CLIENT
    };
    let pair = pair_with(client, session());
    let mut held = Vec::new();
    for id in 1..=4 {
        held.push(numbers(&pair.client, Request::Endless { id }).await);
    }
    let number = call(&pair.client, Request::Number {});
    let mut number = std::pin::pin!(number);
    assert!(futures::poll!(number.as_mut()).is_pending());
    held.pop();
    assert_eq!(answer(within(number).await), 7);
}

#[tokio::test]
async fn a_stream_outlives_its_client() {
    let (ours, theirs) = duplex(64 * 1024);
    let object = StreamObject::new();
    let server = serve_on(theirs, &object, session());
    let client = Client::new(ours, Settings::CLIENT);
    let items = numbers(&client, Request::Count { n: 5000 }).await;
    drop(client);
    let items: Vec<u64> = within(items.try_collect()).await.unwrap();
    assert_eq!(items.len(), 5000);
    within(server).await.unwrap();
}

#[test]
fn a_stream_is_encoded_as_a_part_of_a_call_only() {
    let stream: Stream<u64> = stream_of(0..3);
    let error = EncodedRequest::new(&stream).unwrap_err();
    assert!(
        error.to_string().contains("a stream cannot be sent here"),
        "{error}"
    );
}
