//! A shared budget of memory, in bytes. A user of memory takes a permit for a number of bytes, and gives them
//! back by dropping the permit.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::sync::oneshot;

/// A budget of bytes. Clones share it.
#[derive(Clone)]
pub struct ByteBudget(Arc<ByteBudgetInner>);

struct ByteBudgetInner {
    limit: usize,
    state: Mutex<ByteBudgetState>,
    answer_budget: OnceLock<ByteBudget>,
}

#[derive(Default)]
struct ByteBudgetState {
    used: usize,
    /// The waiters in order of arrival, each with the number of bytes that it wants.
    waiting: VecDeque<(usize, oneshot::Sender<BytePermit>)>,
}

impl fmt::Debug for ByteBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteBudget({} of {})", self.used(), self.0.limit)
    }
}

/// Permission to use a number of bytes of a budget. Dropping it gives the bytes back.
#[derive(Debug)]
pub struct BytePermit {
    budget: ByteBudget,
    bytes: usize,
}

impl ByteBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(ByteBudgetInner {
            limit,
            state: Mutex::default(),
            answer_budget: OnceLock::new(),
        }))
    }

    /// A second budget of the same size for answers, so that answers cannot exhaust the memory for requests.
    pub fn answer_budget(&self) -> &Self {
        self.0.answer_budget.get_or_init(|| Self::new(self.0.limit))
    }

    /// The size of the budget, in bytes.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// How many bytes are in use.
    pub fn used(&self) -> usize {
        self.state().used
    }

    /// Whether there are waiters.
    pub fn has_waiters(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, ByteBudgetState> {
        // Plain data: valid even if a holder of the lock panicked.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(&self, bytes: usize) -> BytePermit {
        BytePermit {
            budget: self.clone(),
            bytes,
        }
    }

    /// Takes `bytes` if they are free and there are no waiters. A request for more than the whole budget is
    /// granted only while nothing is in use.
    pub fn try_take(&self, bytes: usize) -> Option<BytePermit> {
        let mut state = self.state();
        if !state.waiting.is_empty() || !self.0.fits(state.used, bytes) {
            return None;
        }
        state.used = state.used.saturating_add(bytes);
        Some(self.permit(bytes))
    }

    /// Takes `bytes` as soon as they are free, after earlier waiters. Dropping the future gives up.
    pub fn take(&self, bytes: usize) -> impl Future<Output = BytePermit> + Send + use<> {
        let taken = self.try_take(bytes).ok_or_else(|| self.enqueue(bytes));
        let budget = self.clone();
        async move {
            match taken {
                Ok(permit) => permit,
                // The budget drops a sender only after sending, so an error is not expected.
                Err(mut waiting) => match (&mut waiting.receiver).await {
                    Ok(permit) => permit,
                    Err(_) => budget.take_over_limit(bytes),
                },
            }
        }
    }

    fn enqueue(&self, bytes: usize) -> BudgetWaiter {
        let (sender, receiver) = oneshot::channel();
        self.state().waiting.push_back((bytes, sender));
        // Bytes that were given back since the first attempt may be enough.
        self.release(0);
        BudgetWaiter {
            receiver,
            budget: self.clone(),
        }
    }

    /// Takes a few bytes before all waiters, up to a quarter beyond the limit: waiters for large amounts must
    /// not delay small requests.
    pub fn try_take_small(&self, bytes: usize) -> Option<BytePermit> {
        let mut state = self.state();
        let limit = self.0.limit.saturating_add(self.0.limit / 4);
        if state.used > 0 && state.used.saturating_add(bytes) > limit {
            return None;
        }
        state.used = state.used.saturating_add(bytes);
        Some(self.permit(bytes))
    }

    /// Takes `bytes` even if they are not free.
    pub fn take_over_limit(&self, bytes: usize) -> BytePermit {
        let mut state = self.state();
        state.used = state.used.saturating_add(bytes);
        self.permit(bytes)
    }

    /// Gives bytes back, and grants free bytes to waiters.
    fn release(&self, bytes: usize) {
        let mut granted = Vec::new();
        {
            let mut state = self.state();
            state.used = state.used.saturating_sub(bytes);
            while let Some((wanted, sender)) = state.waiting.front() {
                let (wanted, has_given_up) = (*wanted, sender.is_closed());
                if !has_given_up && !self.0.fits(state.used, wanted) {
                    break;
                }
                let Some((_, sender)) = state.waiting.pop_front() else {
                    break;
                };
                if !has_given_up {
                    state.used = state.used.saturating_add(wanted);
                    granted.push((sender, self.permit(wanted)));
                }
            }
        }
        for (sender, permit) in granted {
            // A waiter that has given up meanwhile drops the permit, which gives the bytes back.
            let _ = sender.send(permit);
        }
    }
}

