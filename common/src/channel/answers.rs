//! What a method can know of the answers that wait on its connection.

use super::server_calls::ServerCalls;
use crate::byte_budget::BytePermit;
use std::{cell::RefCell, fmt, sync::Arc, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// How long a call waits for the memory of its answer at most.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// Smaller answers take no memory of their own: they are bounded by how many calls there may be.
const COUNTED: usize = 4 * 1024;

/// Up to so many bytes an answer goes before those that wait for more.
const LITTLE: usize = 1024 * 1024;

thread_local! {
    /// Memory that the call which is being polled on this thread has taken for its answer, until the
    /// poll is over.
    static RESERVED: RefCell<Vec<BytePermit>> = const { RefCell::new(Vec::new()) };
}

/// Takes over what the call that was just polled on this thread has reserved.
pub(super) fn take_reserved() -> Vec<BytePermit> {
    RESERVED.with(|reserved| std::mem::take(&mut *reserved.borrow_mut()))
}

/// There is no room for an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "answers take {used} bytes of memory here, of {limit} that they may (--message-memory); ask again later"
)]
pub struct NoRoom {
    used: usize,
    limit: usize,
}

/// The answers of one connection. A call without a connection finds the default one, which always has
/// room.
#[derive(Clone, Default)]
pub struct Answers(Option<Arc<ServerCalls>>);

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

/// The turn of a call that may make a large answer, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _turn: Option<OwnedSemaphorePermit>,
}

impl Answers {
    pub(super) fn new(calls: &Arc<ServerCalls>) -> Self {
        Self(Some(Arc::clone(calls)))
    }

    /// Waits until fewer bytes of answers wait for the peer to read them than may. What costs much, or
    /// makes a large answer, begins after this: a peer that does not read holds back its own calls.
    pub async fn room(&self) {
        if let Some(calls) = &self.0 {
            calls.room().await;
        }
    }

    /// As [`room`](Self::room), for one call of the connection at a time: it has its turn until it
    /// answers.
    pub async fn turn(&self) -> Turn {
        let Some(calls) = &self.0 else {
            return Turn { _turn: None };
        };
        let turn = calls.turn().await;
        calls.room().await;
        Turn { _turn: turn }
    }

    /// Takes memory for an answer of so many bytes, before they are here. All connections of a process
    /// share it. The call keeps it until its answer is written, or until nobody wants it any more. Only
    /// the future of the call itself may ask, and no task or thread that it starts.
    ///
    /// # Errors
    ///
    /// `NoRoom` if there is none within `at_most` and [`ANSWER_PATIENCE`].
    pub async fn reserve(&self, bytes: usize, at_most: Duration) -> Result<(), NoRoom> {
        let Some(calls) = self.0.as_ref().filter(|_| bytes >= COUNTED) else {
            return Ok(());
        };
        let budget = calls.memory().answers();
        let little = (bytes <= LITTLE).then(|| budget.try_take_small(bytes));
        let permit = match little.flatten() {
            Some(permit) => permit,
            None => match timeout(at_most.min(ANSWER_PATIENCE), budget.take(bytes)).await {
                Ok(permit) => permit,
                Err(_) => {
                    return Err(NoRoom {
                        used: budget.used(),
                        limit: budget.limit(),
                    });
                }
            },
        };
        RESERVED.with(|reserved| reserved.borrow_mut().push(permit));
        Ok(())
    }
}
