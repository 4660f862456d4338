//! The life of a task.

mod attempts;
mod queues;
mod submission;

use crate::harness::{
    LONG, Place, START, call, claim, claim_one, dispatcher, finish, lost, on_all, running, show,
    submit, succeeded,
};
use pyroxene_store::{
    AttemptEnding, AttemptOutcome, CancelOutcome, ClaimQueue, FinishOutcome, NewStoredTask,
    RetryOutcome, StoredAttempt, StoredTaskFilter, StoredTaskId, StoredTaskState, TaskCounts,
};
use std::time::Duration;

on_all! {
    a_task_is_submitted_claimed_and_finished
    what_failed_can_be_retried_by_hand
    a_task_is_cancelled_in_any_state
    tasks_are_listed_page_by_page
    what_ended_long_ago_is_forgotten
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
