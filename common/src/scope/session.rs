//! The object session that a call belongs to, and the state that its object keeps for it.
//!
//! A session is a client's own copy of an object at one worker. The state is made at the session's first
//! call, and dropped when the session ends and its last call is over.

use super::CURRENT;
use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

type State = Arc<OnceLock<Box<dyn Any + Send + Sync>>>;

/// A session at its worker.
pub(crate) struct ObjectSession {
    /// `None` once the session has ended. It is taken out then, in case the state itself keeps the session.
    state: Mutex<Option<State>>,
    began: Instant,
    /// How many calls use it now.
    calls: AtomicUsize,
    /// When the last call ended, in microseconds from `began`.
    last_use: AtomicU64,
    /// Counts against the limit of its user.
    _counted: Box<dyn Any + Send + Sync>,
}

/// The session of a call. While it exists, the session is in use.
#[derive(Debug)]
pub struct CallSession(Arc<ObjectSession>);

/// The session of a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct SessionEnded;

impl fmt::Debug for ObjectSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectSession")
    }
}

impl ObjectSession {
    /// A new session without state. `counted` is dropped with it.
    pub(crate) fn new(now: Instant, counted: impl Any + Send + Sync) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(Some(State::default())),
            began: now,
            calls: AtomicUsize::new(0),
            last_use: AtomicU64::new(0),
            _counted: Box::new(counted),
        })
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        // Plain data: valid even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    /// Begins a call.
    pub(crate) fn begin_call(self: &Arc<Self>) -> Arc<CallSession> {
        self.calls.fetch_add(1, Ordering::AcqRel);
        Arc::new(CallSession(Arc::clone(self)))
    }

    /// Since when no call has used it; `None` while one does.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        if self.calls.load(Ordering::Acquire) > 0 {
            return None;
        }
        let last = self.last_use.load(Ordering::Acquire);
        Some(self.began + Duration::from_micros(last))
    }

    /// Ends the session, and drops its state unless a call still runs with it.
    pub(crate) fn end(&self) {
        let state = self.state().take();
        // The state's own code must not end the connection.
        if catch_unwind(AssertUnwindSafe(|| drop(state))).is_err() {
            tracing::warn!("the state of a session panicked when it was dropped");
        }
    }
}

impl Drop for CallSession {
    fn drop(&mut self) {
        let now = self.0.micros(Instant::now());
        self.0.last_use.fetch_max(now, Ordering::AcqRel);
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The state of the session that the call on this thread belongs to; `make` makes it at the session's first
/// call. A call without a session is a session of one call: it gets a new state.
///
/// ```
/// use pyroxene_common::scope::session_state;
///
/// assert_eq!(session_state(|| 7), Ok(7), "there is no session here");
/// ```
///
/// # Errors
///
/// The session ended before the call began.
pub fn session_state<S>(make: impl FnOnce() -> S) -> Result<S, SessionEnded>
where
    S: Clone + Send + Sync + 'static,
{
    let session = CURRENT.with(|current| {
        let current = current.borrow();
        let session = current.as_ref()?.session.as_ref()?;
        Some(session.0.state().clone())
    });
    let Some(state) = session else {
        return Ok(make());
    };
    let state = state.ok_or(SessionEnded)?;
    let state = state.get_or_init(|| Box::new(make()));
    // One connection carries one object, so the type is always the same.
    state.downcast_ref::<S>().cloned().ok_or(SessionEnded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;
    use tokio::time::advance;

    /// Counts how often it is made and dropped.
    #[derive(Clone)]
    struct Counted(Arc<()>);

    fn scope_of(session: &Arc<ObjectSession>) -> Scope {
        Scope {
            session: Some(session.begin_call()),
            ..Scope::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_state_is_made_once_and_dropped_with_the_session() {
        let probe = Arc::new(());
        let session = ObjectSession::new(Instant::now(), ());
        let make = || Counted(Arc::clone(&probe));
        for _ in 0..2 {
            let state = scope_of(&session).enter(|| session_state(make));
            assert!(Arc::ptr_eq(&state.unwrap().0, &probe));
        }
        assert_eq!(Arc::strong_count(&probe), 2, "one state");
        let running = scope_of(&session);
        let state = running.enter(|| session_state(make)).unwrap();
        session.end();
        assert_eq!(Arc::strong_count(&probe), 2, "a call still runs with it");
        drop(state);
        assert_eq!(Arc::strong_count(&probe), 1);
        let late = running.enter(|| session_state(make));
        assert!(late.is_err(), "it is not made anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_that_keeps_its_own_scope_is_dropped_too() {
        #[derive(Clone)]
        struct Selfish(#[expect(dead_code)] Arc<(Arc<()>, Scope)>);
        let probe = Arc::new(());
        let session = ObjectSession::new(Instant::now(), ());
        let scope = scope_of(&session);
        let kept = (Arc::clone(&probe), scope.clone());
        drop(scope.enter(|| session_state(|| Selfish(Arc::new(kept)))));
        session.end();
        assert_eq!(Arc::strong_count(&probe), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_idle_from_the_end_of_its_last_call() {
        let session = ObjectSession::new(Instant::now(), ());
        assert_eq!(session.idle_since(), Some(Instant::now()));
        let call = session.begin_call();
        advance(Duration::from_secs(5)).await;
        assert_eq!(session.idle_since(), None);
        drop(call);
        assert_eq!(session.idle_since(), Some(Instant::now()));
    }
}
