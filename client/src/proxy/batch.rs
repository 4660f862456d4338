//! One-way calls, and batches of calls in one frame.

use super::{Proxy, call::ProxyCall, connecting::ConnectedInstance};
use crate::{
    connect::expect_answer,
    error::CallError,
    instance::ObjectInstance,
    older::{is_older, needed_version},
};
use pyroxene_common::{channel::AttemptError, interface::Interface, message::EncodedRequest};
use std::sync::Arc;
use tarpc::context;

impl<I: Interface> Proxy<I> {
    /// Sends a one-way call, without an answer. It returns when the operating system has accepted the
    /// whole call; it is not known whether the call runs. The call goes to another instance only if it was
    /// certainly not sent.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let echo = client.proxy::<Echo>("echo").await?;
    /// // The caller does not learn whether the method has run.
    /// echo.send(context::current(), &EchoRequest::Sleep { ms: 10 }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send(
        &self,
        context: context::Context,
        request: &I::Request,
    ) -> Result<(), CallError> {
        let mut call = self.begin(context, request)?;
        call.repeatable = false;
        match self.is_plain {
            true => self.send_one_way(call).await,
            false => Box::pin(self.intercepted(call, |call| self.send_one_way(call))).await,
        }
    }

    async fn send_one_way(&self, mut call: ProxyCall<'_, I>) -> Result<(), CallError> {
        loop {
            let ConnectedInstance {
                instance,
                connection,
                ..
            } = self.connect_instance(&mut call, None).await?;
            let version = connection.interface_version();
            let sent = match is_older::<I>(version) {
                false => connection.send_one_way(&call.context, &call.encoded).await,
                true => match call.encoded_for(version) {
                    Ok(encoded) => connection.send_one_way(&call.context, &encoded).await,
                    Err(error) => Err(error),
                },
            };
            match sent {
                Ok(()) => {
                    call.answered();
                    return Ok(());
                }
                Err(error) => self.after_failure(&mut call, instance, error)?,
            }
        }
    }

    /// Sends several calls to one instance in one frame, and returns the answers in the order of the
    /// requests. Each call succeeds or fails separately. A failed one is retried separately, like any
    /// call.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::calculator::{Calculator, calculator::CalculatorRequest};
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let calculator = client.proxy::<Calculator>("calculator").await?;
    /// let requests: Vec<_> = (1..=20).map(|n| CalculatorRequest::Factorial { n }).collect();
    /// let answers = calculator.batch(context::current(), &requests).await;
    /// let failed = answers.iter().filter(|answer| answer.is_err()).count();
    /// println!("{failed} of {} calls failed", answers.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn batch(
        &self,
        context: context::Context,
        requests: &[I::Request],
    ) -> Vec<Result<I::Response, CallError>> {
        let Some(first) = requests.first() else {
            return Vec::new();
        };
        let together = async {
            let mut call = self.begin(context, first).ok()?;
            if self.has_extras(&call) {
                return None;
            }
            let needs = requests.iter().map(needed_version::<I>);
            call.needs = needs.max().unwrap_or_default();
            let encoded = requests
                .iter()
                .map(EncodedRequest::new)
                .collect::<Result<Vec<_>, _>>()
                .ok()?;
            let ConnectedInstance {
                instance,
                connection,
                ..
            } = self.connect_instance(&mut call, None).await.ok()?;
            if is_older::<I>(connection.interface_version()) {
                return None;
            }
            let counted = instance.begin_call(call.now);
            let outcomes = connection.call_batch(&call.context, &encoded).await;
            drop(counted);
            call.answered();
            let checked = requests.iter().zip(outcomes).map(|(request, outcome)| {
                expect_answer::<I>(I::request_index(request), outcome?, &connection)
            });
            Some((instance, checked.collect::<Vec<_>>()))
        };
        // Without a connection, each call is made separately and gets its own error.
        let Some((instance, outcomes)) = together.await else {
            let alone = requests
                .iter()
                .map(|request| self.call_alone(context, request));
            return futures::future::join_all(alone).await;
        };
        let settled = requests.iter().zip(outcomes).map(|(request, outcome)| {
            self.finish_batched_call(context, request, &instance, outcome)
        });
        futures::future::join_all(settled).await
    }

    async fn call_alone(
        &self,
        context: context::Context,
        request: &I::Request,
    ) -> Result<I::Response, CallError> {
        let answered = self.call_traced(context, request).await?;
        Ok(answered.response)
    }

    /// Turns one outcome of a batch into an answer, with a separate call if necessary.
    async fn finish_batched_call(
        &self,
        context: context::Context,
        request: &I::Request,
        instance: &Arc<ObjectInstance<I::Response>>,
        outcome: Result<I::Response, AttemptError>,
    ) -> Result<I::Response, CallError> {
        match outcome {
            Ok(response) => Ok(response),
            Err(error) => {
                let mut call = self.begin(context, request)?;
                self.after_failure(&mut call, Arc::clone(instance), error)?;
                self.call_alone(context, request).await
            }
        }
    }
}
