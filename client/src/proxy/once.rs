//! Calls that run once at most, for callers who keep their own account of what may have run.

use super::{Answered, Proxy, reach::Choice};
use crate::{delegates::OnBehalf, error::CallError};
use pyroxene_common::{channel::Listener, interface::Interface};
use std::fmt;
use tarpc::context;

/// What is special about a call that runs once at most.
#[derive(Clone, Copy)]
pub struct Once<'a> {
    /// The one worker that may get it, by name; any, if there is none.
    pub worker: Option<&'a str>,
    /// Is told the name of each worker that the call is about to be sent to.
    pub sending: &'a (dyn Fn(&str) + Send + Sync),
    /// On whose behalf the call is made. Needs [`ClientConfig::delegate`](crate::ClientConfig::delegate).
    pub on_behalf: Option<OnBehalf<'a>>,
    /// Hears how far the method says that it is.
    pub listener: Option<&'a Listener>,
}

impl fmt::Debug for Once<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

impl<I: Interface> Proxy<I> {
    /// Calls, and never again once the call may have run, whatever the method. A call that was
    /// surely not sent, or that was refused unseen, goes on to the next instance, to each of them
    /// once.
    ///
    /// # Errors
    ///
    /// [`MaybeRan`](CallError::MaybeRan) if the answer was lost;
    /// [`Unavailable`](CallError::Unavailable) if it did not run, because nobody took it.
    pub async fn call_once(
        &self,
        context: context::Context,
        request: &I::Request,
        once: Once<'_>,
    ) -> Result<Answered<I::Response>, CallError> {
        let mut call = self.begin(context, request, once.listener)?;
        call.repeatable = false;
        call.on_behalf = once.on_behalf;
        loop {
            let choice = Choice::EachOnce(once.worker);
            let reached = self.reach(&mut call, choice, None).await?;
            (once.sending)(reached.instance.name());
            match self.attempt(&call, &reached).await {
                Ok(response) => {
                    let attempts = call.attempts.count() + 1;
                    return Ok(Answered::new(response, &reached.instance, attempts));
                }
                Err(error) => self.after_failure(&mut call, reached.instance, error)?,
            }
        }
    }
}
