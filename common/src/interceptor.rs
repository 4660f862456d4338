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

    /// Sees how a call ended that it has let pass: also if a later interceptor has refused it, and if its caller has
    /// stopped waiting before it was answered. The streams of its answer may only begin then.
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
    pub fn begin<'a>(&'a self, call: InterceptedCall<'a>) -> Result<PassedCall<'a>, Refusal> {
        let mut passed = PassedCall {
            passed_by: Vec::with_capacity(self.0.len()),
            call,
            began: Instant::now(),
        };
        for one in &self.0 {
            if let Err(refusal) = one.before(&mut passed.call) {
                passed.end(Some(&refusal));
                return Err(refusal);
            }
            passed.passed_by.push(&**one);
        }
        Ok(passed)
    }
}

/// A call that interceptors have let pass. They hear of its end, which is that its caller has stopped waiting if this is
/// dropped.
pub struct PassedCall<'a> {
    /// Those that have not heard of its end yet.
    passed_by: Vec<&'a dyn Interceptor>,
    call: InterceptedCall<'a>,
    began: Instant,
}

impl fmt::Debug for PassedCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PassedCall").field(&self.call).finish()
    }
}

impl PassedCall<'_> {
    /// Its metadata, as they have changed it.
    pub fn metadata(&self) -> &Metadata {
        &self.call.metadata
    }

    /// Tells them that it has ended, and why there is no answer if there is none.
    pub fn end(mut self, failure: Option<&dyn fmt::Display>) {
        self.tell(failure);
    }

    fn tell(&mut self, failure: Option<&dyn fmt::Display>) {
        let took = self.began.elapsed();
        while let Some(one) = self.passed_by.pop() {
            one.after(&self.call, &CallEnd { took, failure });
        }
    }
}

impl Drop for PassedCall<'_> {
    fn drop(&mut self) {
        self.tell(Some(&"its caller has stopped waiting"));
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
            match (call.method, self.0) {
                ("forbidden", "b") => Err(Refusal {
                    reason: RefusalReason::Denied,
                    retry_after_ms: 0,
                    message: "no".to_owned(),
                }),
                _ => Ok(()),
            }
        }

        fn after(&self, call: &InterceptedCall<'_>, end: &CallEnd<'_>) {
            let (name, method) = (self.0, call.method);
            let why = end
                .failure
                .map_or("answered".to_owned(), ToString::to_string);
            self.1
                .lock()
                .unwrap()
                .push(format!("{name} {method}: {why}"));
        }
    }

    fn seen(method: &str) -> Vec<String> {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let mut interceptors = Interceptors::default();
        for name in ["a", "b"] {
            interceptors.push(Arc::new(Noting(name, Arc::clone(&notes))));
        }
        let passed = interceptors.begin(InterceptedCall {
            object: "o",
            method,
            caller: None,
            metadata: Metadata::default(),
            deadline: Instant::now(),
        });
        if let Ok(passed) = passed
            && method != "abandoned"
        {
            passed.end(None);
        }
        notes.lock().unwrap().clone()
    }

    #[test]
    fn the_first_to_see_a_call_is_the_last_to_see_its_end() {
        assert_eq!(seen("m"), ["a m", "b m", "b m: answered", "a m: answered"]);
    }

    #[test]
    fn whoever_let_it_pass_hears_that_a_later_one_refused_it() {
        assert_eq!(
            seen("forbidden"),
            ["a forbidden", "b forbidden", "a forbidden: no"]
        );
    }

    #[test]
    fn a_call_that_is_dropped_ends_too() {
        let why = "its caller has stopped waiting";
        let ends = ["b", "a"].map(|name| format!("{name} abandoned: {why}"));
        assert_eq!(seen("abandoned")[2..], ends);
    }
}
