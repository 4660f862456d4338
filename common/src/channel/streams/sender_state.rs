//! What the connection and the task of a stream share.

use super::{frames::StreamCredit, window::Credit};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

/// What the connection and the task of a stream share.
#[derive(Debug)]
pub(super) struct SenderState(Mutex<SenderInner>);

/// The state within the lock.
#[derive(Debug)]
pub(super) struct SenderInner {
    pub(super) credit: Credit,
    pub(super) is_stopped: bool,
    pub(super) task: Option<Waker>,
}

impl SenderState {
    pub(super) fn new(credit: Credit) -> Arc<Self> {
        Arc::new(Self(Mutex::new(SenderInner {
            credit,
            is_stopped: false,
            task: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SenderInner> {
        // Plain data: valid even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds credit. Returns whether it is an amount that a reader can mean.
    pub(super) fn add_credit(&self, credit: &StreamCredit) -> bool {
        let (is_possible, task) = {
            let mut state = self.lock();
            (state.credit.add(credit), state.task.take())
        };
        if let Some(task) = task {
            task.wake();
        }
        is_possible
    }

    /// Stops the stream.
    pub(super) fn stop(&self) {
        let task = {
            let mut state = self.lock();
            state.is_stopped = true;
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}
