//! What a running method can know beyond its parameters: who calls, and whether the caller has
//! given up.
//!
//! tarpc hands a method its deadline and trace; the rest is found here, in a thread-local that is
//! set whenever the method's future is polled, and on the compute pool while its work runs.

use std::{cell::RefCell, future::Future, pin::Pin, sync::Arc, task::Poll};
use tokio_util::sync::CancellationToken;

/// The surroundings of one call.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Who calls.
    pub caller: Arc<Caller>,
    /// For a method on a compute pool: cancelled once nobody waits for the answer any more. A
    /// method on the runtime needs no token: its future is dropped.
    pub cancellation: CancellationToken,
}

/// The other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The address it called from, as text; empty for a call within the process.
    pub address: String,
    /// What it calls itself in its hello.
    pub name: String,
}

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// The scope of the call that runs on this thread; an empty one outside of a call.
pub fn current() -> Scope {
    CURRENT.with(|current| current.borrow().clone().unwrap_or_default())
}

/// The token that is cancelled once nobody waits for the answer of the call that runs on this thread
/// of a compute pool. Long loops ask it now and then, and may hand clones of it to other threads.
pub fn cancellation() -> CancellationToken {
    current().cancellation
}

impl Scope {
    /// Runs `work` in this scope, on this thread.
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let _restore = Restore(CURRENT.with(|current| current.replace(Some(self.clone()))));
        work()
    }

    /// Polls `future` in this scope, whichever threads poll it.
    pub fn wrap<F: Future + Unpin>(self, future: F) -> Scoped<F> {
        Scoped {
            scope: self,
            future,
        }
    }
}

/// Puts the previous scope back, also when the work panics.
struct Restore(Option<Scope>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.with(|current| current.replace(self.0.take()));
    }
}

/// A future that is polled within a scope.
#[derive(Debug)]
pub struct Scoped<F> {
    scope: Scope,
    future: F,
}

impl<F: Future + Unpin> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let future = Pin::new(&mut this.future);
        this.scope.enter(|| future.poll(context))
    }
}
