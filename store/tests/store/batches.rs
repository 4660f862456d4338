//! Batches: chunks that are added once, and counts that are always right.

use crate::harness::{
    LONG, Place, claim, dispatcher, failed, finish, on_all, running, show, succeeded,
};
use pyroxene_store::{
    Allowance, AttemptEnding, CancelOutcome, ChunkOutcome, NewStoredChunk, NewStoredTask, Quota,
    RetryOutcome, Store, StoreError, StoredBatch, StoredBatchId, StoredTaskFilter, StoredTaskId,
    StoredTaskState, TaskResult,
};
use std::time::Duration;
use tokio::task::JoinSet;

on_all! {
    a_chunk_is_added_once
    a_chunk_with_other_tasks_or_with_keys_is_refused
    counts_follow_what_becomes_of_tasks
    a_chunk_beyond_the_allowance_leaves_nothing
    what_has_not_ended_is_cancelled_chunk_by_chunk
    a_batch_goes_with_its_last_task
    the_tasks_of_a_batch_are_listed
    tasks_are_waited_for_together
    a_lease_is_renewed_before_most_of_the_waiting_chunks
}

pub(crate) fn batch() -> StoredBatchId {
    StoredBatchId::new([7; 16])
}

/// A chunk of so many tasks.
pub(crate) fn chunk(number: i64, tasks: i64) -> NewStoredChunk {
    let task = |n: i64| {
        let arguments = format!("{{\"n\":{n}}}").into_bytes();
        NewStoredTask {
            submitter: "ann".to_owned(),
            ..NewStoredTask::new("bulk", "run", arguments)
        }
    };
    NewStoredChunk {
        batch: batch(),
        number,
        fingerprint: tasks,
        submitter: "ann".to_owned(),
        tasks: (0..tasks).map(task).collect(),
        allowance: Allowance::UNLIMITED,
    }
}

