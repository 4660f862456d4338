//! One connection to the database, and the operations that wait for it.
//!
//! The operations that arrive while one transaction commits are carried out in the next: a commit waits for
//! the disk, which takes as long for a hundred operations as for one.
//!
//! Operations are safe to repeat, so a lost connection does not fail them: they are carried out again over
//! the next connection, and the request id shows which ones the database has already carried out.

use super::{
    database::{AccountsDatabase, AccountsSession},
    ledger::{AccountOperation, OperationResult},
};
use crate::interfaces::accounts::AccountsError;
use pyroxene_store::database::{Fault, FaultKind};
use std::time::Duration;
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
    queue: mpsc::Sender<QueuedOperation>,
    stop: CancellationToken,
    /// The task that serves the queue.
    serving: TaskTracker,
}

#[derive(Debug)]
struct QueuedOperation {
    operation: AccountOperation,
    answer: oneshot::Sender<OperationResult>,
    queued_at: Instant,
}

impl BatchWriter {
    /// Carries out operations over `session`, and over new connections to `database` after it is lost.
    pub(super) fn start(database: AccountsDatabase, session: AccountsSession) -> Self {
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        let connection = AccountsConnection {
            database,
            session: Some(session),
            pause: FIRST_PAUSE,
            fault: None,
        };
        let lane = Self {
            queue: sender,
            stop: CancellationToken::new(),
            serving: TaskTracker::new(),
        };
        let stop = lane.stop.clone();
        lane.serving.spawn(connection.serve(queue, stop));
        lane.serving.close();
        lane
    }

    /// Carries out the waiting operations, and closes the connection. Later operations of any clone are
    /// unavailable.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.serving.wait().await;
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
    session: Option<AccountsSession>,
    /// The pause after the next failure.
    pause: Duration,
    /// Why the last attempt failed, if it did.
    fault: Option<Fault>,
}

impl AccountsConnection {
    async fn serve(mut self, mut queue: mpsc::Receiver<QueuedOperation>, stop: CancellationToken) {
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
        if let Some(session) = self.session {
            session.close().await;
        }
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
        FaultKind::Unavailable | FaultKind::Closed => AccountsError::Unavailable,
        _ => AccountsError::Broken {
            sentence: fault.full_message(),
        },
    }
}
