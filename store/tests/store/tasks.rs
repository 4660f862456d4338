//! The life of a task.

use crate::harness::{
    LONG, Place, START, all_tasks, call, claim, claim_one, dispatcher, failed, finish, lost,
    on_all, running, show, submit, succeeded, wanted,
};
use pyroxene_store::{
    AttemptEnding, AttemptOutcome, AttemptProgress, CancelOutcome, ClaimQueue, ClaimedTask,
    FIRST_ATTEMPTS, FinishOutcome, FinishedAttempt, LAST_ATTEMPTS, NewStoredTask, RetryOutcome,
    StartedAttempt, StoreError, StoredAttempt, StoredTaskFilter, StoredTaskId, StoredTaskState,
    SubmissionOutcome, TaskClaim, TaskCounts,
};
use std::time::Duration;

on_all! {
    a_task_is_submitted_claimed_and_finished
    a_new_task_is_claimed_as_it_is_submitted
    a_task_that_is_known_or_delayed_is_not_claimed_as_it_is_submitted
    a_key_makes_two_submissions_one_task
    the_same_key_twice_in_one_list_is_one_task
    what_is_submitted_together_is_added_or_not_together
    greater_priority_goes_first_and_then_the_older
    each_object_has_its_own_queue
    a_pinned_task_goes_to_its_worker_alone
    a_delayed_task_is_due_in_time
    a_deadline_ends_what_has_not_begun
    an_error_that_may_pass_is_tried_again_after_a_pause
    a_lost_attempt_goes_on_and_a_poison_task_stops
    a_task_that_two_workers_fell_silent_with_stops_and_a_retry_begins_afresh
    a_refusal_is_no_attempt
    what_is_denied_is_not_tried_again
    of_many_attempts_the_first_and_the_last_are_kept
    what_failed_can_be_retried_by_hand
    a_task_is_cancelled_in_any_state
    large_bodies_come_back_as_they_were
    progress_and_worker_are_noted
    tasks_are_listed_page_by_page
    what_ended_long_ago_is_forgotten
    what_is_beyond_the_limits_is_refused
}

/// A claim on tasks that only one worker may run.
fn pinned_lane(object: &str, worker: &str, limit: u32) -> ClaimQueue {
    ClaimQueue {
        worker: Some(worker.to_owned()),
        ..ClaimQueue::new(object, limit)
    }
}

