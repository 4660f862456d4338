//! Several calls in one frame.

use crate::{
    harness::*,
    probe::{Request, echo, pass},
};
use pyroxene_common::{
    channel::{AttemptError, Settings},
    message::EncodedRequest,
    wire::FrameKind,
};

fn echoes(count: usize, len: usize) -> Vec<EncodedRequest> {
    (0..count)
        .map(|n| encoded(&echo(format!("{n}{}", "x".repeat(len)))))
        .collect()
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests() {
    let (client, mut server) = raw_server(Settings::CLIENT);
    let batch = tokio::spawn(async move { client.call_batch(&minutes(1), &echoes(3, 0)).await });
    let body = server.expect(FrameKind::Batch).await;
    let mut rest = &body[..];
    let mut ids = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (message, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        ids.push(id_of(message));
        rest = after;
    }
    for (n, id) in ids.into_iter().enumerate().rev() {
        let response = crate::probe::Response::Echo(n.to_string());
        server.write(&response_frame(id, response)).await;
    }
    let answers: Vec<_> = within(batch).await.unwrap().into_iter().map(text).collect();
    assert_eq!(answers, ["0", "1", "2"]);
}

#[tokio::test]
async fn one_that_fails_does_not_fail_the_others() {
    let settings = Settings {
        max_send: 10_000,
        ..Settings::CLIENT
    };
    let pair = pair_with(settings, session());
    let requests = [
        encoded(&echo("first")),
        encoded(&Request::PanicNow {
            message: "no".into(),
        }),
        encoded(&echo("x".repeat(10_001))),
        encoded(&echo("last")),
    ];
    let mut answers = within(pair.client.call_batch(&minutes(1), &requests)).await;
    assert_eq!(text(answers.pop().unwrap()), "last");
    let too_large = answers.pop().unwrap();
    assert!(matches!(
        too_large,
        Err(AttemptError::TooLarge { limit: 10_000, .. })
    ));
    assert_eq!(failure(answers.pop().unwrap()), "the method panicked: no");
    assert_eq!(text(answers.pop().unwrap()), "first");
}

#[tokio::test]
async fn an_empty_batch_sends_nothing() {
    let pair = pair();
    assert!(pair.client.call_batch(&minutes(1), &[]).await.is_empty());
}

#[tokio::test]
async fn a_batch_beyond_what_may_be_in_flight_completes() {
    let settings = Settings {
        max_in_flight: 5,
        ..Settings::CLIENT
    };
    let pair = pair_with(settings, session());
    let answers = within(pair.client.call_batch(&minutes(1), &echoes(100, 0))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(text(answer), n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn batches_side_by_side_do_not_wait_for_each_other() {
    let settings = Settings {
        max_in_flight: 8,
        ..Settings::CLIENT
    };
    let pair = pair_with(settings, session());
    pair.object.open(1000);
    let batches = (0..20).map(|_| {
        let client = pair.client.clone();
        tokio::spawn(async move {
            let requests: Vec<_> = (0..40).map(|n| encoded(&pass(n))).collect();
            client.call_batch(&minutes(1), &requests).await
        })
    });
    for answers in futures::future::join_all(batches).await {
        assert!(answers.unwrap().into_iter().all(|answer| answer.is_ok()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_the_outbox_may_be_is_sent_all_the_same() {
    let settings = Settings {
        max_buffered: 256 * 1024,
        ..Settings::CLIENT
    };
    let pair = pair_with(settings, session());
    let answers = within(pair.client.call_batch(&minutes(1), &echoes(20, 100_000))).await;
    for answer in answers {
        assert!(text(answer).len() > 100_000);
    }
}

#[tokio::test]
async fn a_batch_of_one_may_be_as_large_as_a_call() {
    let request = encoded(&echo("x".repeat(936)));
    let mut session = session();
    session.settings.max_receive = 1000;
    let settings = Settings {
        max_send: 1000,
        ..Settings::CLIENT
    };
    let pair = pair_with(settings, session);
    let mut answers = within(pair.client.call_batch(&minutes(1), &[request])).await;
    assert_eq!(text(answers.pop().unwrap()).len(), 936);
}
