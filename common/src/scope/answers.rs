//! The answers that wait on a connection, as a method sees them.

use crate::byte_budget::{ByteBudget, BytePermit};
use futures::future::BoxFuture;
use std::{cell::RefCell, fmt, sync::Arc, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// The longest time that a call waits for the memory of its answer.
pub const ANSWER_MEMORY_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers below this size, in bytes, reserve no memory: they are bounded by the number of calls in flight.
const MIN_COUNTED_ANSWER: usize = 4 * 1024;

/// Answers up to this size, in bytes, get memory before larger ones that wait.
const SMALL_ANSWER: usize = 1024 * 1024;

thread_local! {
    /// Memory that the call being polled on this thread has reserved for its answer, until the end of the
    /// poll.
    static RESERVED: RefCell<Vec<BytePermit>> = const { RefCell::new(Vec::new()) };
}

/// Takes the memory that the call just polled on this thread has reserved.
pub(crate) fn take_reserved() -> Vec<BytePermit> {
    RESERVED.with(|reserved| std::mem::take(&mut *reserved.borrow_mut()))
}

/// There is not enough memory for an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("answers use {used} of {limit} bytes of memory here (--message-memory); ask again later")]
pub struct NoAnswerMemory {
    used: usize,
    limit: usize,
}

/// The side of a connection that holds its waiting answers.
pub(crate) trait AnswerBuffer: Send + Sync {
    /// Waits until the waiting answers are below their limit in bytes.
    fn wait_for_room(&self) -> BoxFuture<'_, ()>;

    /// Waits for the turn to make a large answer, which one call at a time has.
    fn wait_for_turn(&self) -> BoxFuture<'_, Option<OwnedSemaphorePermit>>;

    /// The memory for messages, which all connections share.
    fn memory(&self) -> &ByteBudget;
}

/// The waiting answers of one connection. A call without a connection gets the default value, which always
/// has room.
#[derive(Clone, Default)]
pub struct AnswerQueue(Option<Arc<dyn AnswerBuffer>>);

impl fmt::Debug for AnswerQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

/// The turn of a call to make a large answer. It ends when this is dropped.
#[derive(Debug)]
pub struct AnswerTurn {
    _turn: Option<OwnedSemaphorePermit>,
}

impl AnswerQueue {
    /// The waiting answers that `buffer` holds.
    pub(crate) fn new<B: AnswerBuffer + 'static>(buffer: &Arc<B>) -> Self {
        let buffer: Arc<dyn AnswerBuffer> = Arc::<B>::clone(buffer);
        Self(Some(buffer))
    }

    /// Waits until the answers that the peer has not read yet are below their limit in bytes. A method waits
    /// here before it does expensive work or makes a large answer. So a peer that does not read delays only
    /// its own calls.
    pub async fn wait_for_room(&self) {
        if let Some(buffer) = &self.0 {
            buffer.wait_for_room().await;
        }
    }

    /// As [`wait_for_room`](Self::wait_for_room), but only one call of the connection at a time gets past it. The call keeps
    /// its turn until it answers.
    pub async fn wait_for_turn(&self) -> AnswerTurn {
        let Some(buffer) = &self.0 else {
            return AnswerTurn { _turn: None };
        };
        let turn = buffer.wait_for_turn().await;
        buffer.wait_for_room().await;
        AnswerTurn { _turn: turn }
    }

    /// Reserves memory for an answer of `bytes` before the answer is made. All connections of a process share
    /// this memory. The call keeps it until its answer is written or no longer wanted. Only the future of the
    /// call itself may call this, not a task or thread that it starts.
    ///
    /// # Errors
    ///
    /// `NoAnswerMemory` if the memory is not free within `at_most` and [`ANSWER_MEMORY_TIMEOUT`].
    pub async fn reserve(&self, bytes: usize, at_most: Duration) -> Result<(), NoAnswerMemory> {
        let Some(buffer) = self.0.as_ref().filter(|_| bytes >= MIN_COUNTED_ANSWER) else {
            return Ok(());
        };
        let budget = buffer.memory().answer_budget();
        let little = (bytes <= SMALL_ANSWER).then(|| budget.try_take_small(bytes));
        let permit = match little.flatten() {
            Some(permit) => permit,
            None => match timeout(at_most.min(ANSWER_MEMORY_TIMEOUT), budget.take(bytes)).await {
                Ok(permit) => permit,
                Err(_) => {
                    return Err(NoAnswerMemory {
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
