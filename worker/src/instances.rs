//! The instances of a service behind an object: one for all calls, one for each session, or one for each call.

use pyroxene_common::{
    channel::CallFailure,
    message::{Refusal, RefusalReason},
    scope::session_state,
};
use std::{fmt, sync::Arc};

/// Where an object gets the service for a call.
#[derive(Clone)]
pub(crate) enum Instances<S> {
    /// All calls have the same one.
    Shared(S),
    /// Each session has one of its own. A call without a session is a session of one call.
    PerSession(MakeService<S>),
    /// Each call has one of its own.
    PerCall(MakeService<S>),
}

/// Makes a service.
type MakeService<S> = Arc<dyn Fn() -> S + Send + Sync>;

impl<S> fmt::Debug for Instances<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "Shared",
            Self::PerSession(_) => "PerSession",
            Self::PerCall(_) => "PerCall",
        })
    }
}

impl<S: Clone + Send + Sync + 'static> Instances<S> {
    /// The service for the call that runs on this thread.
    pub(crate) fn of_call(&self) -> Result<S, CallFailure> {
        match self {
            Self::Shared(service) => Ok(service.clone()),
            Self::PerCall(make) => Ok(make()),
            Self::PerSession(make) => session_state(|| make()).map_err(|ended| {
                CallFailure::Refused(Refusal {
                    reason: RefusalReason::SessionLost,
                    retry_after_ms: 0,
                    message: ended.to_string(),
                })
            }),
        }
    }
}
