//! The loop of a call: an instance is picked, the call is attempted there, and a failure is judged.

use super::{Proxy, call::ProxyCall, connecting::ConnectedInstance};
use crate::{connect::expect_answer, error::CallError, instance::ObjectInstance, older::is_older};
use pyroxene_common::{
    channel::AttemptError,
    interface::{Interface, Outcome},
    message::EncodedRequest,
};
use std::sync::Arc;
use tarpc::context::Context;
use tokio::time::Instant;
use tracing::Instrument;

/// A connected instance, or the instance to which to connect first, if one was picked.
type Opened<R> = Result<ConnectedInstance<R>, Option<Arc<ObjectInstance<R>>>>;

impl<I: Interface> Proxy<I> {
    /// Attempts a call until it is answered or must not be attempted again.
    ///
    /// Rarely used parts are boxed: this future is moved and stored for every call, so it should be no
    /// larger than the usual path needs, which picks an instance at once and calls it over an open
    /// connection.
    pub(super) async fn run(
        &self,
        mut call: ProxyCall<'_, I>,
    ) -> Result<(I::Response, Arc<ObjectInstance<I::Response>>, usize), CallError> {
        loop {
            let reached = match self.open_now(&call) {
                Ok(reached) => reached,
                Err(first) => Box::pin(self.connect_instance(&mut call, first)).await?,
            };
            if let Some(sending) = call.sending {
                sending(reached.instance.name());
            }
            // A large call would be a burden for a second instance.
            let is_hedged = self.options.hedge_after.is_some() && !call.prefers_fewest_in_flight;
            let (outcome, instance) = if is_hedged && call.may_be_hedged() {
                Box::pin(self.attempt_and_hedge(&mut call, reached)).await
            } else {
                (self.attempt(&call, &reached).await, reached.instance)
            };
            match outcome {
                Ok(response) => {
                    call.answered();
                    return Ok((response, instance, call.attempts.count() + 1));
                }
                Err(error) => self.after_failure(&mut call, instance, error)?,
            }
        }
    }

    /// The picked instance, if a connection to it is open and the call need not wait. Otherwise the instance to which
    /// to connect first, if one was picked.
    fn open_now(&self, call: &ProxyCall<'_, I>) -> Opened<I::Response> {
        // `connect_instance` waits.
        if !call.is_usual() || call.losses.ask_for_a_wait() {
            return Err(None);
        }
        let picked = self.pick_now(call).ok();
        match picked.as_ref().and_then(|picked| picked.open_connection()) {
            Some(connection) => match picked {
                Some(instance) => Ok(ConnectedInstance {
                    instance,
                    connection,
                    _slot: None,
                }),
                None => Err(None),
            },
            None => Err(picked),
        }
    }

    pub(super) async fn attempt(
        &self,
        call: &ProxyCall<'_, I>,
        reached: &ConnectedInstance<I::Response>,
    ) -> Result<I::Response, AttemptError> {
        if call.span.is_some() {
            return Box::pin(self.attempt_recorded(call, reached)).await;
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            return Box::pin(self.attempt_logged(call, reached, &call.context)).await;
        }
        self.attempt_unlogged(call, reached, &call.context).await
    }

    /// An attempt with a span of its own, to which what happens at the instance belongs.
    async fn attempt_recorded(
        &self,
        call: &ProxyCall<'_, I>,
        reached: &ConnectedInstance<I::Response>,
    ) -> Result<I::Response, AttemptError> {
        let mut span = self.attempt_span(call, &reached.instance);
        let mut context = call.context;
        if let Some(span) = &span {
            context.trace_context = span.context();
        }
        let outcome = match tracing::enabled!(tracing::Level::DEBUG) {
            true => self.attempt_logged(call, reached, &context).await,
            false => self.attempt_unlogged(call, reached, &context).await,
        };
        if let Some(span) = &mut span {
            match &outcome {
                Ok(response) if is_error::<I>(response) => span.fail("the object's own error"),
                Ok(_) => span.done(),
                Err(error) => span.fail(error.kind()),
            }
        }
        outcome
    }

    async fn attempt_logged(
        &self,
        call: &ProxyCall<'_, I>,
        reached: &ConnectedInstance<I::Response>,
        context: &Context,
    ) -> Result<I::Response, AttemptError> {
        let span = tracing::debug_span!(
            "call",
            object = self.object.name,
            method = call.method,
            worker = reached.instance.name(),
            attempt = call.attempts.count() + 1,
            trace = %call.context.trace_context.trace_id,
        );
        async {
            let outcome = self.attempt_unlogged(call, reached, context).await;
            match &outcome {
                Ok(_) => tracing::debug!("answered"),
                Err(error) => tracing::debug!(%error, "no answer"),
            }
            outcome
        }
        .instrument(span)
        .await
    }

    async fn attempt_unlogged(
        &self,
        call: &ProxyCall<'_, I>,
        reached: &ConnectedInstance<I::Response>,
        context: &Context,
    ) -> Result<I::Response, AttemptError> {
        let instance = &reached.instance;
        let counted = instance.begin_call(call.now);
        let outcome = call.call_on(reached, context).await;
        drop(counted);
        let now = Instant::now();
        match &outcome {
            Ok(response) if is_error::<I>(response) => instance.erred(now - call.now, now),
            Ok(_) => instance.succeeded(now - call.now, now),
            Err(error) => instance.failed(error, now - call.now, now),
        }
        outcome
    }
}

impl<I: Interface> ProxyCall<'_, I> {
    async fn call_on(
        &self,
        reached: &ConnectedInstance<I::Response>,
        context: &Context,
    ) -> Result<I::Response, AttemptError> {
        if is_older::<I>(reached.connection.interface_version()) {
            return Box::pin(self.call_older_on(reached, context)).await;
        }
        self.call_encoded_on(&self.encoded, reached, context).await
    }

    async fn call_older_on(
        &self,
        reached: &ConnectedInstance<I::Response>,
        context: &Context,
    ) -> Result<I::Response, AttemptError> {
        let encoded = self.encoded_for(reached.connection.interface_version())?;
        self.call_encoded_on(&encoded, reached, context).await
    }

    async fn call_encoded_on(
        &self,
        encoded: &EncodedRequest,
        reached: &ConnectedInstance<I::Response>,
        context: &Context,
    ) -> Result<I::Response, AttemptError> {
        let connection = &reached.connection;
        let response = match &self.streams {
            None => {
                connection
                    .call_with_progress(context, encoded, self.listener)
                    .await?
            }
            Some(streams) => {
                let calling = connection.call_streaming(context, encoded, streams);
                // Boxed, so that the futures of other calls stay small.
                Box::pin(calling).await?
            }
        };
        expect_answer::<I>(self.request_index, response, connection)
    }
}

/// Whether an answer is an error of the object.
fn is_error<I: Interface>(response: &I::Response) -> bool {
    matches!(I::outcome(response), Outcome::Failed(_))
}
