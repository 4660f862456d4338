//! The calls in flight on one connection: their ids, deadlines and wakers.

use crate::{channel::error::AttemptError, message::Progress};
use slab::Slab;
use std::task::{Context, Poll, Waker};
use tokio::{sync::watch, time::Instant};

/// Receives the latest progress report of a call. It is empty until the method has reported something, and
/// may miss the last report before the answer.
pub type ProgressListener = watch::Sender<Option<Progress>>;

/// The low bits of a call's id are its index in the table. The other bits are a sequence number, so that a
/// late answer never matches a later call with the same index.
const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

#[derive(Debug)]
pub(super) struct ClientCalls<R> {
    table: Slab<ClientCall<R>>,
    sequence: u64,
    /// A lower bound of all deadlines. It may be earlier than the deadline of every remaining call.
    earliest_deadline: Option<Instant>,
    /// Calls that have no answer yet.
    waiting: usize,
}

#[derive(Debug)]
struct ClientCall<R> {
    id: u64,
    deadline: Instant,
    /// The stream position after the call's last byte.
    end: u64,
    stage: ClientCallState<R>,
    /// Receives progress reports, if the caller wants them.
    listener: Option<ProgressListener>,
}

#[derive(Debug)]
enum ClientCallState<R> {
    Waiting(Waker),
    Done(Result<R, AttemptError>),
}

impl<R> ClientCalls<R> {
    pub(super) fn new() -> Self {
        Self {
            table: Slab::new(),
            sequence: 0,
            earliest_deadline: None,
            waiting: 0,
        }
    }

    /// How many calls have no answer yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The time before which no call's deadline passes.
    pub(super) fn earliest_deadline(&self) -> Option<Instant> {
        self.earliest_deadline
    }

    /// Adds a call and returns its id.
    pub(super) fn insert(&mut self, deadline: Instant, waker: Waker) -> u64 {
        self.sequence += 1;
        let entry = self.table.vacant_entry();
        let id = (self.sequence << INDEX_BITS) | (entry.key() as u64 & INDEX_MASK);
        entry.insert(ClientCall {
            id,
            deadline,
            end: u64::MAX,
            stage: ClientCallState::Waiting(waker),
            listener: None,
        });
        self.waiting += 1;
        let earliest = self.earliest_deadline.get_or_insert(deadline);
        *earliest = (*earliest).min(deadline);
        id
    }

    fn get(&mut self, id: u64) -> Option<&mut ClientCall<R>> {
        let call = self.table.get_mut((id & INDEX_MASK) as usize)?;
        (call.id == id).then_some(call)
    }

    /// Records the stream position after a call's last byte.
    pub(super) fn set_end(&mut self, id: u64, end: u64) {
        if let Some(call) = self.get(id) {
            call.end = end;
        }
    }

    /// Records the listener for a call's progress.
    pub(super) fn listen(&mut self, id: u64, listener: ProgressListener) {
        if let Some(call) = self.get(id) {
            call.listener = Some(listener);
        }
    }

    /// The listener for a call's progress, if there is one and the call has no answer yet.
    pub(super) fn listener(&mut self, id: u64) -> Option<ProgressListener> {
        let call = self.get(id)?;
        match call.stage {
            ClientCallState::Waiting(_) => call.listener.clone(),
            ClientCallState::Done(_) => None,
        }
    }

    /// Stores a call's answer and returns the waker to wake. An answer that no caller waits for is dropped.
    pub(super) fn complete(&mut self, id: u64, answer: Result<R, AttemptError>) -> Option<Waker> {
        let call = self.get(id)?;
        if !matches!(call.stage, ClientCallState::Waiting(_)) {
            return None;
        }
        let ClientCallState::Waiting(waker) =
            std::mem::replace(&mut call.stage, ClientCallState::Done(answer))
        else {
            return None;
        };
        self.waiting -= 1;
        Some(waker)
    }

