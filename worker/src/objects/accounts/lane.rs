//! One connection to the database, and the operations that wait for it.
//!
//! What gathers while one transaction commits is carried out in the next: a commit has to reach the
//! disk, which takes as long for a hundred operations as for one.
//!
//! Operations are safe to repeat, so that a lost connection is no reason to fail one: it is carried
//! out once more over the next connection, and one that the database has carried out already tells
//! so by its request id.

use super::{
    book::{Answer, Operation},
    database::{AccountsDatabase, Session, reason},
};
use pyroxene_common::interfaces::accounts::AccountsError;
use std::time::Duration;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};

/// How many operations may wait.
const MAX_WAITING: usize = 4096;

/// How many operations one transaction carries out.
const MAX_BATCH: usize = 512;

/// How long a transaction may take, with the connection that it may need.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// An operation that is older than this is not tried again.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the first attempt after a failure waits; further ones wait twice as long each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Where operations queue up. The connection closes when it is dropped.
#[derive(Clone, Debug)]
pub(super) struct Lane(mpsc::Sender<Waiting>);

#[derive(Debug)]
struct Waiting {
    operation: Operation,
    answer: oneshot::Sender<Answer>,
    since: Instant,
}

impl Lane {
    /// Carries out operations over `session`, and over new ones to `database` when that is lost.
    pub(super) fn start(database: AccountsDatabase, session: Session) -> Self {
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        let connection = Connection {
            database,
            session: Some(session),
            pause: FIRST_PAUSE,
        };
        tokio::spawn(connection.serve(queue));
        Self(sender)
    }

    pub(super) async fn carry_out(&self, operation: Operation) -> Answer {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            operation,
            answer,
            since: Instant::now(),
        };
        self.0.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AccountsError::Overloaded {
                waiting: MAX_WAITING as u64,
            },
            mpsc::error::TrySendError::Closed(_) => AccountsError::Unavailable,
        })?;
        answered.await.unwrap_or(Err(AccountsError::Unavailable))
    }
}

struct Connection {
    database: AccountsDatabase,
    session: Option<Session>,
    /// How long to wait after the next failure.
    pause: Duration,
}

impl Connection {
    async fn serve(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::new();
        loop {
            if batch.is_empty() && queue.recv_many(&mut batch, MAX_BATCH).await == 0 {
                break;
            }
            while batch.len() < MAX_BATCH
                && let Ok(waiting) = queue.try_recv()
            {
                batch.push(waiting);
            }
            batch.retain(|waiting: &Waiting| !waiting.answer.is_closed());
            if !batch.is_empty() {
                self.try_batch(&mut batch).await;
            }
        }
        if let Some(session) = self.session {
            session.close().await;
        }
    }

    /// Answers the whole batch, or those operations that have waited too long.
    async fn try_batch(&mut self, batch: &mut Vec<Waiting>) {
        let operations: Vec<_> = batch.iter().map(|one| one.operation.clone()).collect();
        let attempt = timeout(ATTEMPT_TIMEOUT, self.attempt(&operations)).await;
        let failure = match attempt {
            Ok(Ok(answers)) => {
                self.pause = FIRST_PAUSE;
                for (waiting, answer) in batch.drain(..).zip(answers) {
                    // The caller may have gone.
                    let _ = waiting.answer.send(answer);
                }
                return;
            }
            Ok(Err(error)) => reason(&error),
            Err(_) => format!("no answer within {ATTEMPT_TIMEOUT:?}"),
        };
        tracing::warn!(database = %self.database, failure, "the accounts' database failed");
        // Whatever state it is in, a new one is in order.
        self.session = None;
        for waiting in batch.extract_if(.., |waiting| waiting.since.elapsed() >= PATIENCE) {
            let _ = waiting.answer.send(Err(AccountsError::Unavailable));
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    async fn attempt(&mut self, operations: &[Operation]) -> Result<Vec<Answer>, sqlx::Error> {
        let session = match &mut self.session {
            Some(session) => session,
            None => self.session.insert(self.database.connect().await?),
        };
        session.carry_out(operations).await
    }
}
