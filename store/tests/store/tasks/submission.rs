//! What a submission adds: keys, lists, limits, and tasks that are claimed at once.

use super::pinned_lane;
use crate::harness::{
    LONG, Place, all_tasks, call, claim_one, dispatcher, finish, on_all, running, show, submit,
    succeeded,
};
use pyroxene_store::{
    ClaimedTask, FinishOutcome, NewStoredTask, StoreError, StoredTaskState, SubmissionOutcome,
    TaskClaim, TaskCounts,
};
use std::time::Duration;

on_all! {
    a_new_task_is_claimed_as_it_is_submitted
    a_task_that_is_known_or_delayed_is_not_claimed_as_it_is_submitted
    a_key_makes_two_submissions_one_task
    the_same_key_twice_in_one_list_is_one_task
    what_is_submitted_together_is_added_or_not_together
    large_bodies_come_back_as_they_were
    what_is_beyond_the_limits_is_refused
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
