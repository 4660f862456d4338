//! Attempts that reach nobody.

use crate::{
    harness::Broker,
    tasks::desk::{Desk, echo},
};
use pyroxene_common::interfaces::tasks::{AttemptResult, TaskState};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_cannot_be_reached_is_tried_more_and_more_rarely() {
    // Nobody listens at that port.
    let unreachable = ["--advertise", "127.0.0.1:1"];
    let mut broker = Broker::start().worker("w1", &unreachable).await;
    let desk = Desk::at(&mut broker, 0);
    let mut hasty = echo("x");
    (hasty.max_attempts, hasty.backoff_ms) = (1, 0);
    let id = desk.submit(hasty).await;
    let attempts = desk
        .becomes("it was tried five times", &id, |task| {
            let ended = task.attempts.iter().filter(|one| one.ended_ms.is_some());
            (ended.count() >= 5).then(|| task.attempts.clone())
        })
        .await;
    let mut pauses = attempts.windows(2).map(|pair| {
        assert_eq!(pair[0].outcome, Some(AttemptResult::Refused), "{pair:?}");
        pair[1].started_ms - pair[0].ended_ms.unwrap()
    });
    // Half of 100 ms, 200 ms and so on is the least.
    for least in [50, 100, 200, 400] {
        let pause = pauses.next().unwrap();
        assert!(pause >= least, "{pause} ms are less than {least} ms");
    }
    // None of them is an attempt too many.
    let shown = broker.run(&["tasks", "show", &id.0]).await;
    let shown = shown.out();
    assert!(shown.contains("of 1\n"), "{shown}");
    assert!(
        !shown.contains("2 of 1") && !shown.contains("5 of 1"),
        "{shown}"
    );
    assert_eq!(desk.cancel(&id).await, TaskState::Cancelled);
}
