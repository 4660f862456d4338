//! The calls in flight on one connection: which await an answer, until when, and who waits.

use super::{client::Listener, error::AttemptError};
use slab::Slab;
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

/// The low bits of a call's id are its place in the table, the others a running number, so that a
/// late answer never meets a later call in the same place.
const PLACE_BITS: u32 = 24;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

#[derive(Debug)]
pub(super) struct Calls<R> {
    table: Slab<Call<R>>,
    sequence: u64,
    /// No call's deadline is earlier. It may lie in the past of the calls that remain.
    earliest_deadline: Option<Instant>,
    /// Calls that have no answer yet.
    waiting: usize,
}

#[derive(Debug)]
struct Call<R> {
    id: u64,
    deadline: Instant,
    /// The position in the stream after its last byte.
    end: u64,
    stage: Stage<R>,
    /// Who wants to hear how far it is.
    listener: Option<Listener>,
}

#[derive(Debug)]
enum Stage<R> {
    Waiting(Waker),
    Done(Result<R, AttemptError>),
}

impl<R> Calls<R> {
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

    /// A call that ends with a deadline may be due then; not before.
    pub(super) fn earliest_deadline(&self) -> Option<Instant> {
        self.earliest_deadline
    }

    /// Makes a place for a call and returns its id.
    pub(super) fn insert(&mut self, deadline: Instant, waker: Waker) -> u64 {
        self.sequence += 1;
        let entry = self.table.vacant_entry();
        let id = (self.sequence << PLACE_BITS) | (entry.key() as u64 & PLACE_MASK);
        entry.insert(Call {
            id,
            deadline,
            end: u64::MAX,
            stage: Stage::Waiting(waker),
            listener: None,
        });
        self.waiting += 1;
        let earliest = self.earliest_deadline.get_or_insert(deadline);
        *earliest = (*earliest).min(deadline);
        id
    }

    fn get(&mut self, id: u64) -> Option<&mut Call<R>> {
        let call = self.table.get_mut((id & PLACE_MASK) as usize)?;
        (call.id == id).then_some(call)
    }

    /// Notes where in the stream a call's bytes end.
    pub(super) fn set_end(&mut self, id: u64, end: u64) {
        if let Some(call) = self.get(id) {
            call.end = end;
        }
    }

    /// Notes who wants to hear how far a call is.
    pub(super) fn listen(&mut self, id: u64, listener: Listener) {
        if let Some(call) = self.get(id) {
            call.listener = Some(listener);
        }
    }

    /// Who wants to hear how far a call is, if somebody does and it has no answer yet.
    pub(super) fn listener(&mut self, id: u64) -> Option<Listener> {
        let call = self.get(id)?;
        match call.stage {
            Stage::Waiting(_) => call.listener.clone(),
            Stage::Done(_) => None,
        }
    }

    /// Hands a call its answer and returns whom to wake. An answer that nobody waits for is
    /// dropped.
    pub(super) fn complete(&mut self, id: u64, answer: Result<R, AttemptError>) -> Option<Waker> {
        let call = self.get(id)?;
        if !matches!(call.stage, Stage::Waiting(_)) {
            return None;
        }
        let Stage::Waiting(waker) = std::mem::replace(&mut call.stage, Stage::Done(answer)) else {
            return None;
        };
        self.waiting -= 1;
        Some(waker)
    }

    /// Takes a call's answer, or leaves a waker for it.
    pub(super) fn poll_take(
        &mut self,
        id: u64,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<R, AttemptError>>> {
        match self.get(id) {
            None => return Poll::Ready(None),
            Some(Call {
                stage: Stage::Waiting(waker),
                ..
            }) => {
                waker.clone_from(context.waker());
                return Poll::Pending;
            }
            Some(_) => {}
        }
        let call = self.table.remove((id & PLACE_MASK) as usize);
        Poll::Ready(match call.stage {
            Stage::Done(answer) => Some(answer),
            Stage::Waiting(_) => None,
        })
    }

    /// Forgets a call. Returns the end of its bytes if it had no answer yet.
    pub(super) fn forget(&mut self, id: u64) -> Option<u64> {
        self.get(id)?;
        let call = self.table.remove((id & PLACE_MASK) as usize);
        matches!(call.stage, Stage::Waiting(_)).then(|| {
            self.waiting -= 1;
            call.end
        })
    }

    /// Ends the calls whose deadline has passed. Returns whom to wake, and the ids of the calls
    /// that the peer should stop working on. Each counts as sent: what is still queued leaves later.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<Waker>, Vec<u64>) {
        let mut earliest = None::<Instant>;
        let mut overdue = Vec::new();
        for (_, call) in &self.table {
            if !matches!(call.stage, Stage::Waiting(_)) {
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

    /// Ends every call that has no answer; `error` is told where the call's bytes end.
    pub(super) fn fail_all(&mut self, error: impl Fn(u64) -> AttemptError) -> Vec<Waker> {
        let unanswered: Vec<(u64, u64)> = self
            .table
            .iter()
            .filter(|(_, call)| matches!(call.stage, Stage::Waiting(_)))
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

    fn take<R>(calls: &mut Calls<R>, id: u64) -> Poll<Option<Result<R, AttemptError>>> {
        calls.poll_take(id, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_late_answer_does_not_reach_the_next_call_in_its_place() {
        let mut calls = Calls::new();
        let deadline = Instant::now();
        let first = calls.insert(deadline, Waker::noop().clone());
        assert_eq!(calls.forget(first), Some(u64::MAX));
        let second = calls.insert(deadline, Waker::noop().clone());
        assert_eq!(first & PLACE_MASK, second & PLACE_MASK);
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
        let mut calls = Calls::<()>::new();
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