async fn a_task_is_submitted_claimed_and_finished(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let task = NewStoredTask {
        submitter: "ann".to_owned(),
        certificate_role: Some("user".to_owned()),
        ..NewStoredTask::new("calculator", "sum", b"[1,2]".to_vec())
    };
    let id = submit(&store, task).await;
    assert_eq!(show(&store, id).await.state, StoredTaskState::Queued);
    assert_eq!(store.queued_objects().await.unwrap(), ["calculator"]);

    let claimed = claim_one(&store, owner, "calculator").await;
    assert_eq!((claimed.id, claimed.attempt), (id, 1));
    assert_eq!((&*claimed.method, &*claimed.submitter), ("sum", "ann"));
    assert_eq!(claimed.certificate_role.as_deref(), Some("user"));
    assert_eq!(claimed.arguments, b"[1,2]");
    assert_eq!(show(&store, id).await.state, StoredTaskState::Running);
    assert_eq!(claim(&store, owner, "calculator", 10).await, []);

    place.advance(5);
    let finished = finish(&store, running(&claimed, owner), succeeded(b"3")).await;
    assert_eq!(
        finished,
        FinishOutcome::Accepted(StoredTaskState::Succeeded)
    );
    let task = show(&store, id).await;
    assert_eq!(
        (task.state, task.result.unwrap()),
        (StoredTaskState::Succeeded, b"3".to_vec())
    );
    assert_eq!(task.arguments.unwrap(), b"[1,2]");
    assert_eq!((task.submitted, task.ended), (START, Some(START + 5)));
    let attempt = StoredAttempt {
        number: 1,
        worker: Some("w1".to_owned()),
        started: START,
        ended: Some(START + 5),
        outcome: Some(AttemptOutcome::Succeeded),
        error: None,
    };
    assert_eq!(task.attempts, [attempt]);
    let again = finish(&store, running(&claimed, owner), succeeded(b"4")).await;
    assert_eq!(again, FinishOutcome::Superseded);
    assert_eq!(show(&store, id).await.result.unwrap(), b"3");
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

fn keyed(key: &str, arguments: &[u8]) -> NewStoredTask {
    NewStoredTask {
        submitter: "ann".to_owned(),
        idempotency_key: Some(key.to_owned()),
        ..NewStoredTask::new("calc", "run", arguments.to_vec())
    }
}

async fn a_new_task_is_claimed_as_it_is_submitted(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let task = NewStoredTask {
        submitter: "ann".to_owned(),
        worker: Some("w1".to_owned()),
        deadline: Some(Duration::from_millis(500)),
        priority: 3,
        ..NewStoredTask::new("calc", "run", vec![7; 10_000])
    };
    let tasks = vec![(task, Some(owner)), (call("calc"), None)];
    let mut answers = store.submit_and_claim(tasks).await.unwrap();
    let (queued, none) = answers.remove(1);
    assert_eq!((none, queued.submission), (None, SubmissionOutcome::New));
    let (submitted, claimed) = answers.remove(0);
    let claimed = claimed.expect("it was claimed");
    assert_eq!((claimed.id, claimed.attempt), (submitted.id, 1));
    assert_eq!(claimed.arguments, vec![7; 10_000]);
    // As if it had been queued.
    let again = NewStoredTask {
        submitter: "ann".to_owned(),
        worker: Some("w1".to_owned()),
        deadline: Some(Duration::from_millis(500)),
        priority: 3,
        ..NewStoredTask::new("calc", "run", vec![7; 10_000])
    };
    let id = submit(&store, again).await;
    let lanes = vec![pinned_lane("calc", "w1", 10)];
    let later = store
        .claim(TaskClaim {
            owner,
            queues: lanes,
        })
        .await
        .unwrap();
    let later = all_tasks(later.unwrap()).remove(0);
    assert_eq!(
        ClaimedTask {
            id,
            ..claimed.clone()
        },
        later
    );

    let shown = show(&store, submitted.id).await;
    assert_eq!(shown.state, StoredTaskState::Running);
    assert_eq!(shown.attempts, show(&store, id).await.attempts);
    let ended = finish(&store, running(&claimed, owner), succeeded(b"3")).await;
    assert_eq!(ended, FinishOutcome::Accepted(StoredTaskState::Succeeded));
    assert_eq!(claim_one(&store, owner, "calc").await.id, queued.id);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn a_task_that_is_known_or_delayed_is_not_claimed_as_it_is_submitted(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let delayed = NewStoredTask {
        delay: Duration::from_secs(1),
        ..call("calc")
    };
    let tasks = [keyed("k", b"1"), keyed("k", b"1"), delayed];
    let tasks = tasks.map(|task| (task, Some(owner)));
    let answers = store.submit_and_claim(tasks.into()).await.unwrap();
    assert_eq!(answers[0].0.id, answers[1].0.id);
    let claimed = answers.iter().filter(|(_, claimed)| claimed.is_some());
    assert_eq!(claimed.count(), 1);
    let again = vec![(keyed("k", b"1"), Some(owner))];
    let again = store.submit_and_claim(again).await.unwrap();
    assert_eq!(again[0].0.submission, SubmissionOutcome::Existing);
    assert_eq!(again[0].1, None);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.running, counts.delayed, counts.queued), (1, 1, 0));
}

async fn a_key_makes_two_submissions_one_task(place: Place) {
    let store = place.open().await;
    let large = vec![7; 10_000];
    for arguments in [&b"1"[..], &large] {
        let key = format!("k{}", arguments.len());
        let first = submit(&store, keyed(&key, arguments)).await;
        let again = store.submit(vec![keyed(&key, arguments)]).await.unwrap();
        assert_eq!(
            (again[0].id, again[0].submission),
            (first, SubmissionOutcome::Existing)
        );
        let other = store.submit(vec![keyed(&key, b"2")]).await.unwrap();
        assert_eq!(
            (other[0].id, other[0].submission),
            (first, SubmissionOutcome::KeyTaken)
        );
        let another = NewStoredTask {
            submitter: "bob".to_owned(),
            ..keyed(&key, arguments)
        };
        assert_ne!(submit(&store, another).await, first);
    }
    assert_eq!(store.counts().await.unwrap().queued, 4);
}

