//! Batches: many tasks that are submitted in chunks, waited for and cancelled together.

mod handle;

pub use handle::BatchHandle;

use super::{NewTask, TaskError, TaskHandle, handle::POLL, new::milliseconds};
use crate::{
    client::Client,
    error::CallError,
    failover::{Repeat, RequestTimes},
    nameserver::{NameServerClient, NameServerService},
};
use futures::{Stream, TryStreamExt, stream};
use pyroxene_common::interfaces::{
    batches::{
        BatchChunk, BatchId, Batches, BatchesError, CHUNK_TASKS, MAX_WAITED, batches::BatchesClient,
    },
    tasks::{Submission, Submissions, TaskId, TaskState, TaskStatus},
};
use tarpc::context::Context;
use tokio::task::JoinSet;
use uuid::Uuid;

/// A chunk has at most about this many bytes, unless a single task has more.
const CHUNK_BYTES: usize = 1 << 20;

/// How many chunks are sent at a time: while the store writes one, a name server reads the next one.
const CHUNKS_AT_ONCE: usize = 3;

impl Client {
    /// Submits tasks as a batch. When this returns, all of them are on disk. They are sent in chunks of 1,000, so there may
    /// be any number of them; each chunk is submitted as a whole or not at all.
    ///
    /// ```no_run
    /// use pyroxene_client::NewTask;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let tasks = (1..=100_000).map(|n| NewTask::new("calculator", "factorial").argument("n", n));
    /// let batch = client.submit_batch(tasks).await?;
    /// let counts = batch.wait().await?;
    /// println!("{} of {} tasks have failed", counts.failed, counts.total);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Invalid`](TaskError::Invalid) without a task, and for a task with a key of its own. If only a part of the tasks was
    /// submitted, or that is not known, the error is [`PartlySubmitted`](TaskError::PartlySubmitted).
    pub async fn submit_batch(
        &self,
        tasks: impl IntoIterator<Item = NewTask>,
    ) -> Result<BatchHandle, TaskError> {
        let mut batch = self.begin_batch();
        for task in tasks {
            batch.push(task).await?;
        }
        batch.finish().await
    }

