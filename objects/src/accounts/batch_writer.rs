//! One connection to the database, and the operations that wait for it.
//!
//! The operations that arrive while one transaction commits are carried out in the next: a commit waits for
//! the disk, which takes as long for a hundred operations as for one.
//!
//! Operations are safe to repeat, so a lost connection does not fail them: they are carried out again over
//! the next connection, and the request id shows which ones the database has already carried out.

use super::{
    database::{AccountsDatabase, AccountsDatabaseError, AccountsSession},
    ledger::{AccountOperation, OperationResult},
};
use crate::interfaces::accounts::AccountsError;
use pyroxene_store::database::{Fault, FaultKind};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many operations may wait.
const MAX_WAITING: usize = 4096;

/// How many operations one transaction carries out.
const MAX_BATCH: usize = 512;

/// How long a transaction may take, including a new connection if it needs one.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// An operation that is older than this is not tried again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(3);

/// The pause after the first failure; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A queue of operations. The connection closes when all clones are dropped.
#[derive(Clone, Debug)]
pub(super) struct BatchWriter {
    database: AccountsDatabase,
    queue: mpsc::Sender<QueuedOperation>,
    stop: CancellationToken,
    /// The task that serves the queue.
    serving: TaskTracker,
    /// Why that task could not close the connection in order, if it could not.
    not_closed: Arc<OnceLock<AccountsDatabaseError>>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionUse {
    /// Changes. When it closes, it copies the log of a file to the file.
    Changes,
    /// Queries.
    Queries,
}

#[derive(Debug)]
struct QueuedOperation {
    operation: AccountOperation,
    answer: oneshot::Sender<OperationResult>,
    queued_at: Instant,
}

impl BatchWriter {
    /// Carries out operations over `session`, and over new connections to `database` after it is lost.
    pub(super) fn start(
        database: AccountsDatabase,
        session: AccountsSession,
        purpose: ConnectionUse,
    ) -> Self {
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        let connection = AccountsConnection {
            database: database.clone(),
            purpose,
            session: Some(session),
            pause: FIRST_PAUSE,
            fault: None,
        };
        let lane = Self {
            database,
            queue: sender,
            stop: CancellationToken::new(),
            serving: TaskTracker::new(),
            not_closed: Arc::default(),
        };
        let (stop, not_closed) = (lane.stop.clone(), Arc::clone(&lane.not_closed));
        lane.serving.spawn(async move {
            if let Err(error) = connection.serve(queue, stop).await {
                tracing::warn!(%error, "the log of the accounts was not copied to their file");
                // It is closed once.
                let _ = not_closed.set(error);
            }
        });
        lane.serving.close();
        lane
    }

    /// Carries out the waiting operations, and closes the connection. Later operations of any clone are
    /// unavailable. Returns why the log of a file could not be copied to the file, if it could not.
    pub(super) async fn close(&self) -> Result<(), AccountsDatabaseError> {
        self.stop.cancel();
        self.serving.wait().await;
        match self.not_closed.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// The result of a [`close`](Self::close) that took too long.
    pub(super) fn not_closed_within(&self, time: Duration) -> Result<(), AccountsDatabaseError> {
        if !self.database.is_file() {
            // A server has everything that was acknowledged.
            return Ok(());
        }
        let message = format!("its log was not copied to the file within {time:?}");
        let fault = Fault::new(FaultKind::Unavailable, message);
        Err(self.database.cannot_use(fault))
    }

    pub(super) async fn carry_out(&self, operation: AccountOperation) -> OperationResult {
        let (answer, answered) = oneshot::channel();
        let waiting = QueuedOperation {
            operation,
            answer,
            queued_at: Instant::now(),
        };
        self.queue.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AccountsError::Overloaded {
                waiting: MAX_WAITING as u64,
            },
            mpsc::error::TrySendError::Closed(_) => AccountsError::Unavailable,
        })?;
        answered.await.unwrap_or(Err(AccountsError::Unavailable))
    }
}