async fn what_is_submitted_together_is_added_or_not_together(place: Place) {
    let store = place.open().await;
    let taken = submit(&store, keyed("taken", b"1")).await;
    let earlier = submit(&store, keyed("earlier", b"1")).await;
    let large = vec![7; 10_000];
    let together = vec![
        keyed("new", &large),
        keyed("earlier", b"1"),
        NewStoredTask::new("calc", "run", b"{}".to_vec()),
        keyed("taken", b"2"),
    ];
    let answers = store.submit(together.clone()).await.unwrap();
    let answers: Vec<SubmissionOutcome> = answers.iter().map(|one| one.submission).collect();
    let expected = [
        SubmissionOutcome::Withdrawn,
        SubmissionOutcome::Existing,
        SubmissionOutcome::Withdrawn,
        SubmissionOutcome::KeyTaken,
    ];
    assert_eq!(answers, expected);
    for id in [taken, earlier] {
        assert_eq!(show(&store, id).await.state, StoredTaskState::Queued);
    }
    assert_eq!(store.counts().await.unwrap().queued, 2);
    // The key of a task that was not added is free.
    submit(&store, keyed("new", &large)).await;
    // Other submitters at the same time are not affected.
    let submitting = (0..20).map(|number| {
        let (store, together) = (store.clone(), together.clone());
        tokio::spawn(async move {
            match number % 2 {
                0 => store.submit(together).await,
                _ => store.submit(vec![keyed("shared", b"1")]).await,
            }
        })
    });
    for one in submitting.collect::<Vec<_>>() {
        let answers = one.await.unwrap().unwrap();
        if let [only] = answers.as_slice() {
            assert_eq!(show(&store, only.id).await.state, StoredTaskState::Queued);
        }
    }
    assert_eq!(store.counts().await.unwrap().queued, 4);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn the_same_key_twice_in_one_list_is_one_task(place: Place) {
    let store = place.open().await;
    let tasks = vec![
        keyed("k", b"1"),
        keyed("l", b"1"),
        keyed("k", b"1"),
        call("calc"),
    ];
    let submitted = store.submit(tasks).await.unwrap();
    let new = submitted
        .iter()
        .filter(|one| one.submission == SubmissionOutcome::New);
    assert_eq!(new.count(), 3);
    assert_eq!(submitted[0].id, submitted[2].id);
    assert_eq!(store.counts().await.unwrap().queued, 3);
}

async fn greater_priority_goes_first_and_then_the_older(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let mut ids = Vec::new();
    for priority in [0, 5, -5, 5] {
        let task = NewStoredTask {
            priority,
            ..call("calc")
        };
        ids.push(submit(&store, task).await);
    }
    let first = claim(&store, owner, "calc", 3).await;
    let first: Vec<StoredTaskId> = first.iter().map(|task| task.id).collect();
    assert_eq!(first, [ids[1], ids[3], ids[0]]);
    assert_eq!(claim_one(&store, owner, "calc").await.id, ids[2]);
}

async fn each_object_has_its_own_queue(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    for object in ["a", "a", "a", "b", "c", "c"] {
        submit(&store, call(object)).await;
    }
    assert_eq!(store.queued_objects().await.unwrap(), ["a", "b", "c"]);
    let objects = [("a", 2), ("c", 9), ("nobody", 5)];
    let objects = objects
        .map(|(name, limit)| (name.to_owned(), limit))
        .to_vec();
    let claim = wanted(owner, objects);
    let claimed = all_tasks(store.claim(claim).await.unwrap().unwrap());
    let mut claimed: Vec<&str> = claimed.iter().map(|task| &*task.object).collect();
    claimed.sort_unstable();
    assert_eq!(claimed, ["a", "a", "c", "c"]);
    assert_eq!(store.queued_objects().await.unwrap(), ["a", "b"]);
}

async fn a_pinned_task_goes_to_its_worker_alone(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let pinned = |worker: &str, priority| NewStoredTask {
        worker: Some(worker.to_owned()),
        priority,
        ..call("calc")
    };
    // The worker of the first tasks is absent, and they block no other task.
    let mut absent = Vec::new();
    for _ in 0..3 {
        absent.push(submit(&store, pinned("absent", 9)).await);
    }
    let for_any = submit(&store, call("calc")).await;
    let for_w1 = submit(&store, pinned("w1", 0)).await;
    let named = |worker: &str| Some(worker.to_owned());
    let calc = |worker| ("calc".to_owned(), worker);
    let queued = [calc(None), calc(named("absent")), calc(named("w1"))];
    assert_eq!(store.queued().await.unwrap(), queued);
    let mut claim = wanted(owner, vec![("calc".to_owned(), 10)]);
    claim.queues.push(pinned_lane("calc", "w1", 10));
    let claimed = all_tasks(store.claim(claim).await.unwrap().unwrap());
    let claimed: Vec<_> = claimed
        .into_iter()
        .map(|task| (task.id, task.worker))
        .collect();
    assert_eq!(claimed, [(for_any, None), (for_w1, named("w1"))]);
    assert_eq!(show(&store, absent[0]).await.worker, named("absent"));
}

async fn a_delayed_task_is_due_in_time(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let delay = Duration::from_secs(10);
    submit(
        &store,
        NewStoredTask {
            delay,
            ..call("calc")
        },
    )
    .await;
    let swept = store.sweep().await.unwrap();
    assert_eq!((swept.due, swept.next), (0, Some(10_000)));
    assert_eq!(claim(&store, owner, "calc", 1).await, []);
    place.advance(10_000);
    let swept = store.sweep().await.unwrap();
    assert_eq!((swept.due, swept.more), (1, false));
    claim_one(&store, owner, "calc").await;
}

async fn a_deadline_ends_what_has_not_begun(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let deadline = Some(Duration::from_secs(1));
    let id = submit(
        &store,
        NewStoredTask {
            deadline,
            ..call("calc")
        },
    )
    .await;
    assert_eq!(store.sweep().await.unwrap().next, Some(1000));
    place.advance(1000);
    // Not even before the sweep.
    assert_eq!(claim(&store, owner, "calc", 1).await, []);
    assert_eq!(store.sweep().await.unwrap().expired, 1);
    let task = show(&store, id).await;
    assert_eq!(task.state, StoredTaskState::Failed);
    assert!(task.error.unwrap().contains("deadline"));
    assert_eq!(task.attempts, []);
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

async fn what_failed_can_be_retried_by_hand(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let task = NewStoredTask {
        max_attempts: 1,
        deadline: Some(Duration::from_secs(100)),
        ..call("calc")
    };
    let id = submit(&store, task).await;
    assert_eq!(
        store.retry(vec![id]).await.unwrap(),
        [RetryOutcome::NotRetryable(StoredTaskState::Queued)]
    );
    let unknown = StoredTaskId::generate();
    assert_eq!(
        store.retry(vec![unknown]).await.unwrap(),
        [RetryOutcome::Unknown]
    );
    let claimed = claim_one(&store, owner, "calc").await;
    let large = AttemptEnding::Failed {
        error: "no".to_owned(),
        value: Some(vec![1; 10_000]),
        retry: false,
    };
    finish(&store, running(&claimed, owner), large).await;
    assert_eq!(show(&store, id).await.result.unwrap().len(), 10_000);
    // It has as much time as at first, however often it is retried.
    for _ in 0..2 {
        place.advance(150_000);
        assert_eq!(store.retry(vec![id]).await.unwrap(), [RetryOutcome::Queued]);
        let task = show(&store, id).await;
        assert_eq!((task.result, task.error), (None, None));
        assert_eq!(task.deadline.unwrap() - task.due, 100_000);
        store.cancel(vec![id]).await.unwrap();
    }
    assert_eq!(store.retry(vec![id]).await.unwrap(), [RetryOutcome::Queued]);
    let task = show(&store, id).await;
    assert_eq!(
        (task.state, task.attempts.len()),
        (StoredTaskState::Queued, 1)
    );
    let claimed = claim_one(&store, owner, "calc").await;
    assert_eq!(claimed.attempt, 2);
    finish(&store, running(&claimed, owner), succeeded(b"3")).await;
    let task = show(&store, id).await;
    assert_eq!(
        (task.state, task.attempts.len()),
        (StoredTaskState::Succeeded, 2)
    );
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn a_task_is_cancelled_in_any_state(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let queued = submit(&store, call("queued")).await;
    let delay = Duration::from_secs(9);
    let delayed = submit(
        &store,
        NewStoredTask {
            delay,
            ..call("delayed")
        },
    )
    .await;
    let running_id = submit(&store, call("running")).await;
    let attempt = running(&claim_one(&store, owner, "running").await, owner);
    assert_eq!(store.superseded(&[attempt]).await.unwrap(), []);

    let all = vec![queued, delayed, running_id, StoredTaskId::generate()];
    let answers = store.cancel(all).await.unwrap();
    assert_eq!(answers[..3], [CancelOutcome::Cancelled; 3]);
    assert_eq!(answers[3], CancelOutcome::Unknown);
    let again = store.cancel(vec![queued]).await.unwrap();
    assert_eq!(
        again,
        [CancelOutcome::AlreadyEnded(StoredTaskState::Cancelled)]
    );
    assert_eq!(claim(&store, owner, "queued", 1).await, []);
    assert_eq!(store.superseded(&[attempt]).await.unwrap(), [attempt]);
    let late = finish(&store, attempt, succeeded(b"3")).await;
    assert_eq!(late, FinishOutcome::Superseded);
    let task = show(&store, running_id).await;
    assert_eq!(
        (task.state, task.result),
        (StoredTaskState::Cancelled, None)
    );
    assert_eq!(task.attempts[0].outcome, Some(AttemptOutcome::Cancelled));
    let counts = TaskCounts {
        cancelled: 3,
        ..TaskCounts::default()
    };
    assert_eq!(store.counts().await.unwrap(), counts);
}

async fn large_bodies_come_back_as_they_were(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let sizes = [0, 511, 512, 513, 70_000, 64 << 20];
    for (index, size) in sizes.into_iter().enumerate() {
        let body: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
        let object = format!("o{index}");
        let id = submit(&store, NewStoredTask::new(&*object, "run", body.clone())).await;
        let claimed = claim_one(&store, owner, &object).await;
        assert!(claimed.arguments == body, "{size}");
        finish(&store, running(&claimed, owner), succeeded(&body)).await;
        let task = show(&store, id).await;
        assert!(task.arguments.as_deref() == Some(&body), "{size}");
        assert!(task.result.as_deref() == Some(&body), "{size}");
        let settled = store.task_results(&[id]).await.unwrap();
        assert!(settled[0].result.as_deref() == Some(&body), "{size}");
    }
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

async fn tasks_are_listed_page_by_page(place: Place) {
    let store = place.open().await;
    let mut ids = Vec::new();
    for number in 0..7 {
        let object = if number % 2 == 0 { "even" } else { "odd" };
        ids.push(submit(&store, call(object)).await);
    }
    ids.reverse();
    let mut filter = StoredTaskFilter::default();
    let mut found = Vec::new();
    loop {
        let page = store.tasks(&filter, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id);
        found.extend(page.iter().map(|task| task.id));
    }
    assert_eq!(found, ids);
    store.cancel(vec![ids[0]]).await.unwrap();
    let filter = StoredTaskFilter {
        object: Some("even".to_owned()),
        states: vec![StoredTaskState::Queued],
        ..StoredTaskFilter::default()
    };
    let found = store.tasks(&filter, 100).await.unwrap();
    let found: Vec<StoredTaskId> = found.iter().map(|task| task.id).collect();
    assert_eq!(found, [ids[2], ids[4], ids[6]]);
    let submitter = Some("nobody".to_owned());
    let filter = StoredTaskFilter {
        submitter,
        ..StoredTaskFilter::default()
    };
    assert_eq!(store.tasks(&filter, 100).await.unwrap(), []);
}

async fn what_ended_long_ago_is_forgotten(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let body = vec![1; 10_000];
    let old = submit(&store, NewStoredTask::new("calc", "run", body.clone())).await;
    let claimed = claim_one(&store, owner, "calc").await;
    finish(&store, running(&claimed, owner), lost()).await;
    let claimed = claim_one(&store, owner, "calc").await;
    finish(&store, running(&claimed, owner), succeeded(&body)).await;
    let waiting = submit(&store, call("other")).await;
    let hour = Duration::from_secs(3600);
    assert_eq!(store.purge(hour).await.unwrap(), 0);
    place.advance(3_600_001);
    assert_eq!(store.purge(hour).await.unwrap(), 1);
    assert_eq!(store.task(old).await.unwrap(), None);
    assert_eq!(show(&store, waiting).await.state, StoredTaskState::Queued);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn what_is_beyond_the_limits_is_refused(place: Place) {
    let options = place.options();
    let store = place
        .open_with(pyroxene_store::StoreOptions {
            max_body: 1000,
            ..options
        })
        .await;
    let too_large = NewStoredTask::new("calc", "run", vec![0; 1001]);
    let error = store
        .submit(vec![call("calc"), too_large])
        .await
        .unwrap_err();
    let StoreError::Invalid(sentence) = &error else {
        panic!("{error:?}")
    };
    assert!(
        sentence.contains("1001") && sentence.contains("1000"),
        "{sentence}"
    );
    for task in [
        call(&"x".repeat(513)),
        call("a\0b"),
        NewStoredTask {
            max_attempts: 0,
            ..call("calc")
        },
    ] {
        let error = store.submit(vec![task]).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
    }
    assert_eq!(store.counts().await.unwrap(), TaskCounts::default());
}
