//! The usage of submitters in the store, their allowances, and their turns.

use crate::harness::{
    LONG, Place, call, claim, claim_one, dispatcher, failed, finish, on_all, running, succeeded,
};
use pyroxene_store::{
    Allowance, AttemptEnding, ClaimQueue, ClaimedQueue, NewStoredTask, Quota, RetryOutcome, Store,
    StoredTaskFilter, StoredTaskId, SubmissionOutcome, TaskClaim, URGENT,
};
use std::time::Duration;

on_all! {
    usage_is_what_the_tasks_of_a_submitter_take
    nothing_is_added_beyond_what_a_submitter_may_have
    what_all_together_may_have_is_bounded_too
    what_was_submitted_before_is_no_more_of_it
    a_retry_needs_as_much_as_a_new_task
    submitters_take_turns_whatever_their_priorities
    whoever_had_the_last_turn_comes_last
    urgent_tasks_go_first
    no_more_is_taken_of_a_submitter_than_is_asked_for
    a_listing_looks_at_so_many_tasks_and_says_where_to_go_on
}

/// The size of a task besides its arguments and its result.
const TASK: i64 = 300;

fn of(submitter: &str, object: &str) -> NewStoredTask {
    NewStoredTask {
        submitter: submitter.to_owned(),
        ..call(object)
    }
}

async fn add(store: &Store, task: NewStoredTask, count: usize) -> Vec<StoredTaskId> {
    let submitted = store.submit(vec![task; count]).await.unwrap();
    submitted.into_iter().map(|one| one.id).collect()
}

async fn usage(store: &Store, submitter: &str) -> (i64, i64) {
    let (own, all) = store.usage(submitter).await.unwrap();
    let (_, of_all) = store.usage("*").await.unwrap();
    assert_eq!(all, of_all);
    (own.tasks, own.bytes)
}

async fn submit_within(
    store: &Store,
    tasks: Vec<NewStoredTask>,
    allowance: Allowance,
) -> Vec<SubmissionOutcome> {
    let tasks = tasks.into_iter().map(|task| (task, None)).collect();
    let answers = store.submit_with_allowance(tasks, allowance).await.unwrap();
    answers.into_iter().map(|(one, _)| one.submission).collect()
}

