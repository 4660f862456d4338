//! The object `batches`: tasks that are submitted in chunks, waited for and cancelled together.

use super::{
    convert::{self, task_id, unknown},
    permission::{TaskVisibility, check_change, check_read},
    service::{TasksService, reserve_memory, wait_limit},
};
use pyroxene_common::{
    identity::{Identity, Role},
    interfaces::{
        batches::{
            BatchChunk, BatchId, BatchStatus, BatchesError, MAX_WAITED, SubmittedChunk, batches,
        },
        tasks::{Submissions, TaskFilter, TaskId, TaskPage, TaskStatus, TasksError},
    },
    scope,
};
use pyroxene_store::{
    self as store, ChunkOutcome, NewStoredChunk, NewStoredTask, StoredBatch, StoredBatchId,
};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, time::Duration};
use tarpc::context::Context;
use tokio::time::{Instant, sleep_until};

/// The most bytes of a batch's key.
const MAX_KEY: usize = 512;

/// The bounds of the time between two counts of a batch's tasks by a waiting call.
const POLL_INTERVAL: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(20)..=Duration::from_millis(500);

/// A call that is told of numbers that have changed, but not of the end, takes at least this long: in a busy batch they
/// change all the time.
const NEWS_INTERVAL: Duration = Duration::from_millis(500);

/// With many waiting calls each one polls more rarely: the interval is at least this long per waiting call.
const POLL_INTERVAL_PER_WAITER: Duration = Duration::from_millis(2);

/// How long a call that waits for many tasks goes on after the first one has ended, so that it answers about many.
const GATHER: Duration = Duration::from_millis(250);

/// For how many tasks a call waits that counts as one: a task among many costs less than a call of its own.
const IDS_PER_POLL: usize = 10;

/// The bytes of a status besides its result and its error.
const STATUS_BYTES: usize = 300;

/// The most bytes of statuses in one answer.
const MAX_ANSWER: usize = 4 << 20;

/// About how many bytes of an answer the status of a task takes.
fn status_bytes(one: &store::TaskResult) -> usize {
    let error = one.error.as_ref().map_or(0, String::len);
    STATUS_BYTES + error + one.result.as_ref().map_or(0, Vec::len)
}

/// Which methods of the object a role may call.
pub(crate) fn may_call(role: Role, method: &str) -> bool {
    match role {
        Role::Admin | Role::User => true,
        Role::Observer => matches!(method, "wait" | "list" | "ended"),
        Role::Worker => false,
    }
}

/// Answers the calls of the interface `Batches`.
#[derive(Clone, Debug)]
pub(crate) struct BatchesService(TasksService);

fn unknown_batch(id: &BatchId) -> BatchesError {
    let id = id.0.chars().take(64).collect();
    BatchesError::Unknown { id }
}

fn invalid(sentence: impl Into<String>) -> BatchesError {
    let sentence = sentence.into();
    TasksError::Invalid { sentence }.into()
}

/// The id of a submitter's batch with a key. Every name server computes the same.
fn batch_id(submitter: &str, key: &str) -> StoredBatchId {
    let mut hash = Sha256::new();
    hash.update((submitter.len() as u64).to_le_bytes());
    hash.update(submitter);
    hash.update(key);
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(digest.split_at(16).0);
    StoredBatchId::new(bytes)
}

