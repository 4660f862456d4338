//! What becomes of a task by the ends of its attempts.

use crate::harness::{
    LONG, Place, START, call, claim_one, dispatcher, failed, finish, lost, on_all, running, show,
    submit,
};
use pyroxene_store::{
    AttemptEnding, AttemptOutcome, AttemptProgress, FIRST_ATTEMPTS, FinishOutcome, FinishedAttempt,
    LAST_ATTEMPTS, NewStoredTask, RetryOutcome, StartedAttempt, StoredTaskState,
};

on_all! {
    an_error_that_may_pass_is_tried_again_after_a_pause
    a_lost_attempt_goes_on_and_a_poison_task_stops
    a_task_that_two_workers_fell_silent_with_stops_and_a_retry_begins_afresh
    a_refusal_is_no_attempt
    what_is_denied_is_not_tried_again
    of_many_attempts_the_first_and_the_last_are_kept
    progress_and_worker_are_noted
}

async fn an_error_that_may_pass_is_tried_again_after_a_pause(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let max_attempts = 2;
    let id = submit(
        &store,
        NewStoredTask {
            max_attempts,
            ..call("calc")
        },
    )
    .await;
    let first = claim_one(&store, owner, "calc").await;
    let finished = finish(&store, running(&first, owner), failed(true)).await;
    assert_eq!(finished, FinishOutcome::Accepted(StoredTaskState::Delayed));
    let task = show(&store, id).await;
    assert!(task.due > START && task.due <= START + 500, "{}", task.due);
    assert_eq!(task.attempts.len(), 1);
    assert_eq!(task.attempts[0].outcome, Some(AttemptOutcome::Failed));
    place.advance(500);
    assert_eq!(store.sweep().await.unwrap().due, 1);
    let second = claim_one(&store, owner, "calc").await;
    assert_eq!(second.attempt, 2);
    let finished = finish(&store, running(&second, owner), failed(true)).await;
    assert_eq!(finished, FinishOutcome::Accepted(StoredTaskState::Failed));
    let task = show(&store, id).await;
    assert!(task.error.unwrap().contains("given up after 2 attempts"));
    assert_eq!(task.result.unwrap(), b"{\"SoldOut\":1}");
    let numbers: Vec<i64> = task.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn a_lost_attempt_goes_on_and_a_poison_task_stops(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let id = submit(&store, call("calc")).await;
    for attempt in 1..=3 {
        let claimed = claim_one(&store, owner, "calc").await;
        assert_eq!(claimed.attempt, attempt);
        finish(&store, running(&claimed, owner), lost()).await;
        place.advance(60_000);
        store.sweep().await.unwrap();
    }
    let task = show(&store, id).await;
    assert_eq!(
        (task.state, task.attempts.len()),
        (StoredTaskState::Failed, 3)
    );
    let error = task.error.unwrap();
    assert!(error.contains("may be what kills it"), "{error}");
    assert!(
        task.attempts
            .iter()
            .all(|attempt| attempt.outcome == Some(AttemptOutcome::Lost))
    );
}

async fn a_task_that_two_workers_fell_silent_with_stops_and_a_retry_begins_afresh(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let task = NewStoredTask {
        max_attempts: 1000,
        ..call("calc")
    };
    let id = submit(&store, task).await;
    let attempt = async |worker: &str, ending: AttemptEnding| {
        place.advance(60_000);
        store.sweep().await.unwrap();
        let claimed = claim_one(&store, owner, "calc").await;
        let finish = FinishedAttempt {
            running: running(&claimed, owner),
            worker: Some(worker.to_owned()),
            ending,
        };
        store.finish(vec![finish]).await.unwrap().remove(0)
    };
    let silent = || AttemptEnding::Silent {
        reason: "silence".to_owned(),
    };
    let refused = || AttemptEnding::Refused {
        reason: "overloaded".to_owned(),
    };
    let goes_on = |finished| {
        assert!(
            matches!(
                finished,
                FinishOutcome::Accepted(StoredTaskState::Queued | StoredTaskState::Delayed)
            ),
            "{finished:?}"
        );
    };
    // The same worker twice, with other ends in between: workers that are killed, or have no room.
    for worker in ["w1", "w1"] {
        goes_on(attempt(worker, silent()).await);
        goes_on(attempt("w3", lost()).await);
        goes_on(attempt("w4", lost()).await);
        goes_on(attempt("w5", refused()).await);
    }
    let finished = attempt("w2", silent()).await;
    assert_eq!(finished, FinishOutcome::Accepted(StoredTaskState::Failed));
    let task = show(&store, id).await;
    let error = task.error.unwrap();
    let expected = "it cost 2 workers their lease: 'w1' and 'w2' fell silent while they ran it";
    assert!(error.starts_with(expected), "{error}");
    assert!(error.ends_with("taken to another one: silence"), "{error}");
    let silent_at = task.attempts.iter();
    let silent_at = silent_at.filter(|attempt| attempt.outcome == Some(AttemptOutcome::Silent));
    let silent_at: Vec<i64> = silent_at.map(|attempt| attempt.number).collect();
    assert_eq!(silent_at, [1, 5, 9]);
    assert_eq!(store.check().await.unwrap(), [""; 0]);

    place.advance(1);
    assert_eq!(store.retry(vec![id]).await.unwrap(), [RetryOutcome::Queued]);
    goes_on(attempt("w1", silent()).await);
    assert_eq!(show(&store, id).await.attempts.len(), 10);
    let finished = attempt("w2", silent()).await;
    assert_eq!(finished, FinishOutcome::Accepted(StoredTaskState::Failed));
}

async fn a_refusal_is_no_attempt(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let max_attempts = 1;
    let id = submit(
        &store,
        NewStoredTask {
            max_attempts,
            ..call("calc")
        },
    )
    .await;
    for _ in 0..3 {
        let claimed = claim_one(&store, owner, "calc").await;
        let reason = "overloaded".to_owned();
        let finished = finish(
            &store,
            running(&claimed, owner),
            AttemptEnding::Refused { reason },
        )
        .await;
        assert_eq!(finished, FinishOutcome::Accepted(StoredTaskState::Delayed));
        place.advance(60_000);
        store.sweep().await.unwrap();
    }
    let task = show(&store, id).await;
    assert_eq!(
        (task.state, task.attempt, task.counted_attempts),
        (StoredTaskState::Queued, 3, 0)
    );
    claim_one(&store, owner, "calc").await;
    assert_eq!(show(&store, id).await.counted_attempts, 1);
}

async fn what_is_denied_is_not_tried_again(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let id = submit(&store, call("calc")).await;
    let claimed = claim_one(&store, owner, "calc").await;
    let reason = "'ann' (user) may not call calc.run".to_owned();
    let finished = finish(
        &store,
        running(&claimed, owner),
        AttemptEnding::Denied { reason },
    )
    .await;
    assert_eq!(finished, FinishOutcome::Accepted(StoredTaskState::Failed));
    let task = show(&store, id).await;
    assert_eq!(task.attempts[0].outcome, Some(AttemptOutcome::Refused));
    assert!(task.error.unwrap().ends_with("may not call calc.run"));
}

async fn of_many_attempts_the_first_and_the_last_are_kept(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let id = submit(&store, call("calc")).await;
    for _ in 0..70 {
        let claimed = claim_one(&store, owner, "calc").await;
        let reason = "nobody is there".to_owned();
        finish(
            &store,
            running(&claimed, owner),
            AttemptEnding::Refused { reason },
        )
        .await;
        place.advance(60_000);
        store.sweep().await.unwrap();
    }
    let task = show(&store, id).await;
    let numbers: Vec<i64> = task.attempts.iter().map(|attempt| attempt.number).collect();
    let kept = (1..=FIRST_ATTEMPTS).chain(71 - LAST_ATTEMPTS..=70);
    assert_eq!(numbers, kept.collect::<Vec<_>>());
    assert_eq!((task.attempt, task.counted_attempts), (70, 0));
    // After a retry by hand, the numbers continue.
    store.cancel(vec![id]).await.unwrap();
    store.retry(vec![id]).await.unwrap();
    assert_eq!(show(&store, id).await.attempts.len(), 60);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn progress_and_worker_are_noted(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let id = submit(&store, call("calc")).await;
    let attempt = running(&claim_one(&store, owner, "calc").await, owner);
    let worker = "w7".to_owned();
    let started = StartedAttempt {
        running: attempt,
        worker,
    };
    assert_eq!(store.started(vec![started.clone()]).await.unwrap(), [true]);
    let progress = AttemptProgress {
        running: attempt,
        fraction: Some(0.25),
        note: Some("a\0b".to_owned()),
    };
    assert_eq!(
        store.progress(vec![progress.clone()]).await.unwrap(),
        [true]
    );
    let task = show(&store, id).await;
    assert_eq!(
        (task.fraction, task.note.unwrap()),
        (Some(0.25), "a\u{fffd}b".to_owned())
    );
    assert_eq!(task.attempts[0].worker.as_deref(), Some("w7"));
    assert_eq!(task.attempts[0].outcome, None);
    store.cancel(vec![id]).await.unwrap();
    assert_eq!(store.started(vec![started]).await.unwrap(), [false]);
    assert_eq!(store.progress(vec![progress]).await.unwrap(), [false]);
}
