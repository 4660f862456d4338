//! Calls that are observed: by a trace, by interceptors, by the log.

use super::WorkerObject;
use pyroxene_common::{
    channel::{CallFailure, Translation},
    interceptor::InterceptedCall,
    interface::Serves,
    scope::{self, Scope},
    spans::{Span, SpanKind},
};
use std::sync::Arc;
use tarpc::context;
use tokio::time::Instant;
use tracing::Instrument;

impl<I, S> WorkerObject<I, S>
where
    I: Serves<S>,
    S: Clone + Send + Sync + 'static,
{
    /// Runs a call with a span, if its trace is recorded: the calls that its method makes belong to it.
    pub(super) async fn run_observed<T>(
        &self,
        mut context: context::Context,
        call: T,
    ) -> Result<T::Answer, CallFailure>
    where
        T: Translation<I::Request, I::Response>,
    {
        let name = || format!("{}.{}", self.name, call.method());
        let Some(mut span) = Span::begin(&context.trace_context, SpanKind::Server, name) else {
            return self.run_unrecorded(context, call).await;
        };
        span.set("rpc.system", "pyroxene");
        span.set("rpc.service", &*self.name);
        span.set("rpc.method", call.method());
        span.set("pyroxene.worker", &*self.worker_context.worker);
        let outer = scope::current();
        span.set("client.address", &*outer.caller.address);
        context.trace_context = span.context();
        let scope = Scope {
            call: Some(context),
            ..outer
        };
        let running = scope.wrap(Box::pin(self.run_unrecorded(context, call)));
        let answer = running.await;
        match &answer {
            Ok(_) => span.done(),
            Err(failure) => span.fail(failure.kind()),
        }
        answer
    }

    async fn run_unrecorded<T>(
        &self,
        context: context::Context,
        call: T,
    ) -> Result<T::Answer, CallFailure>
    where
        T: Translation<I::Request, I::Response>,
    {
        if !self.worker_context.interceptors.is_empty() {
            return self.run_intercepted(context, call).await;
        }
        match tracing::enabled!(tracing::Level::DEBUG) {
            true => self.run_logged(context, call).await,
            false => self.run(context, call).await,
        }
    }

    /// Shows a call to the interceptors before it runs, and when it has ended.
    async fn run_intercepted<T>(
        &self,
        context: context::Context,
        call: T,
    ) -> Result<T::Answer, CallFailure>
    where
        T: Translation<I::Request, I::Response>,
    {
        // Interceptors see only permitted calls, so a caller that is denied learns nothing from them.
        call.permitted()?;
        let scope = scope::current();
        let method = call.method().to_owned();
        let metadata = scope.metadata.as_deref().cloned();
        let passed = self.worker_context.interceptors.begin(InterceptedCall {
            object: &self.name,
            method: &method,
            caller: Some(&scope.caller),
            metadata: metadata.unwrap_or_default(),
            deadline: Instant::from_std(context.deadline),
        });
        let passed = passed.map_err(CallFailure::Refused)?;
        let metadata = passed.metadata();
        let inner = Scope {
            metadata: (!metadata.is_empty()).then(|| Arc::new(metadata.clone())),
            ..scope.clone()
        };
        let running = inner.wrap(Box::pin(async {
            match tracing::enabled!(tracing::Level::DEBUG) {
                true => self.run_logged(context, call).await,
                false => self.run(context, call).await,
            }
        }));
        let answer = running.await;
        passed.end(match &answer {
            Ok(_) => None,
            Err(CallFailure::Refused(refusal)) => Some(refusal),
            Err(CallFailure::Failed(error)) => Some(error),
        });
        answer
    }

    async fn run_logged<T>(
        &self,
        context: context::Context,
        call: T,
    ) -> Result<T::Answer, CallFailure>
    where
        T: Translation<I::Request, I::Response>,
    {
        let span = tracing::debug_span!(
            "serve",
            object = self.name,
            method = call.method(),
            worker = %self.worker_context.worker,
            caller = scope::current().caller.address,
            trace = %context.trace_context.trace_id,
        );
        async {
            let answer = self.run(context, call).await;
            match &answer {
                Ok(_) => tracing::debug!("answered"),
                Err(CallFailure::Refused(refusal)) => tracing::debug!(%refusal, "refused"),
                Err(CallFailure::Failed(error)) => tracing::debug!(%error, "failed"),
            }
            answer
        }
        .instrument(span)
        .await
    }
}