/// Adds a chunk. Returns its tasks.
pub(crate) async fn submit_chunk(store: &Store, chunk: NewStoredChunk) -> Vec<StoredTaskId> {
    match store.submit_chunk(chunk).await.unwrap() {
        ChunkOutcome::Added(ids) => ids,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn count(store: &Store) -> StoredBatch {
    let found = store.batch(batch()).await.unwrap();
    found.expect("the batch is there")
}

/// The counts, in the order of their fields.
async fn counts(store: &Store) -> [i64; 6] {
    let batch = count(store).await;
    let StoredBatch {
        total,
        queued,
        running,
        succeeded,
        failed,
        cancelled,
        ..
    } = batch;
    [total, queued, running, succeeded, failed, cancelled]
}

async fn no_problem(store: &Store) {
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

async fn a_chunk_is_added_once(place: Place) {
    let store = place.open().await;
    assert_eq!(store.batch(batch()).await.unwrap(), None);
    let ids = submit_chunk(&store, chunk(0, 3)).await;
    assert_eq!(ids.len(), 3);
    assert_eq!(submit_chunk(&store, chunk(0, 3)).await, ids);
    let others = submit_chunk(&store, chunk(1, 2)).await;
    assert_eq!(submit_chunk(&store, chunk(0, 3)).await, ids);
    assert_eq!(counts(&store).await, [5, 5, 0, 0, 0, 0]);
    assert_eq!(count(&store).await.submitter, "ann");
    assert_eq!(store.usage("ann").await.unwrap().0.tasks, 5);
    assert_eq!(
        show(&store, others[1]).await.arguments.unwrap(),
        b"{\"n\":1}"
    );
    let range = StoredBatchId::with_prefix("batch-0707").unwrap();
    let found = store.first_two_batches(&range).await.unwrap();
    assert_eq!(found, [batch()]);
    no_problem(&store).await;
}

async fn a_chunk_with_other_tasks_or_with_keys_is_refused(place: Place) {
    let store = place.open().await;
    submit_chunk(&store, chunk(0, 3)).await;
    let other = store.submit_chunk(chunk(0, 2)).await.unwrap();
    assert_eq!(other, ChunkOutcome::Differs);
    let mut keyed = chunk(1, 1);
    keyed.tasks[0].idempotency_key = Some("k".to_owned());
    let error = store.submit_chunk(keyed).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
    assert_eq!(counts(&store).await, [3, 3, 0, 0, 0, 0]);
}

async fn counts_follow_what_becomes_of_tasks(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let mut late = chunk(0, 1);
    late.tasks[0].deadline = Some(Duration::from_millis(5));
    late.tasks[0].object = "absent".to_owned();
    submit_chunk(&store, late).await;
    let ids = submit_chunk(&store, chunk(1, 5)).await;
    let claimed = claim(&store, owner, "bulk", 4).await;
    assert_eq!(counts(&store).await, [6, 2, 4, 0, 0, 0]);
    let endings = [
        succeeded(b"1"),
        succeeded(&[1; 9000]),
        failed(false),
        failed(true),
    ];
    for (task, ending) in claimed.iter().zip(endings) {
        finish(&store, running(task, owner), ending).await;
    }
    // An attempt that is repeated is no end, and a second end of an attempt counts for nothing.
    finish(&store, running(&claimed[0], owner), failed(false)).await;
    assert_eq!(counts(&store).await, [6, 3, 0, 2, 1, 0]);
    place.advance(10);
    assert_eq!(store.sweep().await.unwrap().expired, 1);
    assert_eq!(counts(&store).await, [6, 2, 0, 2, 2, 0]);
    let cancelled = store.cancel(vec![ids[4], ids[0]]).await.unwrap();
    assert_eq!(cancelled[0], CancelOutcome::Cancelled);
    assert_eq!(counts(&store).await, [6, 1, 0, 2, 2, 1]);
    for id in [ids[4], claimed[2].id] {
        assert_eq!(store.retry(vec![id]).await.unwrap(), [RetryOutcome::Queued]);
    }
    assert_eq!(counts(&store).await, [6, 3, 0, 2, 1, 0]);
    no_problem(&store).await;
}

async fn a_chunk_beyond_the_allowance_leaves_nothing(place: Place) {
    let store = place.open().await;
    let allowance = Allowance {
        tasks: 4,
        ..Allowance::UNLIMITED
    };
    let within = |number, tasks| NewStoredChunk {
        allowance,
        ..chunk(number, tasks)
    };
    let refused = ChunkOutcome::TooMuch(Quota::Tasks);
    assert_eq!(store.submit_chunk(within(0, 5)).await.unwrap(), refused);
    assert_eq!(store.batch(batch()).await.unwrap(), None);
    submit_chunk(&store, within(0, 3)).await;
    assert_eq!(store.submit_chunk(within(1, 2)).await.unwrap(), refused);
    assert_eq!(counts(&store).await, [3, 3, 0, 0, 0, 0]);
    // It was not added, so it can be another time.
    submit_chunk(&store, chunk(1, 2)).await;
    assert_eq!(counts(&store).await, [5, 5, 0, 0, 0, 0]);
    no_problem(&store).await;
}

async fn what_has_not_ended_is_cancelled_chunk_by_chunk(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    for number in [0, 1, 3] {
        submit_chunk(&store, chunk(number, 3)).await;
    }
    let other = store.submit(chunk(0, 1).tasks).await.unwrap()[0].id;
    let claimed = claim(&store, owner, "bulk", 2).await;
    finish(&store, running(&claimed[0], owner), succeeded(b"1")).await;
    assert_eq!(store.cancel_chunk(batch(), -1).await.unwrap(), Some(0));
    assert_eq!(counts(&store).await, [9, 6, 0, 1, 0, 2]);
    assert_eq!(store.cancel_chunk(batch(), 0).await.unwrap(), Some(1));
    assert_eq!(store.cancel_chunk(batch(), 1).await.unwrap(), Some(3));
    assert_eq!(store.cancel_chunk(batch(), 3).await.unwrap(), None);
    assert_eq!(counts(&store).await, [9, 0, 0, 1, 0, 8]);
    let running = running(&claimed[1], owner);
    assert_eq!(store.superseded(&[running]).await.unwrap(), [running]);
    assert_eq!(show(&store, other).await.state, StoredTaskState::Queued);
    no_problem(&store).await;
}

async fn a_batch_goes_with_its_last_task(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let ids = submit_chunk(&store, chunk(0, 2)).await;
    let claimed = claim(&store, owner, "bulk", 2).await;
    finish(&store, running(&claimed[0], owner), succeeded(b"1")).await;
    place.advance(10);
    assert_eq!(store.purge(Duration::from_millis(5)).await.unwrap(), 1);
    assert_eq!(counts(&store).await, [2, 0, 1, 1, 0, 0]);
    assert_eq!(submit_chunk(&store, chunk(0, 2)).await, ids[1..]);
    finish(&store, running(&claimed[1], owner), succeeded(b"1")).await;
    place.advance(10);
    assert_eq!(store.purge(Duration::from_millis(5)).await.unwrap(), 1);
    assert_eq!(store.batch(batch()).await.unwrap(), None);
    no_problem(&store).await;
    // Nothing is left of it.
    let again = submit_chunk(&store, chunk(0, 1)).await;
    assert_eq!(again.len(), 1);
    assert_eq!(counts(&store).await, [1, 1, 0, 0, 0, 0]);
}

async fn the_tasks_of_a_batch_are_listed(place: Place) {
    let store = place.open().await;
    let first = submit_chunk(&store, chunk(0, 2)).await;
    let between = store.submit(chunk(0, 2).tasks).await.unwrap();
    let second = submit_chunk(&store, chunk(1, 2)).await;
    store.submit(chunk(0, 2).tasks).await.unwrap();
    store.cancel(vec![first[0], between[0].id]).await.unwrap();
    let mut filter = StoredTaskFilter {
        batch: Some(batch()),
        ..StoredTaskFilter::default()
    };
    let listed = async |filter: &StoredTaskFilter, limit| {
        let page = store.tasks_page(filter, limit).await.unwrap();
        let ids = page.tasks.into_iter().map(|task| task.id);
        (ids.collect::<Vec<_>>(), page.next)
    };
    let all = vec![second[1], second[0], first[1], first[0]];
    assert_eq!(listed(&filter, 10).await, (all.clone(), None));
    assert_eq!(listed(&filter, 3).await, (all[..3].to_vec(), Some(all[2])));
    filter.before = Some(all[2]);
    assert_eq!(listed(&filter, 3).await, (all[3..].to_vec(), None));
    filter.before = None;
    filter.states = vec![StoredTaskState::Cancelled];
    assert_eq!(listed(&filter, 3).await, (vec![first[0]], None));
    filter.batch = Some(StoredBatchId::new([8; 16]));
    assert_eq!(listed(&filter, 3).await, (Vec::new(), None));
}

async fn tasks_are_waited_for_together(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let ids = submit_chunk(&store, chunk(0, 3)).await;
    let claimed = claim(&store, owner, "bulk", 3).await;
    let calls = store.task_calls(&ids).await.unwrap();
    assert!(calls.iter().all(|call| call.submitter == "ann"));
    let gather = Duration::from_millis(50);
    let all = |_: &TaskResult| false;
    let none = store.wait_for_any(&ids, Duration::ZERO, gather, all).await;
    assert_eq!(none, []);
    finish(&store, running(&claimed[0], owner), succeeded(b"1")).await;
    let waiting = tokio::spawn({
        let (store, ids) = (store.clone(), ids[1..].to_vec());
        async move { store.wait_for_any(&ids, LONG, gather, all).await }
    });
    let ending = AttemptEnding::DeadlineExceeded;
    finish(&store, running(&claimed[2], owner), ending).await;
    let told = waiting.await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].id, told[0].state),
        (ids[2], StoredTaskState::Failed)
    );
    // What has ended before is told, too.
    let ended = [ids[0], ids[2]];
    let told = store.wait_for_any(&ended, LONG, LONG, all).await;
    assert_eq!(told.len(), 2, "{told:?}");
    let told = store.wait_for_any(&ended, LONG, LONG, |_| true).await;
    assert_eq!(told.len(), 1, "{told:?}");
}

