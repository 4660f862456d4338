//! The metadata of calls, and the interceptors that see them.

use super::{Proxy, call::ProxyCall};
use crate::{
    error::{AttemptLog, CallError},
    instance::ObjectInstance,
};
use pyroxene_common::{
    codec,
    interceptor::{InterceptedCall, PassedCall},
    interface::Interface,
    message::EncodedRequest,
    metadata::Metadata,
};
use std::sync::Arc;

/// An answer, the instance that gave it, and the number of attempts.
pub(super) type Answered<R> = (R, Arc<ObjectInstance<R>>, usize);

impl<I: Interface> Proxy<I> {
    /// Whether calls are more than their requests, so that each needs a frame of its own.
    pub(super) fn has_extras(&self, call: &ProxyCall<'_, I>) -> bool {
        !self.options.interceptors.is_empty() || call.encoded.has_metadata()
    }

    /// Adds the metadata of the call that a method runs, `outer`, and of the options. With interceptors it is only
    /// collected, because they see it first.
    pub(super) fn add_metadata(
        &self,
        call: &mut ProxyCall<'_, I>,
        outer: Option<&Metadata>,
    ) -> Result<(), CallError> {
        let layers = self.options.metadata.iter().map(Arc::as_ref);
        let mut metadata = Metadata::default();
        for layer in outer.into_iter().chain(layers) {
            let added = metadata.extend(layer);
            added.map_err(|error| self.unsendable(call, error.to_string()))?;
        }
        match self.options.interceptors.is_empty() {
            true => self.attach(call, &metadata),
            false => {
                call.metadata = Some(Box::new(metadata));
                Ok(())
            }
        }
    }

    fn attach(&self, call: &mut ProxyCall<'_, I>, metadata: &Metadata) -> Result<(), CallError> {
        if metadata.is_empty() {
            return Ok(());
        }
        let encoded = codec::encode(metadata);
        let encoded = encoded.map_err(|error| self.unsendable(call, error.to_string()))?;
        let message = std::mem::replace(&mut call.encoded, EncodedRequest::Small(Vec::new()));
        call.encoded = message.with_metadata(encoded.into());
        Ok(())
    }

    /// Shows a call to the interceptors before it is sent.
    pub(super) fn intercept(
        &self,
        call: &mut ProxyCall<'_, I>,
    ) -> Result<PassedCall<'_>, CallError> {
        let metadata = call.metadata.take().map(|metadata| *metadata);
        let passed = self.options.interceptors.begin(InterceptedCall {
            object: &self.object.name,
            method: call.method,
            caller: None,
            metadata: metadata.unwrap_or_default(),
            deadline: call.deadline,
        });
        let passed = passed
            .map_err(|refusal| self.error(CallError::Refused, call, Some(refusal.message)))?;
        match self.attach(call, passed.metadata()) {
            Ok(()) => Ok(passed),
            Err(error) => {
                passed.end(Some(&error));
                Err(error)
            }
        }
    }

    /// Makes a call by `run`. The interceptors see it before, and how it ended.
    pub(super) async fn intercepted<'a, T, F>(
        &self,
        mut call: ProxyCall<'a, I>,
        run: impl FnOnce(ProxyCall<'a, I>) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let passed = self.intercept(&mut call)?;
        let outcome = run(call).await;
        let failure = outcome.as_ref().err();
        passed.end(failure.map(|error| error as _));
        outcome
    }

    fn unsendable(&self, call: &ProxyCall<'_, I>, reason: String) -> CallError {
        CallError::NotSent(Box::new(AttemptLog {
            object: self.object.name.clone(),
            method: call.method.to_owned(),
            reason: Some(reason),
            ..AttemptLog::default()
        }))
    }
}
