//! The objects of a host for Pyro's clients.

use crate::{
    described::{BlobPlace, DescribedObject, raised},
    exception::PyException,
    server::{CallError, Members, PyroAnswer, PyroCall, PyroObjects},
};
use futures::future::BoxFuture;
use pyroxene_common::{
    channel::CallFailure,
    host::HostedObject,
    message::{Refusal, RefusalReason},
    scope::Scope,
};
use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tarpc::context::{self, Context};

/// How long a call may run: Pyro has no deadlines, and this one bounds what a client that has gone leaves.
const DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// The objects of a host, by their names.
#[derive(Debug)]
pub struct HostedObjects {
    objects: BTreeMap<String, Arc<OwnObject>>,
}

#[derive(Debug)]
struct OwnObject {
    object: HostedObject,
    described: Arc<DescribedObject>,
}

impl HostedObjects {
    /// These objects.
    pub fn new(objects: impl IntoIterator<Item = (String, HostedObject)>) -> Self {
        let described = objects.into_iter().map(|(name, object)| {
            let described = Arc::new(DescribedObject::new(object.description()));
            (name, Arc::new(OwnObject { object, described }))
        });
        Self {
            objects: described.collect(),
        }
    }
}

impl PyroObjects for HostedObjects {
    fn ids(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    fn members(&self, object: &str) -> Option<Arc<Members>> {
        self.objects
            .get(object)
            .map(|object| Arc::clone(object.described.members()))
    }

    fn call(&self, call: PyroCall) -> BoxFuture<'static, Result<PyroAnswer, CallError>> {
        let object = self.objects.get(&call.object).cloned();
        Box::pin(async move {
            let object =
                object.ok_or_else(|| PyException::pyro("DaemonError", "unknown object"))?;
            object.answer(call).await
        })
    }
}

impl OwnObject {
    async fn answer(self: Arc<Self>, call: PyroCall) -> Result<PyroAnswer, CallError> {
        let method = self.described.method(&call)?;
        let (caller, name) = (call.caller.to_caller(), call.object.clone());
        let identity = caller.identity.clone();
        let shown = format!("{}.{}", call.object, call.method);
        let scope = Scope {
            caller: Arc::new(caller),
            envelope: Some(Arc::clone(&call.envelope) as _),
            session: Some(call.sessions.call(&call.object)),
            ..Scope::default()
        };
        let pyro_caller = Arc::clone(&call.caller);
        let naming = self
            .described
            .named_call(method, &shown, call, BlobPlace::Beside);
        let named = naming.await?;
        let mut context: Context = context::current();
        context.deadline = Instant::now() + DEADLINE;
        let calling = self.object.invoke(context, named, &name, identity.as_ref());
        let answered = scope.wrap(calling).await.map_err(failed)?;
        let answered = answered.map_err(|error| raised(&shown, error))?;
        let answer = self.described.answer(&pyro_caller, method, answered);
        Ok(answer.await?)
    }
}

/// What the caller is told of a call that the host refused or that failed outside of its own error type.
fn failed(failure: CallFailure) -> CallError {
    match failure {
        CallFailure::Refused(Refusal {
            reason: RefusalReason::Draining | RefusalReason::NotHolder,
            ..
        }) => CallError::Hangup,
        CallFailure::Refused(Refusal {
            reason: RefusalReason::Denied | RefusalReason::Unauthenticated,
            message,
            ..
        }) => PyException::pyro("SecurityError", message).into(),
        CallFailure::Refused(refusal) => PyException::pyro("PyroError", refusal.message).into(),
        CallFailure::Failed(error) if error.kind == io::ErrorKind::TimedOut => {
            PyException::builtin("TimeoutError", error.detail).into()
        }
        CallFailure::Failed(error) => PyException::builtin("RuntimeError", error.detail).into(),
    }
}

#[cfg(test)]
mod tests;