/// A number that is the same for the same calls, at every name server.
fn fingerprint(tasks: &[NewStoredTask]) -> i64 {
    let mut hash = Sha256::new();
    for task in tasks {
        let worker = task.worker.as_deref().unwrap_or("");
        for part in [
            task.object.as_bytes(),
            task.method.as_bytes(),
            worker.as_bytes(),
            &task.arguments,
        ] {
            // Each part is preceded by its length, so that no two lists of tasks have the same bytes.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.finalize().into();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// After which time a call that has `waited` counts the tasks again: the end of a short batch is noticed soon, and a long one
/// costs little. `waiters` are all calls that wait for something.
fn poll_interval(waited: Duration, waiters: u64) -> Duration {
    let waiters = u32::try_from(waiters).unwrap_or(u32::MAX);
    (waited / 8)
        .clamp(*POLL_INTERVAL.start(), *POLL_INTERVAL.end())
        .max(POLL_INTERVAL_PER_WAITER.saturating_mul(waiters))
}

fn status(batch: StoredBatch) -> BatchStatus {
    let count = |tasks: i64| u64::try_from(tasks).unwrap_or(0);
    BatchStatus {
        id: BatchId(batch.id.to_string()),
        total: count(batch.total),
        queued: count(batch.queued),
        running: count(batch.running),
        succeeded: count(batch.succeeded),
        failed: count(batch.failed),
        cancelled: count(batch.cancelled),
    }
}

impl BatchesService {
    pub(crate) fn new(tasks: TasksService) -> Self {
        Self(tasks)
    }

    fn store(&self) -> &store::Store {
        self.0.context().store()
    }

    /// The batch with an id, or with an id that begins with this unique prefix.
    async fn find(&self, id: &BatchId) -> Result<StoredBatch, BatchesError> {
        self.0.check_store()?;
        let known = match id.0.parse() {
            Ok(known) => known,
            Err(_) => {
                let range = StoredBatchId::with_prefix(&id.0).ok_or_else(|| unknown_batch(id))?;
                let found = self.0.ask(self.store().first_two_batches(&range)).await?;
                convert::only(&found, "batches", &id.0)?.ok_or_else(|| unknown_batch(id))?
            }
        };
        self.count(known).await
    }

    /// Counts the tasks of a batch.
    async fn count(&self, id: StoredBatchId) -> Result<StoredBatch, BatchesError> {
        let batch = self.0.ask(self.store().batch(id)).await?;
        batch.ok_or_else(|| unknown_batch(&BatchId(id.to_string())))
    }

    /// A batch that the caller may see.
    async fn find_readable(
        &self,
        id: &BatchId,
        caller: Option<&Identity>,
    ) -> Result<StoredBatch, BatchesError> {
        let batch = self.find(id).await?;
        check_read(caller, format_args!("batch {}", batch.id), &batch.submitter)?;
        Ok(batch)
    }

    /// Checks that there are these tasks, and that a caller may see them. Returns how much it sees of each one.
    async fn visible(
        &self,
        caller: Option<&Identity>,
        ids: &[store::StoredTaskId],
    ) -> Result<HashMap<store::StoredTaskId, TaskVisibility>, BatchesError> {
        let mut visible = HashMap::with_capacity(ids.len());
        for call in self.0.ask(self.store().task_calls(ids)).await? {
            check_read(caller, format_args!("task {}", call.id), &call.submitter)?;
            let view = TaskVisibility::of(caller, &call.object, &call.method);
            visible.insert(call.id, view);
        }
        match ids.iter().find(|id| !visible.contains_key(id)) {
            Some(missing) => Err(unknown(&task_id(*missing)).into()),
            None => Ok(visible),
        }
    }
}

impl batches::Batches for BatchesService {
    async fn submit(
        self,
        context: Context,
        chunk: BatchChunk,
    ) -> Result<SubmittedChunk, BatchesError> {
        let BatchChunk {
            key,
            number,
            tasks: Submissions(tasks),
        } = chunk;
        if key.is_empty() || key.len() > MAX_KEY {
            let sentence = format!("the key of a batch has between 1 and {MAX_KEY} bytes");
            return Err(invalid(sentence));
        }
        if tasks.is_empty() || tasks.iter().any(|task| !task.key.is_empty()) {
            return Err(invalid(
                "a chunk of a batch has at least one task, and none with a key of its own",
            ));
        }
        let caller = scope::current().caller;
        let identity = caller.identity.as_deref();
        let tasks = self.0.checked(&context, tasks)?;
        let submitter = identity.map_or("", |identity| &identity.name);
        let batch = batch_id(submitter, &key);
        let is_delayed = tasks.iter().any(|task| !task.delay.is_zero());
        let chunk = NewStoredChunk {
            batch,
            number: number.into(),
            fingerprint: fingerprint(&tasks),
            submitter: submitter.to_owned(),
            tasks,
            allowance: self.0.context().limiter().allowance(identity),
        };
        match self.0.write_chunk(&context, chunk).await? {
            ChunkOutcome::TooMuch(quota) => Err(self.0.too_much(identity, quota).into()),
            ChunkOutcome::Differs => Err(BatchesError::Differs { key, number }),
            ChunkOutcome::Added(ids) => {
                if is_delayed {
                    self.0.context().added_delayed_task();
                }
                self.0.context().saw_submitter(&caller);
                Ok(SubmittedChunk {
                    batch: BatchId(batch.to_string()),
                    tasks: ids.into_iter().map(task_id).collect(),
                })
            }
        }
    }

    async fn wait(
        self,
        context: Context,
        id: BatchId,
        seen: Option<BatchStatus>,
        wait_ms: u64,
    ) -> Result<BatchStatus, BatchesError> {
        let caller = scope::current().caller;
        let caller = caller.identity.as_deref();
        let began = Instant::now();
        let until = began + wait_limit(&context, wait_ms);
        let batch = self.find_readable(&id, caller).await?;
        let id = batch.id;
        let mut current = status(batch);
        if current.is_final() || Instant::now() >= until {
            return Ok(current);
        }
        let held = self.0.hold_poll(caller)?;
        let is_news = |current: &BatchStatus| seen.as_ref().is_some_and(|seen| seen != current);
        let earliest = began + NEWS_INTERVAL;
        while !current.is_final() && Instant::now() < until {
            let next = match is_news(&current) {
                true if Instant::now() >= earliest => break,
                true => earliest,
                false => Instant::now() + poll_interval(began.elapsed(), held.held_by_all()),
            };
            sleep_until(until.min(next)).await;
            current = status(self.count(id).await?);
        }
        Ok(current)
    }

    async fn cancel(
        self,
        context: Context,
        id: BatchId,
        wait_ms: u64,
    ) -> Result<BatchStatus, BatchesError> {
        let caller = scope::current().caller;
        let until = Instant::now() + wait_limit(&context, wait_ms);
        let StoredBatch { id, submitter, .. } = self.find(&id).await?;
        let caller = caller.identity.as_deref();
        check_change(caller, format_args!("batch {id}"), &submitter)?;
        let mut after = -1;
        while let Some(number) = self.0.ask(self.store().cancel_chunk(id, after)).await? {
            after = number;
            if Instant::now() >= until {
                break;
            }
        }
        Ok(status(self.count(id).await?))
    }

    async fn list(
        self,
        context: Context,
        id: BatchId,
        filter: TaskFilter,
    ) -> Result<TaskPage, BatchesError> {
        let caller = scope::current().caller;
        let batch = self.find_readable(&id, caller.identity.as_deref()).await?;
        Ok(self.0.list_of(&context, filter, Some(batch.id)).await?)
    }

    async fn ended(
        self,
        context: Context,
        ids: Vec<TaskId>,
        wait_ms: u64,
    ) -> Result<Vec<(u32, TaskStatus)>, BatchesError> {
        self.0.check_store()?;
        if ids.len() > MAX_WAITED {
            let sentence = format!("one call waits for {MAX_WAITED} tasks at most");
            return Err(invalid(sentence));
        }
        let caller = scope::current().caller;
        let caller = caller.identity.as_deref();
        let until = Instant::now() + wait_limit(&context, wait_ms);
        // Before the store is asked anything.
        let calls = ids.len().div_ceil(IDS_PER_POLL) as u64;
        let _held = self.0.hold_polls(caller, calls)?;
        // An id may be there more than once.
        let mut places: HashMap<store::StoredTaskId, Vec<u32>> = HashMap::new();
        for (place, id) in (0..).zip(&ids) {
            places
                .entry(self.0.find(id).await?)
                .or_default()
                .push(place);
        }
        let known: Vec<_> = places.keys().copied().collect();
        let visible = self.visible(caller, &known).await?;
        let left = until.saturating_duration_since(Instant::now());
        let mut bytes = 0;
        let is_enough = |one: &store::TaskResult| {
            bytes += places.get(&one.id).map_or(0, Vec::len) * status_bytes(one);
            bytes >= MAX_ANSWER
        };
        let waiting = self.store().wait_for_any(&known, left, GATHER, is_enough);
        let ended = waiting.await;
        let answers = scope::answers();
        let _turn = answers.wait_for_turn().await;
        let mut room = bytes.min(MAX_ANSWER);
        reserve_memory(&context, &answers, room).await?;
        let mut answer = Vec::new();
        for one in ended {
            let places = places.get(&one.id).into_iter().flatten();
            let size = status_bytes(&one);
            let view = visible.get(&one.id).copied();
            let view = view.unwrap_or(TaskVisibility::Outline);
            let status = view.status(convert::ended_status(one));
            // The next call answers those that have no room in this one.
            for place in places.take(room / size) {
                room -= size;
                answer.push((*place, status.clone()));
            }
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests;
