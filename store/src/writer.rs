//! Group commit: requests that arrive during the commit of a transaction form the next one.
//!
//! A single request is written at once. Under load, each wait for the disk serves all requests that arrived
//! in the meantime.

use super::{
    backend::Backend,
    batch::{
        Batch, MAX_WAITING_BYTES, MAX_WAITING_CHUNK_TASKS, QueuedRequest, Reply, Request,
        WriteClass, permits_for,
    },
    error::StoreError,
    health::{Health, WriteFigures},
    hints::Hints,
    options::StoreOptions,
    waiters::Waiters,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many requests one queue holds at most. Later ones wait for room.
const QUEUE_CAPACITY: usize = 1024;

/// While a batch of a class is being written, another one is begun beside it only if it has at least this
/// many items: a transaction costs much more than a row.
const MIN_PARALLEL_BATCH: usize = 32;

/// The queues to the tasks that write.
#[derive(Debug)]
pub(super) struct Writer {
    /// One for each class, or one for all of them.
    queues: Box<[mpsc::Sender<QueuedRequest>]>,
    memory: Arc<Semaphore>,
    /// The tasks of chunks that may wait.
    chunk_tasks: Arc<Semaphore>,
    health: Arc<Health>,
    patience: Duration,
}

impl Writer {
    /// Starts the tasks. They end once `stop` is cancelled or this is dropped, and all waiting requests are
    /// written.
    pub(super) fn start(
        backend: &Arc<Backend>,
        hints: &Hints,
        waiters: &Arc<Waiters>,
        options: &StoreOptions,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let writers: Vec<usize> = if backend.writes_in_parallel() {
            WriteClass::ALL.map(WriteClass::writers).into()
        } else {
            vec![1]
        };
        let health = Arc::<Health>::default();
        let lanes = writers.into_iter().map(|writers| {
            let (sender, receiver) = mpsc::channel(QUEUE_CAPACITY);
            let waiting = Arc::new(WriteQueue {
                queue: Mutex::new(receiver),
                writing: AtomicUsize::new(0),
                written: Notify::new(),
            });
            for _ in 0..writers {
                let (waiting, backend) = (Arc::clone(&waiting), Arc::clone(backend));
                let told = (hints.clone(), Arc::clone(waiters), Arc::clone(&health));
                tasks.spawn(write_all(waiting, backend, told, stop.clone()));
            }
            sender
        });
        Self {
            queues: lanes.collect(),
            memory: Arc::new(Semaphore::new(MAX_WAITING_BYTES / 1024)),
            chunk_tasks: Arc::new(Semaphore::new(MAX_WAITING_CHUNK_TASKS as usize)),
            health,
            patience: options.timeout,
        }
    }

    /// What became of the transactions so far.
    pub(super) fn figures(&self) -> WriteFigures {
        self.health.figures()
    }

    /// Why writes fail now, if they do.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.health.reason()
    }

    /// Queues a request of about `bytes`, and waits until it is written.
    pub(super) async fn write<I, O>(
        &self,
        bytes: usize,
        kind: impl FnOnce(Vec<I>, Reply<O>) -> Request,
        inputs: Vec<I>,
    ) -> Result<Vec<O>, StoreError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let request = kind(inputs, reply);
        let busy = || StoreError::Unavailable("too many writes are waiting already".to_owned());
        let let_in = async {
            let turn = match request.chunk_tasks() {
                Some(tasks) => {
                    let tasks = u32::try_from(tasks).unwrap_or(MAX_WAITING_CHUNK_TASKS);
                    Some(acquire(&self.chunk_tasks, tasks.min(MAX_WAITING_CHUNK_TASKS)).await?)
                }
                None => None,
            };
            let permit = match request.lane() {
                WriteClass::Lease => None,
                _ => Some(acquire(&self.memory, permits_for(bytes)).await?),
            };
            let lane = self.queues.get(request.lane() as usize);
            let lane = lane.or_else(|| self.queues.first());
            let lane = lane.ok_or(StoreError::Closed)?;
            let queued = QueuedRequest {
                request,
                permit,
                turn,
            };
            lane.send(queued).await.map_err(|_| StoreError::Closed)
        };
        timeout(self.patience, let_in).await.map_err(|_| busy())??;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

async fn acquire(room: &Arc<Semaphore>, permits: u32) -> Result<OwnedSemaphorePermit, StoreError> {
    let permit = Arc::clone(room).acquire_many_owned(permits).await;
    permit.map_err(|_| StoreError::Closed)
}

/// The queue of one class.
#[derive(Debug)]
struct WriteQueue {
    queue: Mutex<mpsc::Receiver<QueuedRequest>>,
    /// The number of batches that are being written.
    writing: AtomicUsize,
    /// Notified when one of them is written.
    written: Notify,
}

async fn write_all(
    waiting: Arc<WriteQueue>,
    backend: Arc<Backend>,
    (hints, waiters, health): (Hints, Arc<Waiters>, Arc<Health>),
    stop: CancellationToken,
) {
    while let Some(mut batch) = waiting.next_batch(&stop).await {
        let began = Instant::now();
        let written = backend.write(&mut batch).await;
        health.took(began.elapsed());
        waiting.writing.fetch_sub(1, Ordering::Relaxed);
        waiting.written.notify_one();
        match written {
            Ok(mut effects) => {
                health.succeeded();
                batch.answer(Ok(()));
                waiters.notify_ended(std::mem::take(&mut effects.task_results));
                hints.publish(effects);
            }
            Err(error) => {
                health.failed(&error);
                batch.answer(Err(error));
            }
        }
    }
}

impl WriteQueue {
    /// All waiting requests, as soon as there is one; `None` at the end.
    async fn next_batch(&self, stop: &CancellationToken) -> Option<Batch> {
        let mut queue = self.queue.lock().await;
        let first = loop {
            tokio::select! {
                first = queue.recv() => break first?,
                // Waiting requests are still written.
                () = stop.cancelled(), if !queue.is_closed() => queue.close(),
            }
        };
        let mut batch = Batch::default();
        batch.push(first);
        while !batch.is_full() {
            if let Ok(next) = queue.try_recv() {
                batch.push(next);
                continue;
            }
            let alone = self.writing.load(Ordering::Relaxed) == 0;
            if alone || batch.count() >= MIN_PARALLEL_BATCH {
                break;
            }
            tokio::select! {
                next = queue.recv() => match next {
                    Some(next) => batch.push(next),
                    None => break,
                },
                () = self.written.notified() => {}
            }
        }
        self.writing.fetch_add(1, Ordering::Relaxed);
        Some(batch)
    }
}