    /// Begins a batch whose tasks are added one by one, as a file is read for example.
    ///
    /// ```no_run
    /// use pyroxene_client::NewTask;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// // Under a key the program can be run again after a failure: no task is doubled.
    /// let mut batch = client.begin_batch().with_key("report-2026-11-30");
    /// for line in std::fs::read_to_string("lines.txt")?.lines() {
    ///     batch.push(NewTask::new("hash", "sha256").argument("text", line)).await?;
    /// }
    /// println!("{}", batch.finish().await?.id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn begin_batch(&self) -> BatchSubmission {
        BatchSubmission {
            client: self.clone(),
            key: Uuid::now_v7().simple().to_string(),
            next: BatchChunk {
                key: String::new(),
                number: 0,
                tasks: Submissions(Vec::new()),
            },
            bytes: 0,
            sending: JoinSet::new(),
            id: None,
            submitted: 0,
            may_be_more: false,
        }
    }

    /// A handle of a batch that was submitted earlier, by this process or another one.
    pub fn batch_handle(&self, id: BatchId) -> BatchHandle {
        BatchHandle::new(self.clone(), id)
    }

    /// The statuses of tasks as they end, each with the index of its task in `tasks`. However many tasks there are, one
    /// request at a time waits for them.
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    ///
    /// # async fn example(
    /// #     client: pyroxene_client::Client,
    /// #     tasks: Vec<pyroxene_client::TaskHandle>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut ends = client.ends_of(&tasks);
    /// while let Some((index, status)) = ends.try_next().await? {
    ///     println!("{} has {}", tasks[index].id(), status.state);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error of the request; then the stream ends. It is [`Unknown`](TaskError::Unknown) if one of the tasks does not
    /// exist.
    pub fn ends_of<'t>(
        &'t self,
        tasks: &'t [TaskHandle],
    ) -> impl Stream<Item = Result<(usize, TaskStatus), TaskError>> + Send + Unpin + 't {
        let open: Vec<usize> = (0..tasks.len()).collect();
        let pages = stream::try_unfold(open, move |mut open| async move {
            if open.is_empty() {
                return Ok::<_, TaskError>(None);
            }
            let window = open.iter().take(MAX_WAITED);
            let ids = window.filter_map(|index| Some(tasks.get(*index)?.id().clone()));
            let ended = self.ended_among(ids.collect()).await?;
            let mut page = Vec::with_capacity(ended.len());
            for (place, status) in ended {
                let index = usize::try_from(place)
                    .ok()
                    .and_then(|place| open.get(place));
                if let Some(&index) = index {
                    page.push((index, status));
                }
            }
            let mut gone: Vec<usize> = page.iter().map(|(index, _)| *index).collect();
            gone.sort_unstable();
            open.retain(|index| gone.binary_search(index).is_err());
            let page = page.into_iter().map(Ok::<_, TaskError>);
            Ok(Some((stream::iter(page), open)))
        });
        let ends = pages
            .try_flatten()
            .and_then(move |(index, status)| async move {
                // A large result is left out where many tasks are waited for.
                let is_left_out = status.state == TaskState::Succeeded && status.result.is_none();
                match tasks.get(index).filter(|_| is_left_out) {
                    Some(task) => Ok((index, task.ended().await?)),
                    None => Ok((index, status)),
                }
            });
        Box::pin(ends)
    }

    async fn ended_among(&self, ids: Vec<TaskId>) -> Result<Vec<(u32, TaskStatus)>, TaskError> {
        let bytes = ids.iter().map(|id| id.0.len()).sum();
        let times = self.long_poll().carrying(bytes);
        self.ask_about_batches(times, |batches, context| {
            let ids = ids.clone();
            async move { batches.ended(context, ids, milliseconds(POLL)).await }
        })
        .await
    }

    /// Sends a request about batches to any name server that answers.
    async fn ask_about_batches<T, F>(
        &self,
        times: RequestTimes,
        question: impl Fn(BatchesClient<NameServerService<Batches>>, Context) -> F,
    ) -> Result<T, TaskError>
    where
        F: Future<Output = Result<Result<T, BatchesError>, CallError>>,
    {
        let question =
            |nameserver: &NameServerClient, context| question(nameserver.batches(), context);
        self.ask_object(times, question).await
    }

    async fn submit_chunk(self, chunk: BatchChunk) -> Result<(BatchId, u64), TaskError> {
        let tasks = &chunk.tasks.0;
        let bytes = tasks.iter().map(|task| task.arguments.len()).sum();
        let times = RequestTimes::quick(Repeat::For(self.retry_timeout())).carrying(bytes);
        let submitted = self.ask_about_batches(times, |batches, context| {
            let chunk = chunk.clone();
            async move { batches.submit(context, chunk).await }
        });
        Ok((submitted.await?.batch, tasks.len() as u64))
    }
}

/// A batch that is being submitted. Tasks are sent as they are added, a few chunks at a time. Dropping it ends the
/// submission: the tasks of the last chunks may have been submitted or not.
#[derive(Debug)]
pub struct BatchSubmission {
    client: Client,
    key: String,
    next: BatchChunk,
    /// The bytes of the next chunk.
    bytes: usize,
    sending: JoinSet<Result<(BatchId, u64), TaskError>>,
    id: Option<BatchId>,
    submitted: u64,
    /// Whether the answer to a chunk was lost, so that it may be on disk.
    may_be_more: bool,
}

impl BatchSubmission {
    /// Sets the key. Two submissions of one user with the same key and the same tasks in the same order are one batch, also
    /// if the first one ended early. Without a key, each submission is a separate batch. Call it before tasks are added.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// The key: the caller's, or a generated one.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The id, once a task is known to be on disk.
    pub fn id(&self) -> Option<&BatchId> {
        self.id.as_ref()
    }