    /// Takes a call's answer, or registers a waker for it.
    pub(super) fn poll_take(
        &mut self,
        id: u64,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<R, AttemptError>>> {
        match self.get(id) {
            None => return Poll::Ready(None),
            Some(ClientCall {
                stage: ClientCallState::Waiting(waker),
                ..
            }) => {
                waker.clone_from(context.waker());
                return Poll::Pending;
            }
            Some(_) => {}
        }
        let call = self.table.remove((id & INDEX_MASK) as usize);
        Poll::Ready(match call.stage {
            ClientCallState::Done(answer) => Some(answer),
            ClientCallState::Waiting(_) => None,
        })
    }

    /// Removes a call. Returns the stream position after its last byte if it had no answer yet.
    pub(super) fn forget(&mut self, id: u64) -> Option<u64> {
        self.get(id)?;
        let call = self.table.remove((id & INDEX_MASK) as usize);
        matches!(call.stage, ClientCallState::Waiting(_)).then(|| {
            self.waiting -= 1;
            call.end
        })
    }

    /// Ends the calls whose deadline has passed. Returns the wakers to wake, and the ids of the calls that
    /// the peer should cancel. Each call counts as sent, because queued bytes leave later.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<Waker>, Vec<u64>) {
        let mut earliest = None::<Instant>;
        let mut overdue = Vec::new();
        for (_, call) in &self.table {
            if !matches!(call.stage, ClientCallState::Waiting(_)) {
                continue;
            }
            if call.deadline <= now {
                overdue.push(call.id);
            } else {
                earliest = Some(earliest.map_or(call.deadline, |e| e.min(call.deadline)));
            }
        }
        self.earliest_deadline = earliest;
        let wakers = overdue
            .iter()
            .filter_map(|&id| self.complete(id, Err(AttemptError::DeadlineExceeded { sent: true })))
            .collect();
        (wakers, overdue)
    }

    /// Ends every call that has no answer. `error` gets the stream position after the call's last byte.
    pub(super) fn fail_all(&mut self, error: impl Fn(u64) -> AttemptError) -> Vec<Waker> {
        let unanswered: Vec<(u64, u64)> = self
            .table
            .iter()
            .filter(|(_, call)| matches!(call.stage, ClientCallState::Waiting(_)))
            .map(|(_, call)| (call.id, call.end))
            .collect();
        unanswered
            .into_iter()
            .filter_map(|(id, end)| self.complete(id, Err(error(end))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn take<R>(calls: &mut ClientCalls<R>, id: u64) -> Poll<Option<Result<R, AttemptError>>> {
        calls.poll_take(id, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_late_answer_does_not_reach_the_next_call_in_its_place() {
        let mut calls = ClientCalls::new();
        let deadline = Instant::now();
        let first = calls.insert(deadline, Waker::noop().clone());
        assert_eq!(calls.forget(first), Some(u64::MAX));
        let second = calls.insert(deadline, Waker::noop().clone());
        assert_eq!(first & INDEX_MASK, second & INDEX_MASK);
        assert!(calls.complete(first, Ok("late")).is_none());
        assert!(take(&mut calls, second).is_pending());
        assert!(calls.complete(second, Ok("mine")).is_some());
        assert!(matches!(
            take(&mut calls, second),
            Poll::Ready(Some(Ok("mine")))
        ));
        assert_eq!(calls.waiting(), 0);
    }

    #[test]
    fn only_overdue_calls_expire_and_they_count_as_sent() {
        let mut calls = ClientCalls::<()>::new();
        let now = Instant::now();
        let due = calls.insert(now, Waker::noop().clone());
        let later = calls.insert(now + Duration::from_secs(1), Waker::noop().clone());
        let (wakers, cancelled) = calls.expire(now);
        assert_eq!((wakers.len(), cancelled), (1, vec![due]));
        assert!(matches!(
            take(&mut calls, due),
            Poll::Ready(Some(Err(AttemptError::DeadlineExceeded { sent: true })))
        ));
        assert!(take(&mut calls, later).is_pending());
        assert_eq!(
            calls.earliest_deadline(),
            Some(now + Duration::from_secs(1))
        );
    }
}
