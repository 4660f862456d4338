//! The waiting answers of a connection, as a method's [`AnswerQueue`](crate::scope::AnswerQueue) reaches them.

use super::calls::ServerCalls;
use crate::{byte_budget::ByteBudget, scope::AnswerBuffer};
use futures::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

impl AnswerBuffer for ServerCalls {
    fn wait_for_room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.room())
    }

    fn wait_for_turn(&self) -> BoxFuture<'_, Option<OwnedSemaphorePermit>> {
        Box::pin(self.turn())
    }

    fn memory(&self) -> &ByteBudget {
        self.memory()
    }
}
