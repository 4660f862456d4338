//! What a method can know of the answers that wait on its connection.

use super::server_calls::ServerCalls;
use std::{fmt, sync::Arc};
use tokio::sync::OwnedSemaphorePermit;

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
}
