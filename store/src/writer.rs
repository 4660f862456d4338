//! Group commit: what is asked for while a transaction is being committed becomes the next one.
//!
//! A call alone is written at once; under load each wait for the disk serves all who came meanwhile.

use super::{
    backend::Backend,
    batch::{Batch, Lane, Queued, Request},
    error::StoreError,
    health::Health,
    hints::Hints,
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
    sync::{Mutex, Notify, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many requests wait in one lane at most. Who comes later waits to be let in.
const QUEUE: usize = 1024;

/// How many bytes the waiting requests hold at most.
const WAITING_BYTES: usize = 256 << 20;

/// While a batch of a lane is being written, another one is begun beside it only if it does so
/// many things: a transaction costs much more than a row.
const WORTH_ITS_OWN: usize = 32;

/// Permits count kibibytes, because a semaphore counts no further than 2³² of them at once.
pub(super) const fn permits_for(bytes: usize) -> u32 {
    let permits = bytes.div_ceil(1024);
    if permits == 0 {
        return 1;
    }
    if permits > WAITING_BYTES / 1024 {
        return (WAITING_BYTES / 1024) as u32;
    }
    permits as u32
}

/// The way to the tasks that write.
#[derive(Debug)]
pub(super) struct Writer {
    /// One for each lane, or one for all of them.
    lanes: Box<[mpsc::Sender<Queued>]>,
    room: Arc<Semaphore>,
    patience: Duration,
}

impl Writer {
    /// Starts the tasks. They end when `stop` is cancelled or this is dropped, and all is written.
    pub(super) fn start(
        backend: &Arc<Backend>,
        hints: &Hints,
        waiters: &Arc<Waiters>,
        patience: Duration,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let writers: Vec<usize> = if backend.writes_in_parallel() {
            Lane::ALL.map(Lane::writers).into()
        } else {
            vec![1]
        };
        let health = Arc::<Health>::default();
        let lanes = writers.into_iter().map(|writers| {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let waiting = Arc::new(Waiting {
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
            lanes: lanes.collect(),
            room: Arc::new(Semaphore::new(WAITING_BYTES / 1024)),
            patience,
        }
    }

    /// Asks for a write of about `bytes`, and waits until it is done.
    pub(super) async fn write<I, O>(
        &self,
        bytes: usize,
        kind: impl FnOnce(Vec<I>, oneshot::Sender<Result<Vec<O>, StoreError>>) -> Request,
        inputs: Vec<I>,
    ) -> Result<Vec<O>, StoreError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let request = kind(inputs, reply);
        let busy = || StoreError::Unavailable("too many writes are waiting already".to_owned());
        let let_in = async {
            let room = Arc::clone(&self.room);
            let permit = room.acquire_many_owned(permits_for(bytes)).await;
            let permit = permit.map_err(|_| StoreError::Closed)?;
            let lane = self.lanes.get(request.lane() as usize);
            let lane = lane.or_else(|| self.lanes.first());
            let lane = lane.ok_or(StoreError::Closed)?;
            let queued = Queued { request, permit };
            lane.send(queued).await.map_err(|_| StoreError::Closed)
        };
        timeout(self.patience, let_in).await.map_err(|_| busy())??;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// What waits in one lane.
#[derive(Debug)]
struct Waiting {
    queue: Mutex<mpsc::Receiver<Queued>>,
    /// How many batches are being written.
    writing: AtomicUsize,
    /// One of them has been.
    written: Notify,
}

async fn write_all(
    waiting: Arc<Waiting>,
    backend: Arc<Backend>,
    (hints, waiters, health): (Hints, Arc<Waiters>, Arc<Health>),
    stop: CancellationToken,
) {
    while let Some(mut batch) = waiting.next_batch(&stop).await {
        let written = backend.write(&mut batch).await;
        waiting.writing.fetch_sub(1, Ordering::Relaxed);
        waiting.written.notify_one();
        match written {
            Ok(mut effects) => {
                health.succeeded();
                batch.answer(Ok(()));
                waiters.settle(std::mem::take(&mut effects.ends));
                hints.tell(effects);
            }
            Err(error) => {
                health.failed(&error);
                batch.answer(Err(error));
            }
        }
    }
}

impl Waiting {
    /// Everything that waits, as soon as something does; nothing at the end.
    async fn next_batch(&self, stop: &CancellationToken) -> Option<Batch> {
        let mut queue = self.queue.lock().await;
        let first = loop {
            tokio::select! {
                first = queue.recv() => break first?,
                // What waits is still written.
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
            if alone || batch.count() >= WORTH_ITS_OWN {
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