struct AccountsConnection {
    database: AccountsDatabase,
    purpose: ConnectionUse,
    session: Option<AccountsSession>,
    /// The pause after the next failure.
    pause: Duration,
    /// Why the last attempt failed, if it did.
    fault: Option<Fault>,
}

impl AccountsConnection {
    async fn serve(
        mut self,
        mut queue: mpsc::Receiver<QueuedOperation>,
        stop: CancellationToken,
    ) -> Result<(), AccountsDatabaseError> {
        let mut batch = Vec::new();
        loop {
            if batch.is_empty() {
                tokio::select! {
                    received = queue.recv_many(&mut batch, MAX_BATCH) => {
                        if received == 0 {
                            break;
                        }
                    }
                    // Waiting operations are still carried out.
                    () = stop.cancelled(), if !queue.is_closed() => queue.close(),
                }
            }
            while batch.len() < MAX_BATCH
                && let Ok(waiting) = queue.try_recv()
            {
                batch.push(waiting);
            }
            batch.retain(|waiting: &QueuedOperation| !waiting.answer.is_closed());
            if !batch.is_empty() {
                self.try_batch(&mut batch).await;
            }
        }
        self.close().await
    }

    async fn close(mut self) -> Result<(), AccountsDatabaseError> {
        let copy_log = self.purpose == ConnectionUse::Changes;
        let session = match self.session.take() {
            Some(session) => session,
            // The last attempt failed. The log may have changes that were acknowledged before.
            None if copy_log && self.database.is_file() => self.database.reopen().await?,
            None => return Ok(()),
        };
        let closed = session.close(copy_log).await;
        closed.map_err(|fault| self.database.cannot_use(fault))
    }

    /// Answers the complete batch, or the operations that have waited too long.
    async fn try_batch(&mut self, batch: &mut Vec<QueuedOperation>) {
        let operations: Vec<_> = batch.iter().map(|one| one.operation.clone()).collect();
        let attempt = timeout(ATTEMPT_TIMEOUT, self.attempt(&operations)).await;
        let fault = match attempt {
            Ok(Ok(answers)) => {
                self.pause = FIRST_PAUSE;
                if self.fault.take().is_some() {
                    tracing::info!(database = %self.database, "the accounts' database works again");
                }
                for (waiting, answer) in batch.drain(..).zip(answers) {
                    // The caller may be gone.
                    let _ = waiting.answer.send(answer);
                }
                return;
            }
            Ok(Err(fault)) => self.database.named(fault),
            Err(_) => {
                let message = format!("no answer within {ATTEMPT_TIMEOUT:?}");
                Fault::new(FaultKind::Unavailable, message)
            }
        };
        // The state of the connection is unknown, so it is replaced.
        self.session = None;
        // A shared connection would run statements of other clients.
        let is_final = fault.kind == FaultKind::Protocol;
        let gives_up = |waiting: &mut QueuedOperation| {
            is_final || waiting.queued_at.elapsed() >= RETRY_TIMEOUT
        };
        for waiting in batch.extract_if(.., gives_up) {
            let _ = waiting.answer.send(Err(refusal(&fault)));
        }
        self.log_fault(fault);
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Logs why an attempt failed, once for consecutive failures with the same reason.
    fn log_fault(&mut self, fault: Fault) {
        if self.fault.as_ref() != Some(&fault) {
            tracing::warn!(database = %self.database, %fault, "the accounts' database failed");
        }
        self.fault = Some(fault);
    }

    async fn attempt(
        &mut self,
        operations: &[AccountOperation],
    ) -> Result<Vec<OperationResult>, Fault> {
        let session = match &mut self.session {
            Some(session) => session,
            None => self.session.insert(self.database.connect().await?),
        };
        session.carry_out(operations).await
    }
}

/// The error for a caller whose operation was not carried out in time.
fn refusal(fault: &Fault) -> AccountsError {
    match fault.kind {
        // The database is there, and the caller is told who keeps it.
        _ if fault.is_locked() => AccountsError::Broken {
            sentence: fault.full_message(),
        },
        FaultKind::Unavailable | FaultKind::Closed => AccountsError::Unavailable,
        _ => AccountsError::Broken {
            sentence: fault.full_message(),
        },
    }
}
