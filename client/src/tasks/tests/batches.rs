//! Batches with fake name servers over one fake store.

use super::fake::{Fake, within};
use crate::{Client, ClientConfig, NewTask, Problem, TaskError};
use futures::TryStreamExt;
use pyroxene_common::{
    host::HostedObject,
    interfaces::{
        batches::{
            self, BatchChunk, BatchId, BatchStatus, Batches, BatchesError, MAX_WAITED,
            SubmittedChunk,
        },
        tasks::{TaskFilter, TaskId, TaskPage, TaskState, TaskStatus, TasksError},
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};
use tarpc::context::Context;
use tokio::{sync::watch, time::timeout};

/// What all fake name servers share.
#[derive(Clone)]
struct Shared {
    chunks: Arc<Mutex<BTreeMap<u32, BatchChunk>>>,
    /// Chunks from this number on exceed a limit.
    limit: Arc<Mutex<u32>>,
    /// The first name server that gets this chunk withholds its answer.
    lose: Arc<Mutex<Option<u32>>>,
    lost: watch::Sender<Option<usize>>,
    refused: watch::Sender<bool>,
    status: watch::Sender<BatchStatus>,
    polls: watch::Sender<Vec<usize>>,
    waited: Arc<Mutex<Vec<usize>>>,
}

#[derive(Clone)]
struct Desk {
    index: usize,
    shared: Shared,
}

fn counts(queued: u64, succeeded: u64) -> BatchStatus {
    BatchStatus {
        id: BatchId("batch-1".to_owned()),
        total: queued + succeeded,
        queued,
        running: 0,
        succeeded,
        failed: 0,
        cancelled: 0,
    }
}

async fn start(count: usize) -> (Fake, Shared) {
    let shared = Shared {
        chunks: Arc::default(),
        limit: Arc::new(Mutex::new(u32::MAX)),
        lose: Arc::default(),
        lost: watch::Sender::new(None),
        refused: watch::Sender::new(false),
        status: watch::Sender::new(counts(2, 0)),
        polls: watch::Sender::new(Vec::new()),
        waited: Arc::default(),
    };
    let mut fake = Fake::start(0).await;
    for index in 0..count {
        let shared = shared.clone();
        let desk = HostedObject::from_service::<Batches, _>(Desk { index, shared });
        fake.host(HashMap::from([(batches::OBJECT.to_owned(), desk)]))
            .await;
    }
    (fake, shared)
}

impl batches::batches::Batches for Desk {
    async fn submit(self, _: Context, chunk: BatchChunk) -> Result<SubmittedChunk, BatchesError> {
        let number = chunk.number;
        if number >= *self.shared.limit.lock().unwrap() {
            self.shared.refused.send_replace(true);
            let sentence = "the limit 'tasks' is 2000".to_owned();
            return Err(TasksError::Limited { sentence }.into());
        }
        let known = self
            .shared
            .chunks
            .lock()
            .unwrap()
            .insert(number, chunk.clone());
        assert!(
            known.is_none_or(|known| known == chunk),
            "chunk {number} has changed"
        );
        let is_lost = self
            .shared
            .lose
            .lock()
            .unwrap()
            .take_if(|lost| *lost == number);
        if is_lost.is_some() {
            self.shared.lost.send_replace(Some(self.index));
            std::future::pending::<()>().await;
        }
        Ok(SubmittedChunk {
            batch: counts(0, 0).id,
            tasks: Vec::new(),
        })
    }

    async fn wait(
        self,
        _: Context,
        _: BatchId,
        seen: Option<BatchStatus>,
        wait_ms: u64,
    ) -> Result<BatchStatus, BatchesError> {
        if wait_ms > 0 {
            self.shared
                .polls
                .send_modify(|polls| polls.push(self.index));
        }
        let mut status = self.shared.status.subscribe();
        let changed = status.wait_for(|status| {
            status.is_final() || seen.as_ref().is_some_and(|seen| seen != status)
        });
        let _ = timeout(Duration::from_millis(wait_ms), changed).await;
        Ok(self.shared.status.borrow().clone())
    }

    async fn cancel(self, _: Context, _: BatchId, _: u64) -> Result<BatchStatus, BatchesError> {
        // Each call gets to one task.
        self.shared.status.send_modify(|status| {
            status.queued -= 1;
            status.cancelled += 1;
        });
        Ok(self.shared.status.borrow().clone())
    }

    async fn list(self, _: Context, id: BatchId, _: TaskFilter) -> Result<TaskPage, BatchesError> {
        Err(BatchesError::Unknown { id: id.0 })
    }

    async fn ended(
        self,
        _: Context,
        ids: Vec<TaskId>,
        _: u64,
    ) -> Result<Vec<(u32, TaskStatus)>, BatchesError> {
        self.shared.waited.lock().unwrap().push(ids.len());
        // All but the first one, if there are several.
        let skipped = usize::from(ids.len() > 1);
        let ended = (0..).zip(ids).skip(skipped).map(|(place, id)| {
            let status = TaskStatus {
                result: Some(id.0.clone()),
                id,
                version: 1,
                state: TaskState::Succeeded,
                attempt: 1,
                worker: None,
                progress: None,
                error: None,
            };
            (place, status)
        });
        Ok(ended.collect())
    }
}

fn tasks(count: u32) -> impl Iterator<Item = NewTask> {
    (0..count).map(|n| NewTask::new("calculator", "factorial").argument("n", n))
}

/// How many tasks each chunk has.
fn sizes(shared: &Shared) -> Vec<usize> {
    let chunks = shared.chunks.lock().unwrap();
    let numbers: Vec<u32> = chunks.keys().copied().collect();
    assert_eq!(numbers, (0..).take(chunks.len()).collect::<Vec<_>>());
    chunks.values().map(|chunk| chunk.tasks.0.len()).collect()
}

#[tokio::test]
async fn a_batch_is_sent_in_chunks_of_tasks_and_of_bytes() {
    let (fake, shared) = start(1).await;
    let batch = fake.client().submit_batch(tasks(2500)).await.unwrap();
    assert_eq!(batch.id().0, "batch-1");
    assert_eq!(sizes(&shared), [1000, 1000, 500]);
    {
        let chunks = shared.chunks.lock().unwrap();
        assert!(chunks.values().all(|chunk| chunk.key == chunks[&0].key));
        let task = &chunks[&2].tasks.0[499];
        assert_eq!((&*task.arguments, &*task.key), (r#"{"n":2499}"#, ""));
    }
    shared.chunks.lock().unwrap().clear();
    let large = NewTask::new("o", "m").argument("x", "y".repeat(600_000));
    let large = std::iter::repeat_n(large, 3);
    fake.client().submit_batch(large).await.unwrap();
    assert_eq!(sizes(&shared), [1, 1, 1]);
}

#[tokio::test]
async fn a_chunk_whose_name_server_dies_goes_to_another_one() {
    let (mut fake, shared) = start(2).await;
    *shared.lose.lock().unwrap() = Some(1);
    let client = fake.client();
    let submitting = tokio::spawn(async move { client.submit_batch(tasks(3000)).await });
    let mut lost = shared.lost.subscribe();
    let lost = within(lost.wait_for(Option::is_some))
        .await
        .unwrap()
        .unwrap();
    fake.kill(lost);
    within(submitting).await.unwrap().unwrap();
    assert_eq!(sizes(&shared), [1000, 1000, 1000]);
}

#[tokio::test]
async fn a_submission_that_ends_early_says_how_many_and_is_repeated_under_its_key() {
    let (fake, shared) = start(1).await;
    let client = fake.client();
    *shared.limit.lock().unwrap() = 2;
    let error = client.submit_batch(tasks(4000)).await.unwrap_err();
    assert_eq!(error.problem(), Some(Problem::LimitReached));
    let (key, submitted, may_be_more) = partly(&error);
    assert_eq!((submitted, may_be_more), (2000, false));
    assert_eq!(sizes(&shared).len(), 2);
    *shared.limit.lock().unwrap() = u32::MAX;
    let mut again = client.begin_batch().with_key(key);
    for task in tasks(4000) {
        again.push(task).await.unwrap();
    }
    assert_eq!(again.settle().await, Ok(3000));
    again.finish().await.unwrap();
    assert_eq!(sizes(&shared), [1000; 4]);
}

/// The key, how many tasks are on disk, and whether there may be more.
fn partly(error: &TaskError) -> (String, u64, bool) {
    match error {
        TaskError::PartlySubmitted {
            key,
            submitted,
            may_be_more,
            ..
        } => (key.clone(), *submitted, *may_be_more),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_task_after_chunks_that_were_sent_does_not_hide_them_or_the_key() {
    let (fake, shared) = start(1).await;
    let wrong = NewTask::new("o", "m").key("k");
    let tasks = tasks(4500).chain([wrong]);
    let error = fake.client().submit_batch(tasks).await.unwrap_err();
    assert_eq!(sizes(&shared), [1000; 4]);
    let key = shared.chunks.lock().unwrap()[&0].key.clone();
    assert_eq!(partly(&error), (key, 4000, false));
    let said = error.to_string();
    assert!(
        said.starts_with("4000 tasks of the batch have been submitted: "),
        "{said}"
    );
}

#[tokio::test]
async fn a_chunk_whose_answer_is_lost_is_told_though_another_one_is_refused() {
    let (mut fake, shared) = start(1).await;
    *shared.limit.lock().unwrap() = 1;
    *shared.lose.lock().unwrap() = Some(0);
    let config = ClientConfig::new(fake.address(0)).unwrap();
    let client = Client::new(config.retry_timeout(Duration::from_millis(100)));
    let mut batch = client.begin_batch();
    let key = batch.key().to_owned();
    for task in tasks(1500) {
        batch.push(task).await.unwrap();
    }
    let finishing = tokio::spawn(async move { batch.finish().await });
    // Chunk 0 is on disk, and its answer is withheld; chunk 1 is refused.
    let (mut lost, mut refused) = (shared.lost.subscribe(), shared.refused.subscribe());
    let lost = within(lost.wait_for(Option::is_some))
        .await
        .unwrap()
        .unwrap();
    within(refused.wait_for(|refused| *refused)).await.unwrap();
    // The answer to a later request comes after the refusal.
    let status = client.batch_handle(counts(0, 0).id).status().await;
    assert_eq!(status, Ok(counts(2, 0)));
    fake.kill(lost);
    let error = within(finishing).await.unwrap().unwrap_err();
    assert_eq!(error.problem(), Some(Problem::LimitReached));
    assert_eq!(partly(&error), (key, 0, true));
    let said = error.to_string();
    assert!(
        said.starts_with("0 tasks of the batch have been submitted, and perhaps more: "),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_refused_before_anything_is_submitted_is_told_as_it_is() {
    let (fake, shared) = start(1).await;
    let client = fake.client();
    *shared.limit.lock().unwrap() = 0;
    let error = client.submit_batch(tasks(1)).await.unwrap_err();
    assert!(matches!(error, TaskError::Refused { .. }), "{error:?}");
    let keyed = NewTask::new("o", "m").key("k");
    for wrong in [vec![keyed], vec![]] {
        let error = client.submit_batch(wrong).await.unwrap_err();
        assert!(matches!(error, TaskError::Invalid { .. }), "{error:?}");
    }
    assert!(sizes(&shared).is_empty());
}

#[tokio::test]
async fn waiting_goes_on_at_another_name_server_and_cancelling_until_nothing_is_open() {
    let (mut fake, shared) = start(2).await;
    let batch = fake.client().batch_handle(counts(0, 0).id);
    let waiting = tokio::spawn({
        let batch = batch.clone();
        async move { batch.wait().await }
    });
    let mut polls = shared.polls.subscribe();
    let polled = within(polls.wait_for(|polls| !polls.is_empty())).await;
    let first = polled.unwrap()[0];
    fake.kill(first);
    within(polls.wait_for(|polls| polls.last() != Some(&first)))
        .await
        .unwrap();
    shared.status.send_replace(counts(1, 1));
    shared.status.send_replace(counts(0, 2));
    assert_eq!(within(waiting).await.unwrap(), Ok(counts(0, 2)));
    shared.status.send_replace(counts(3, 0));
    let cancelled = batch.cancel().await.unwrap();
    assert_eq!((cancelled.queued, cancelled.cancelled), (0, 3));
    let error = batch.tasks().try_next().await.unwrap_err();
    assert_eq!(error.to_string(), "there is no batch batch-1");
}

#[tokio::test]
async fn many_tasks_are_waited_for_by_one_request_at_a_time() {
    let (fake, shared) = start(1).await;
    let client = fake.client();
    let handle = |n: usize| client.task_handle(TaskId(n.to_string()));
    let handles: Vec<_> = (0..MAX_WAITED + 10).map(handle).collect();
    let mut ends = client.ends_of(&handles);
    let mut ended = vec![false; handles.len()];
    while let Some((index, status)) = within(ends.try_next()).await.unwrap() {
        assert_eq!(status.id.0, index.to_string());
        assert!(!std::mem::replace(&mut ended[index], true), "{index}");
    }
    assert!(ended.iter().all(|ended| *ended));
    assert_eq!(*shared.waited.lock().unwrap(), [MAX_WAITED, 11, 1]);
}
