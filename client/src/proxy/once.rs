//! Calls that run once at most, for callers who keep their own account of what may have run.

use super::{Answered, Call, Proxy};
use crate::{balance::NoPick, error::CallError, instance::Instance};
use pyroxene_common::{channel::Listener, interface::Interface};
use std::{fmt, sync::Arc, time::Duration};
use tarpc::context;
use tokio::time::timeout;

/// How long a call waits for an instance to appear.
const APPEARANCE: Duration = Duration::from_secs(2);

/// What is special about a call that runs once at most.
#[derive(Clone, Copy)]
pub struct Once<'a> {
    /// The one worker that may get it, by name; any, if there is none.
    pub worker: Option<&'a str>,
    /// Is told the name of each worker that the call is about to be sent to.
    pub sending: &'a (dyn Fn(&str) + Send + Sync),
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
        loop {
            let instance = self.choose(&mut call, once.worker).await?;
            (once.sending)(instance.name());
            match self.attempt(&call, &instance).await {
                Ok(response) => {
                    let attempts = call.attempts.len() + 1;
                    return Ok(Answered::new(response, &instance, attempts));
                }
                Err(error) => self.after_failure(&mut call, instance, error)?,
            }
        }
    }

    /// The next instance, each of them once. Waits a little for the first one.
    async fn choose(
        &self,
        call: &mut Call<'_, I>,
        worker: Option<&str>,
    ) -> Result<Arc<Instance<I::Response>>, CallError> {
        loop {
            let picked = match worker {
                None => self.pick_now(call),
                Some(worker) => self.pick_worker(call, worker),
            };
            let missing = || match worker {
                None => super::NOT_HOSTED.to_owned(),
                Some(worker) => format!("worker '{worker}' does not host it now"),
            };
            match picked {
                Ok(instance) => return Ok(instance),
                Err(NoPick::Empty) if call.attempts.is_empty() && worker.is_none() => {
                    // Kept apart, because it is large and seldom needed.
                    let appearance = Box::pin(self.wait_for_instance(call));
                    match timeout(APPEARANCE, appearance).await {
                        Ok(waited) => waited?,
                        Err(_) => {
                            return Err(self.error(CallError::Unavailable, call, Some(missing())));
                        }
                    }
                }
                Err(NoPick::Empty) if call.attempts.is_empty() => {
                    return Err(self.error(CallError::Unavailable, call, Some(missing())));
                }
                Err(NoPick::Empty | NoPick::AllTried) => {
                    return Err(self.error(CallError::Unavailable, call, None));
                }
            }
        }
    }

    fn pick_worker(
        &self,
        call: &Call<'_, I>,
        worker: &str,
    ) -> Result<Arc<Instance<I::Response>>, NoPick> {
        let instances = self.object.instances();
        let mut of_worker = instances
            .iter()
            .filter(|instance| instance.name() == worker && !instance.is_draining())
            .peekable();
        if of_worker.peek().is_none() {
            return Err(NoPick::Empty);
        }
        let untried = |instance: &&Arc<Instance<I::Response>>| {
            !call.tried.iter().any(|tried| Arc::ptr_eq(tried, instance))
        };
        of_worker.find(untried).cloned().ok_or(NoPick::AllTried)
    }
}
