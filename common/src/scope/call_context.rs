//! What a method is told of its call beside its arguments.

use super::{CURRENT, Caller};
use crate::metadata::{CORRELATION_ID, Metadata};
use std::{sync::Arc, time::Duration};
use tarpc::trace::TraceId;
use tokio::time::Instant;

/// What a method is told of its call beside its arguments.
///
/// ```
/// use pyroxene_common::{metadata::Metadata, scope::{Scope, context}};
///
/// fn tenant() -> Option<String> {
///     context().metadata.get("tenant").map(str::to_owned)
/// }
///
/// let mut metadata = Metadata::default();
/// metadata.insert("tenant", "acme")?;
/// let scope = Scope { metadata: Some(metadata.into()), ..Scope::default() };
/// assert_eq!(scope.enter(tenant).as_deref(), Some("acme"));
/// assert_eq!(tenant(), None, "there is no call on this thread any more");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CallContext {
    /// Who calls, and from where.
    pub caller: Arc<Caller>,
    /// What the caller says of the call.
    pub metadata: Arc<Metadata>,
    /// Until when the caller waits; `None` outside of a call.
    pub deadline: Option<Instant>,
    /// The trace that the call belongs to. The calls that its method makes belong to it too.
    pub trace_id: Option<TraceId>,
}

impl CallContext {
    /// How long the caller still waits.
    pub fn time_left(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// The id of the trace in hexadecimal digits.
    pub fn trace(&self) -> Option<String> {
        self.trace_id.map(|id| format!("{:032x}", u128::from(id)))
    }

    /// An id that all calls of one piece of work share: the one that its first caller has given in the metadata
    /// ([`CORRELATION_ID`]), or that of the trace.
    pub fn correlation_id(&self) -> Option<String> {
        let given = self.metadata.get(CORRELATION_ID);
        given.map(str::to_owned).or_else(|| self.trace())
    }
}

/// What is known of the call that runs on this thread; nothing outside of a call.
pub fn context() -> CallContext {
    CURRENT.with(|current| {
        let current = current.borrow();
        let Some(scope) = current.as_ref() else {
            return CallContext::default();
        };
        CallContext {
            caller: Arc::clone(&scope.caller),
            metadata: scope.metadata.clone().unwrap_or_default(),
            deadline: scope.call.map(|call| Instant::from_std(call.deadline)),
            trace_id: scope.call.map(|call| call.trace_context.trace_id),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;

    #[test]
    fn the_correlation_id_is_the_given_one_or_the_trace() {
        let mut call = tarpc::context::current();
        call.trace_context.trace_id = 0xab_u128.into();
        let mut scope = Scope::default().of_call(call);
        let trace = format!("{:032x}", 0xab);
        assert_eq!(scope.enter(context).correlation_id(), Some(trace));
        let mut metadata = Metadata::default();
        metadata.insert(CORRELATION_ID, "order-7").unwrap();
        scope.metadata = Some(metadata.into());
        let context = scope.enter(context);
        assert_eq!(context.correlation_id().as_deref(), Some("order-7"));
        assert!(context.time_left().is_some());
    }
}