async fn usage_is_what_the_tasks_of_a_submitter_take(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    assert_eq!(usage(&store, "ann").await, (0, 0));
    let large = NewStoredTask {
        arguments: vec![7; 9_900],
        trace: Some("t".repeat(100)),
        ..of("ann", "a")
    };
    add(&store, large, 1).await;
    let bob = add(&store, of("bob", "b"), 4).await;
    assert_eq!(usage(&store, "ann").await, (1, TASK + 10_000));
    assert_eq!(usage(&store, "bob").await, (4, 4 * (TASK + 2)));
    // A claim changes nothing. The end of a task leaves the bytes that are kept.
    let claimed = claim_one(&store, owner, "a").await;
    assert_eq!(usage(&store, "ann").await, (1, TASK + 10_000));
    finish(&store, running(&claimed, owner), succeeded(&[1; 5_000])).await;
    assert_eq!(usage(&store, "ann").await, (0, TASK + 15_000));
    // A late end changes nothing.
    finish(&store, running(&claimed, owner), succeeded(&[1; 5_000])).await;
    assert_eq!(usage(&store, "ann").await, (0, TASK + 15_000));

    store.cancel(vec![bob[3], bob[3]]).await.unwrap();
    let claimed = claim(&store, owner, "b", 2).await;
    finish(&store, running(&claimed[0], owner), failed(false)).await;
    let value = br#"{"SoldOut":1}"#.len() as i64;
    assert_eq!(usage(&store, "bob").await, (2, 4 * (TASK + 2) + value));
    store.retry(vec![claimed[0].id]).await.unwrap();
    assert_eq!(usage(&store, "bob").await, (3, 4 * (TASK + 2)));
    // An attempt that is followed by another one is not the end of the task.
    let reason = "nobody is there".to_owned();
    finish(
        &store,
        running(&claimed[1], owner),
        AttemptEnding::Refused { reason },
    )
    .await;
    assert_eq!(usage(&store, "bob").await, (3, 4 * (TASK + 2)));
    assert_eq!(store.check().await.unwrap(), [""; 0]);

    let late = NewStoredTask {
        deadline: Some(Duration::from_millis(10)),
        ..of("carl", "c")
    };
    add(&store, late, 2).await;
    place.advance(20);
    store.sweep().await.unwrap();
    assert_eq!(usage(&store, "carl").await, (0, 2 * (TASK + 2)));
    place.advance(1000);
    while store.purge(Duration::from_millis(500)).await.unwrap() > 0 {}
    assert_eq!(usage(&store, "carl").await, (0, 0));
    assert_eq!(usage(&store, "ann").await, (0, 0));
    assert_eq!(usage(&store, "*").await, (3, 3 * (TASK + 2)));
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn nothing_is_added_beyond_what_a_submitter_may_have(place: Place) {
    let store = place.open().await;
    let allowance = Allowance {
        tasks: 3,
        bytes: 2000,
        ..Allowance::UNLIMITED
    };
    let ann = |count: usize| vec![of("ann", "a"); count];
    let new = |count: usize| vec![SubmissionOutcome::New; count];
    assert_eq!(submit_within(&store, ann(2), allowance).await, new(2));
    // All tasks are added, or none.
    let too_many = vec![SubmissionOutcome::TooMuch(Quota::Tasks); 2];
    assert_eq!(submit_within(&store, ann(2), allowance).await, too_many);
    assert_eq!(usage(&store, "ann").await, (2, 2 * (TASK + 2)));
    assert_eq!(submit_within(&store, ann(1), allowance).await, new(1));
    let bob = vec![of("bob", "a"); 3];
    assert_eq!(submit_within(&store, bob, allowance).await, new(3));
    let large = NewStoredTask {
        arguments: vec![7; 1800],
        ..of("carl", "a")
    };
    let too_large = [SubmissionOutcome::TooMuch(Quota::Bytes)];
    assert_eq!(
        submit_within(&store, vec![large], allowance).await,
        too_large
    );
    // Refused tasks are not there.
    assert_eq!(store.counts().await.unwrap().queued, 6);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn what_all_together_may_have_is_bounded_too(place: Place) {
    let store = place.open().await;
    let allowance = Allowance {
        all_tasks: 3,
        ..Allowance::UNLIMITED
    };
    let tasks = vec![of("ann", "a"), of("ann", "a")];
    submit_within(&store, tasks, allowance).await;
    let refused = submit_within(&store, vec![of("bob", "a"); 2], allowance).await;
    assert_eq!(refused, [SubmissionOutcome::TooMuch(Quota::AllTasks); 2]);
    let allowance = Allowance {
        all_bytes: 2 * (TASK + 2),
        ..Allowance::UNLIMITED
    };
    let refused = submit_within(&store, vec![of("bob", "a")], allowance).await;
    assert_eq!(refused, [SubmissionOutcome::TooMuch(Quota::AllBytes)]);
    assert_eq!(usage(&store, "*").await.0, 2);
}

async fn what_was_submitted_before_is_no_more_of_it(place: Place) {
    let store = place.open().await;
    let allowance = Allowance {
        tasks: 1,
        ..Allowance::UNLIMITED
    };
    let keyed = NewStoredTask {
        idempotency_key: Some("k".to_owned()),
        ..of("ann", "a")
    };
    let first = submit_within(&store, vec![keyed.clone()], allowance).await;
    assert_eq!(first, [SubmissionOutcome::New]);
    // A submitter that did not get the answer asks again.
    let again = submit_within(&store, vec![keyed], allowance).await;
    assert_eq!(again, [SubmissionOutcome::Existing]);
    assert_eq!(usage(&store, "ann").await.0, 1);
}

async fn a_retry_needs_as_much_as_a_new_task(place: Place) {
    let store = place.open().await;
    let ids = add(&store, of("ann", "a"), 2).await;
    store.cancel(ids.clone()).await.unwrap();
    let allowance = Allowance {
        tasks: 1,
        ..Allowance::UNLIMITED
    };
    let retried = store.retry_with_allowance(ids, allowance).await.unwrap();
    assert_eq!(
        retried,
        [RetryOutcome::Queued, RetryOutcome::TooMuch(Quota::Tasks)]
    );
    assert_eq!(usage(&store, "ann").await.0, 1);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn take(store: &Store, owner: i64, lane: ClaimQueue) -> ClaimedQueue {
    let lanes = vec![lane];
    let claimed = store
        .claim(TaskClaim {
            owner,
            queues: lanes,
        })
        .await
        .unwrap();
    claimed.unwrap().remove(0)
}

fn submitters(claimed: &ClaimedQueue) -> String {
    let tasks = claimed.tasks.iter();
    tasks.map(|task| task.submitter.as_str()).collect()
}

async fn submitters_take_turns_whatever_their_priorities(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let eager = NewStoredTask {
        priority: URGENT as i32,
        ..of("a", "calc")
    };
    add(&store, eager, 100).await;
    add(&store, of("b", "calc"), 2).await;
    add(&store, of("c", "calc"), 1).await;
    add(&store, of("d", "other"), 1).await;
    let claimed = take(&store, owner, ClaimQueue::new("calc", 9)).await;
    assert_eq!(submitters(&claimed), "aaabbcaaa");
    assert!(!claimed.limited);
    let claimed = take(&store, owner, ClaimQueue::new("calc", 200)).await;
    assert_eq!(claimed.tasks.len(), 94);
    // Of each submitter, the task of greater priority goes first, and then the older one.
    for priority in [1, 5, 1] {
        let task = NewStoredTask {
            priority,
            ..of("b", "calc")
        };
        add(&store, task, 1).await;
    }
    let claimed = take(&store, owner, ClaimQueue::new("calc", 3)).await;
    let order: Vec<i64> = claimed.tasks.iter().map(|task| task.priority).collect();
    assert_eq!(order, [5, 1, 1]);
    assert!(claimed.tasks[1].id < claimed.tasks[2].id);
}

async fn whoever_had_the_last_turn_comes_last(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    for name in ["", "a", "b", "c"] {
        add(&store, of(name, "calc"), 10).await;
    }
    let mut lane = ClaimQueue::new("calc", 1);
    let mut order = Vec::new();
    for _ in 0..8 {
        let claimed = take(&store, owner, lane.clone()).await;
        order.push(submitters(&claimed));
        lane.last_submitter = claimed.last_submitter.unwrap();
    }
    // The first turn is that of the first submitter in the order.
    assert_eq!(order, ["a", "b", "c", "", "a", "b", "c", ""]);
}

async fn urgent_tasks_go_first(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    add(&store, of("a", "calc"), 5).await;
    let urgent = NewStoredTask {
        priority: URGENT as i32 + 1,
        ..of("b", "calc")
    };
    add(&store, urgent, 3).await;
    add(&store, of("b", "calc"), 1).await;
    let claimed = take(&store, owner, ClaimQueue::new("calc", 4)).await;
    assert_eq!(submitters(&claimed), "bbba");
}

async fn no_more_is_taken_of_a_submitter_than_is_asked_for(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    for name in ["a", "b", "c"] {
        add(&store, of(name, "calc"), 10).await;
    }
    let lane = ClaimQueue {
        max_per_submitter: 3,
        max_of_submitter: vec![("b".to_owned(), 0), ("c".to_owned(), 5)],
        ..ClaimQueue::new("calc", 20)
    };
    let claimed = take(&store, owner, lane).await;
    assert!(claimed.limited);
    let count = |name: &str| submitters(&claimed).matches(name).count();
    assert_eq!((count("a"), count("b"), count("c")), (3, 0, 5));
}

async fn a_listing_looks_at_so_many_tasks_and_says_where_to_go_on(place: Place) {
    let store = place.open().await;
    let oldest = add(&store, of("ann", "calc"), 1).await.remove(0);
    for _ in 0..11 {
        add(&store, of("bob", "calc"), 1000).await;
    }
    let mut filter = StoredTaskFilter {
        submitter: Some("ann".to_owned()),
        ..StoredTaskFilter::default()
    };
    let page = store.tasks_page(&filter, 10).await.unwrap();
    assert_eq!(page.tasks.len(), 0);
    filter.before = page.next;
    assert!(filter.before.is_some());
    let page = store.tasks_page(&filter, 10).await.unwrap();
    assert_eq!(page.tasks[0].id, oldest);
    assert_eq!(page.next, None);
    // A filter that matches everything stops where the page is full.
    let page = store
        .tasks_page(&StoredTaskFilter::default(), 10)
        .await
        .unwrap();
    assert_eq!(page.next, Some(page.tasks[9].id));
}
