//! What is recorded of a call, where its trace is: a span for the call, and one for each attempt.

use super::{Proxy, call::ProxyCall};
use crate::instance::ObjectInstance;
use pyroxene_common::{
    interface::Interface,
    interfaces::invoke::invoke::InvokeRequest,
    spans::{Span, SpanKind},
};
use std::any::Any;

impl<I: Interface> ProxyCall<'_, I> {
    /// Begins the span of the call. Its attempts belong to it.
    pub(super) fn begin_span(&mut self, object: &str) {
        let name = || format!("{object}.{}", self.method);
        self.span = Span::begin(&self.context.trace_context, SpanKind::Internal, name);
        if let Some(span) = &mut self.span {
            self.context.trace_context = span.context();
        }
    }

    /// Names the method that a call by name is for.
    pub(super) fn name_span(&mut self, object: &str, request: &I::Request) {
        let Some(span) = &mut self.span else {
            return;
        };
        if let Some(
            InvokeRequest::Call { method, .. }
            | InvokeRequest::CallRepeatable { method, .. }
            | InvokeRequest::Stream { method, .. },
        ) = (request as &dyn Any).downcast_ref()
        {
            span.rename(&format!("{object}.{method}"));
        }
    }

    /// It was answered.
    pub(super) fn answered(&mut self) {
        if let Some(span) = &mut self.span {
            span.done();
        }
    }
}

impl<I: Interface> Proxy<I> {
    /// The span of an attempt at an instance.
    pub(super) fn attempt_span(
        &self,
        call: &ProxyCall<'_, I>,
        instance: &ObjectInstance<I::Response>,
    ) -> Option<Span> {
        let name = call.span.as_ref()?.name();
        let parent = &call.context.trace_context;
        let mut span = Span::begin(parent, SpanKind::Client, || name.to_owned())?;
        span.set("rpc.system", "pyroxene");
        span.set("rpc.service", &*self.object.name);
        span.set("rpc.method", name.rsplit('.').next().unwrap_or(name));
        span.set("pyroxene.worker", instance.name());
        span.set("server.address", &*instance.key.endpoint);
        let number = i64::try_from(call.attempts.count() + 1);
        span.set("pyroxene.attempt", number.unwrap_or(i64::MAX));
        Some(span)
    }
}