/// A waiter. If it gives up, the waiters behind it are checked again.
struct BudgetWaiter {
    receiver: oneshot::Receiver<BytePermit>,
    budget: ByteBudget,
}

impl Drop for BudgetWaiter {
    fn drop(&mut self) {
        // A permit that was sent but not received is dropped with the receiver.
        self.receiver.close();
        self.budget.release(0);
    }
}

impl ByteBudgetInner {
    fn fits(&self, used: usize, more: usize) -> bool {
        used == 0 || used.saturating_add(more) <= self.limit
    }
}

impl BytePermit {
    /// The number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves `bytes` of this permit into a new one, or all that are left.
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.permit(bytes)
    }

    /// Adds the bytes of another permit of the same budget to this one.
    pub fn join(&mut self, mut other: Self) {
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
    }

    /// Changes the number of bytes, even if more are needed and not free.
    pub fn resize(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if let Some(more) = bytes.checked_sub(before) {
            let mut state = self.budget.state();
            state.used = state.used.saturating_add(more);
        } else {
            self.budget.release(before.saturating_sub(bytes));
        }
    }
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn what_is_given_back_goes_to_those_who_wait_in_their_order() {
        let budget = ByteBudget::new(10);
        let first = budget.try_take(6).unwrap();
        let mut large = Box::pin(budget.take(8));
        let mut small = Box::pin(budget.take(2));
        assert!(large.as_mut().now_or_never().is_none());
        assert!(small.as_mut().now_or_never().is_none(), "it came later");
        assert!(budget.has_waiters() && budget.try_take(1).is_none());
        drop(first);
        let large = large.as_mut().now_or_never().unwrap();
        let small = small.as_mut().now_or_never().unwrap();
        assert_eq!((large.bytes(), small.bytes(), budget.used()), (8, 2, 10));
        drop((large, small));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn who_gives_up_takes_nothing_and_holds_nobody_up() {
        let budget = ByteBudget::new(10);
        let first = budget.try_take(6).unwrap();
        let large = budget.take(10);
        let small = budget.take(4);
        drop(large);
        assert_eq!(small.now_or_never().unwrap().bytes(), 4);
        drop(first);
        assert!(!budget.has_waiters());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn more_than_there_is_goes_through_alone() {
        let budget = ByteBudget::new(10);
        let huge = budget.try_take(50).unwrap();
        assert!(budget.try_take(1).is_none());
        drop(huge);
        assert!(budget.try_take(10).is_some());
    }

    #[test]
    fn a_little_is_had_before_those_who_want_much() {
        let budget = ByteBudget::new(100);
        let most = budget.try_take(90).unwrap();
        let _much = budget.take(50);
        let little = budget.try_take_small(30).unwrap();
        assert!(
            budget.try_take_small(10).is_none(),
            "a quarter is taken too"
        );
        drop((most, little));
    }

    #[test]
    fn what_cannot_be_helped_is_counted() {
        let budget = ByteBudget::new(10);
        let mut permit = budget.take_over_limit(8);
        permit.resize(20);
        assert_eq!(budget.used(), 20);
        let mut waiting = Box::pin(budget.take(4));
        assert!(waiting.as_mut().now_or_never().is_none());
        permit.resize(6);
        assert_eq!(waiting.as_mut().now_or_never().unwrap().bytes(), 4);
        assert_eq!(budget.used(), 6);
        let part = permit.split(4);
        assert_eq!((part.bytes(), permit.bytes(), budget.used()), (4, 2, 6));
        drop(permit);
        assert_eq!(budget.used(), 4);
    }
}
