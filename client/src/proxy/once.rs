//! Calls that run at most once, for callers that record themselves which calls may have run.

use super::{Proxy, Response, call::InstanceChoice};
use crate::{delegation::DelegatedCall, error::CallError};
use pyroxene_common::{channel::ProgressListener, interface::Interface};
use std::fmt;
use tarpc::context;

/// The options of a call that runs at most once.
#[derive(Clone, Copy)]
pub struct CallOnceOptions<'a> {
    /// The name of the only worker that may get the call. `None` allows every worker.
    pub worker: Option<&'a str>,
    /// Called with the name of each worker before the call is sent to it.
    pub sending: &'a (dyn Fn(&str) + Send + Sync),
    /// The identity on whose behalf the call is made. It requires
    /// [`ClientConfig::delegate`](crate::ClientConfig::delegate).
    pub on_behalf: Option<DelegatedCall<'a>>,
    /// Receives the progress that the method reports.
    pub listener: Option<&'a ProgressListener>,
}

impl fmt::Debug for CallOnceOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

impl<I: Interface> Proxy<I> {
    /// Makes a call that is never retried after it may have run, also if the method is idempotent. A call
    /// that was certainly not sent, or was refused before it ran, goes to the next instance, at most once
    /// to each.
    ///
    /// ```no_run
    /// use pyroxene_client::{CallError, CallOnceOptions};
    /// use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let echo = client.proxy::<Echo>("echo").await?;
    /// let sending = |worker: &str| println!("sending the call to {worker}");
    /// let once = CallOnceOptions { worker: Some("w1"), sending: &sending, on_behalf: None, listener: None };
    /// let request = EchoRequest::Sleep { ms: 10 };
    /// if let Err(CallError::MaybeRan(_)) = echo.call_once(context::current(), &request, once).await {
    ///     println!("the answer was lost, and the call is not repeated");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`MaybeRan`](CallError::MaybeRan) if the answer was lost;
    /// [`Unavailable`](CallError::Unavailable) if it did not run, because no instance accepted it.
    pub async fn call_once(
        &self,
        context: context::Context,
        request: &I::Request,
        once: CallOnceOptions<'_>,
    ) -> Result<Response<I::Response>, CallError> {
        let mut call = self.begin(context, request)?;
        call.repeatable = false;
        call.listener = once.listener;
        call.on_behalf = once.on_behalf;
        call.choice = InstanceChoice::EachOnce(once.worker);
        call.sending = Some(once.sending);
        self.answer(call).await
    }
}
