//! A task that this name server has claimed.

use pyroxene_store::{AttemptKey, ClaimedTask, Fence};
use tokio::time::Instant;

/// The object, and the worker, if only one worker may run the tasks.
pub(super) type TaskQueueKey = (String, Option<String>);

/// A task that this name server has claimed.
#[derive(Debug, PartialEq)]
pub(super) struct OwnedTask {
    pub(super) task: ClaimedTask,
    pub(super) queue: TaskQueueKey,
    /// When it was claimed, by this process's clock.
    pub(super) claimed_at: Instant,
}

impl OwnedTask {
    /// Its attempt, under the lease with this fence.
    pub(super) fn running(&self, owner: Fence) -> AttemptKey {
        AttemptKey {
            id: self.task.id,
            attempt: self.task.attempt,
            owner,
        }
    }
}
