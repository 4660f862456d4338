//! Futures of methods: the memory in which they are polled on the connection's task, and their panics.

use crate::{
    byte_budget::BytePermit,
    channel::{
        error::CallFailure,
        streams::{Kept, take_kept},
    },
    scope::take_reserved,
};
use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};
use tarpc::ServerError;

/// The memory in which a method's future is polled on the connection's task. It is allocated when a call
/// needs it, and reused until a call has to wait: the task of that call takes it.
pub(super) struct FutureSlot<F>(pub(super) Option<Pin<Box<Option<F>>>>);

/// The memory of a future larger than this, in bytes, is not kept: most connections are idle, and their kept
/// memory adds up.
const MAX_KEPT_FUTURE: usize = 2304;

impl<F> FutureSlot<F> {
    pub(super) fn new() -> Self {
        Self(None)
    }

    pub(super) fn fill(&mut self, future: F) {
        match &mut self.0 {
            Some(place) => place.set(Some(future)),
            empty => *empty = Some(Box::pin(Some(future))),
        }
    }

    /// Drops the future, which may hold resources.
    pub(super) fn clear(&mut self) {
        match &mut self.0 {
            Some(place) if size_of::<F>() <= MAX_KEPT_FUTURE => place.set(None),
            place => *place = None,
        }
    }
}

/// A method's future. If the method panics, the answer is an error. It also returns the memory that was
/// reserved for the answer, and what is kept while the streams of the answer run.
pub(super) struct CatchPanics<F> {
    pub(super) future: Pin<Box<Option<F>>>,
    pub(super) reserved: Vec<BytePermit>,
}

impl<F, R> Future for CatchPanics<F>
where
    F: Future<Output = Result<R, CallFailure>>,
{
    type Output = (F::Output, Vec<BytePermit>, Kept);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = poll_caught(&mut this.future, context);
        this.reserved.append(&mut take_reserved());
        polled.map(|answer| (answer, std::mem::take(&mut this.reserved), take_kept()))
    }
}

pub(super) fn poll_caught<F, R>(
    slot: &mut Pin<Box<Option<F>>>,
    context: &mut Context<'_>,
) -> Poll<Result<R, CallFailure>>
where
    F: Future<Output = Result<R, CallFailure>>,
{
    let Some(future) = slot.as_mut().as_pin_mut() else {
        return Poll::Pending;
    };
    catch_unwind(AssertUnwindSafe(|| future.poll(context)))
        .unwrap_or_else(|panic| Poll::Ready(Err(panicked(&*panic))))
}

pub(super) fn panicked(panic: &(dyn Any + Send)) -> CallFailure {
    let what = panic
        .downcast_ref::<&str>()
        .map(|what| (*what).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    let detail = match what {
        Some(what) => format!("the method panicked: {what}"),
        None => "the method panicked".to_owned(),
    };
    CallFailure::Failed(ServerError::new(io::ErrorKind::Other, detail))
}