async fn a_lease_is_renewed_before_most_of_the_waiting_chunks(place: Place) {
    let store = place.open().await;
    let owner = dispatcher(&store, LONG).await;
    let mut sending = JoinSet::new();
    for number in 0..40 {
        let store = store.clone();
        sending.spawn(async move { store.submit_chunk(chunk(number, 1000)).await });
    }
    // One is on disk, and all others wait.
    sending.join_next().await.unwrap().unwrap().unwrap();
    assert!(store.renew(owner).await.unwrap());
    let written = counts(&store).await[0];
    assert!(written < 20_000, "{written}");
}

mod together {
    use super::{chunk, counts, no_problem, submit_chunk};
    use crate::harness::{Place, on_both};

    on_both! {
        chunks_of_one_batch_come_from_several_name_servers
    }

    async fn chunks_of_one_batch_come_from_several_name_servers(place: Place) {
        let stores = [place.open().await, place.open().await];
        let submissions = (0..20).map(|number| {
            // Each chunk comes twice.
            let store = stores[usize::try_from(number).unwrap() % 2].clone();
            async move { submit_chunk(&store, chunk(number / 2, 10)).await }
        });
        let submissions: Vec<_> = submissions.map(tokio::spawn).collect();
        let mut ids = Vec::new();
        for submission in submissions {
            ids.push(submission.await.unwrap());
        }
        assert!(ids.chunks(2).all(|pair| pair[0] == pair[1]));
        for store in &stores {
            assert_eq!(counts(store).await, [100, 100, 0, 0, 0, 0]);
            no_problem(store).await;
        }
    }
}
