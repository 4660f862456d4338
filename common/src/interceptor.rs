//! What sees every call of a client, or of a worker, on its way: for metadata, logs and quotas.

use crate::{message::Refusal, metadata::Metadata, scope::Caller};
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Sees calls on their way. A client's sees them before they are sent, once whatever the number of attempts;
/// a worker's before they run.
///
/// ```
/// use pyroxene_common::{
///     interceptor::{InterceptedCall, Interceptor},
///     message::{Refusal, RefusalReason},
/// };
///
/// /// Lets only calls pass that name a tenant.
/// struct TenantRequired;
///
/// impl Interceptor for TenantRequired {
///     fn before(&self, call: &mut InterceptedCall<'_>) -> Result<(), Refusal> {
///         match call.metadata.get("tenant") {
///             Some(_) => Ok(()),
///             None => Err(Refusal {
///                 reason: RefusalReason::Denied,
///                 retry_after_ms: 0,
///                 message: format!("{}.{} needs a tenant", call.object, call.method),
///             }),
///         }
///     }
/// }
/// ```
pub trait Interceptor: Send + Sync + 'static {
    /// Sees a call that is about to be sent or run. It may change the metadata, or refuse the call. It must not
    /// block.
    ///
    /// # Errors
    ///
    /// The call is not sent or run, and this is the reason.
    fn before(&self, _call: &mut InterceptedCall<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// Sees how a call ended that every interceptor has let pass.
    fn after(&self, _call: &InterceptedCall<'_>, _end: &CallEnd<'_>) {}
}

/// A call on its way.
#[derive(Debug)]
pub struct InterceptedCall<'a> {
    /// The name of the object.
    pub object: &'a str,
    /// The method; empty if it is not known yet.
    pub method: &'a str,
    /// The caller, at a worker; `None` at a client.
    pub caller: Option<&'a Caller>,
    /// The metadata that travels with it.
    pub metadata: Metadata,
    /// Until when the caller waits.
    pub deadline: Instant,
}

/// How a call ended.
#[derive(Clone, Copy)]
pub struct CallEnd<'a> {
    /// How long it took.
    pub took: Duration,
    /// Why there is no answer; `None` if there is one.
    pub failure: Option<&'a dyn fmt::Display>,
}

impl fmt::Debug for CallEnd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallEnd")
            .field("took", &self.took)
            .field("failure", &self.failure.map(ToString::to_string))
            .finish()
    }
}

/// Interceptors, in the order in which they see a call that begins. Of its end the last one hears first.
#[derive(Clone, Default)]
pub struct Interceptors(Vec<Arc<dyn Interceptor>>);

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interceptors({})", self.0.len())
    }
}

impl Interceptors {
    /// Adds one that comes after those that are there.
    pub fn push(&mut self, interceptor: Arc<dyn Interceptor>) {
        self.0.push(interceptor);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shows them a call that begins.
    ///
    /// # Errors
    ///
    /// The refusal of the first one that refuses it.
    pub fn before(&self, call: &mut InterceptedCall<'_>) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|one| one.before(call))
    }

    /// Shows them how it ended.
    pub fn after(&self, call: &InterceptedCall<'_>, end: &CallEnd<'_>) {
        self.0.iter().rev().for_each(|one| one.after(call, end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RefusalReason;
    use std::sync::Mutex;

    /// Notes what it sees.
    struct Noting(&'static str, Arc<Mutex<Vec<String>>>);

    impl Interceptor for Noting {
        fn before(&self, call: &mut InterceptedCall<'_>) -> Result<(), Refusal> {
            self.1
                .lock()
                .unwrap()
                .push(format!("{} {}", self.0, call.method));
            match call.method {
                "forbidden" => Err(Refusal {
                    reason: RefusalReason::Denied,
                    retry_after_ms: 0,
                    message: "no".to_owned(),
                }),
                _ => Ok(()),
            }
        }

        fn after(&self, call: &InterceptedCall<'_>, _: &CallEnd<'_>) {
            self.1
                .lock()
                .unwrap()
                .push(format!("{} {} ended", self.0, call.method));
        }
    }

    fn seen(method: &str) -> Vec<String> {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let mut interceptors = Interceptors::default();
        for name in ["a", "b"] {
            interceptors.push(Arc::new(Noting(name, Arc::clone(&notes))));
        }
        let mut call = InterceptedCall {
            object: "o",
            method,
            caller: None,
            metadata: Metadata::default(),
            deadline: Instant::now(),
        };
        if interceptors.before(&mut call).is_ok() {
            let end = CallEnd {
                took: Duration::ZERO,
                failure: None,
            };
            interceptors.after(&call, &end);
        }
        notes.lock().unwrap().clone()
    }

    #[test]
    fn the_first_to_see_a_call_is_the_last_to_see_its_end() {
        assert_eq!(seen("m"), ["a m", "b m", "b m ended", "a m ended"]);
    }

    #[test]
    fn a_refusal_ends_it() {
        assert_eq!(seen("forbidden"), ["a forbidden"]);
    }
}