    /// How many tasks are known to be on disk.
    pub fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Adds a task. This waits while several chunks are being sent.
    ///
    /// # Errors
    ///
    /// As [`submit_batch`](Client::submit_batch). After an error the submission cannot go on: submit the tasks again under
    /// the same key.
    pub async fn push(&mut self, task: NewTask) -> Result<(), TaskError> {
        let task = match task.into_batch_submission() {
            Ok(task) => task,
            Err(invalid) => return Err(self.failed(invalid).await),
        };
        let bytes = size(&task);
        let is_full = self.next.tasks.0.len() >= CHUNK_TASKS
            || (self.bytes > 0 && self.bytes + bytes > CHUNK_BYTES);
        if is_full {
            self.send().await?;
        }
        self.bytes += bytes;
        self.next.tasks.0.push(task);
        Ok(())
    }

    /// Waits for the answers to the chunks that are being sent. Returns how many tasks are on disk then. It fails as `push`.
    pub async fn settle(&mut self) -> Result<u64, TaskError> {
        while !self.sending.is_empty() {
            self.confirm().await?;
        }
        Ok(self.submitted)
    }

    /// Sends the rest, and waits until all tasks are on disk.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn finish(&mut self) -> Result<BatchHandle, TaskError> {
        if !self.next.tasks.0.is_empty() {
            self.send().await?;
        }
        self.settle().await?;
        let id = self.id.clone().ok_or_else(|| TaskError::Invalid {
            sentence: "a batch needs at least one task".to_owned(),
        })?;
        Ok(self.client.batch_handle(id))
    }

    /// Sends the next chunk.
    async fn send(&mut self) -> Result<(), TaskError> {
        while self.sending.len() >= CHUNKS_AT_ONCE {
            self.confirm().await?;
        }
        let number = self.next.number;
        let Some(next) = number.checked_add(1) else {
            let sentence = "the batch has too many tasks".to_owned();
            return Err(self.failed(TaskError::Invalid { sentence }).await);
        };
        self.next.number = next;
        let tasks = std::mem::replace(&mut self.next.tasks, Submissions(Vec::new()));
        let key = self.key.clone();
        self.bytes = 0;
        let chunk = BatchChunk { key, number, tasks };
        self.sending.spawn(self.client.clone().submit_chunk(chunk));
        Ok(())
    }

    /// Waits for the answer to one chunk.
    async fn confirm(&mut self) -> Result<(), TaskError> {
        match self.answer().await {
            Some(Err(cause)) => Err(self.failed(cause).await),
            _ => Ok(()),
        }
    }

    /// The next answer to a chunk; `None` if no chunk is being sent.
    async fn answer(&mut self) -> Option<Result<(), TaskError>> {
        let answer = self.sending.join_next().await?;
        let answer = answer.unwrap_or_else(|lost| {
            Err(TaskError::Unavailable {
                sentence: lost.to_string(),
                sent: true,
                problem: None,
            })
        });
        self.may_be_more |= matches!(answer, Err(TaskError::Unavailable { sent: true, .. }));
        Some(answer.map(|(id, tasks)| {
            self.submitted += tasks;
            self.id = Some(id);
        }))
    }

    /// The error of the whole submission. The chunks that are being sent are answered first: they may be on disk.
    async fn failed(&mut self, cause: TaskError) -> TaskError {
        while self.answer().await.is_some() {}
        match self.submitted > 0 || self.may_be_more {
            true => TaskError::PartlySubmitted {
                key: self.key.clone(),
                submitted: self.submitted,
                may_be_more: self.may_be_more,
                cause: Box::new(cause),
            },
            false => cause,
        }
    }
}

/// About how many bytes of a chunk a task takes.
fn size(task: &Submission) -> usize {
    task.arguments.len() + task.object.len() + task.method.len() + 64
}
