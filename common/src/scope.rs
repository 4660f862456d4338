//! The scope of a running call: the information beyond the method's parameters (the caller, cancellation, the
//! fence), and its progress reports beyond its answer.
//!
//! tarpc gives a method its deadline and trace. The rest is found here, in a thread-local that is set
//! whenever the method's future is polled, and on the compute pool while its work runs.

mod answers;
mod call_context;
mod session;

pub use answers::{ANSWER_MEMORY_TIMEOUT, AnswerQueue, AnswerTurn, NoAnswerMemory};
pub(crate) use answers::{AnswerBuffer, take_reserved};
pub use call_context::{CallContext, context};
pub(crate) use session::ObjectSession;
pub use session::{CallSession, ForeignSession, SessionEnded, session_state};

use crate::{
    identity::{HolderId, Identity, LoginChallenge},
    message::Progress,
    metadata::Metadata,
    tls::CertificateHolder,
};
use std::{
    any::Any,
    cell::RefCell,
    fmt::{self, Write},
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
};
use tokio_util::sync::CancellationToken;

/// The scope of one call.
///
/// ```
/// use pyroxene_common::scope::{Scope, current};
///
/// // What a method of an object with an exclusive name writes carries the fence.
/// fn fence() -> Option<u64> {
///     current().fence
/// }
///
/// let scope = Scope { fence: Some(7), ..Scope::default() };
/// assert_eq!(scope.enter(fence), Some(7));
/// assert_eq!(fence(), None, "there is no call on this thread any more");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The caller.
    pub caller: Arc<Caller>,
    /// For a method on a compute pool: cancelled once no caller waits for the answer. A method on the runtime
    /// needs no token, because its future is dropped.
    pub cancellation: CancellationToken,
    /// Takes the method's progress reports.
    pub reporter: Reporter,
    /// The answers that wait on the caller's connection.
    pub answers: AnswerQueue,
    /// For an object with an exclusive name: the fencing token with which the worker holds the name. It is
    /// greater than that of every earlier holder. If a former holder may still write to the same place, the
    /// method should send the token with each write, and the place should refuse a write whose token is less
    /// than the greatest one seen.
    pub fence: Option<u64>,
    /// The metadata of the call, if it has any.
    pub metadata: Option<Arc<Metadata>>,
    /// The deadline and trace of the call.
    pub call: Option<tarpc::context::Context>,
    /// The session that the call belongs to, if it belongs to one.
    pub session: Option<Arc<CallSession>>,
    /// What another protocol carries beside the call's arguments, in a type of that protocol's own.
    pub envelope: Option<Arc<dyn Any + Send + Sync>>,
}

/// Takes a method's progress reports. Clones may be moved to other threads. Reports to the default value are
/// dropped.
///
/// ```
/// use pyroxene_common::scope::Reporter;
/// use std::sync::mpsc;
///
/// let (said, heard) = mpsc::channel();
/// let reporter = Reporter::new(move |progress| drop(said.send(progress)));
/// reporter.report(0.25, "sorted 1 of 4 parts");
/// reporter.report(1.5, "a fraction above 1 counts as 1");
/// assert_eq!(heard.recv()?.note, "sorted 1 of 4 parts");
/// assert_eq!(heard.recv()?.fraction, 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Reporter(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reporter({})", self.has_listener())
    }
}

/// The longest note of a report, in characters. A longer note is cut.
pub const MAX_NOTE: usize = 200;

impl Reporter {
    /// A reporter that passes reports to `hear`.
    pub fn new(hear: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    /// Whether reports have a receiver.
    pub fn has_listener(&self) -> bool {
        self.0.is_some()
    }

    /// Reports the completed `fraction`, from 0 to 1, and a note. A fraction outside of this range is
    /// clamped; NaN is ignored. A note is cut at [`MAX_NOTE`] characters, and not even formatted if reports
    /// have no receiver.
    pub fn report(&self, fraction: f64, note: impl fmt::Display) {
        if let Some(hear) = &self.0
            && let Some(progress) = clamp_progress(fraction, note)
        {
            hear(progress);
        }
    }
}

/// The report within its bounds; `None` for NaN.
pub(crate) fn clamp_progress(fraction: f64, note: impl fmt::Display) -> Option<Progress> {
    if fraction.is_nan() {
        return None;
    }
    let mut short = TruncatedNote::default();
    // An error only means that the rest was cut.
    let _ = write!(short, "{note}");
    Some(Progress {
        fraction: fraction.clamp(0.0, 1.0),
        note: short.text,
    })
}

/// Text that is cut after [`MAX_NOTE`] characters.
#[derive(Default)]
struct TruncatedNote {
    text: String,
    length: usize,
}

impl Write for TruncatedNote {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.length == MAX_NOTE {
                return Err(fmt::Error);
            }
            self.text.push(character);
            self.length += 1;
        }
        Ok(())
    }
}

/// The peer of a connection, as a method sees it.
///
/// ```
/// use pyroxene_common::scope::{Caller, Scope, current};
///
/// fn greeting() -> String {
///     let caller = current().caller;
///     match &caller.identity {
///         Some(identity) => format!("Hello, user {}", identity.name),
///         None => format!("Hello, whoever calls from {}", caller.host()),
///     }
/// }
///
/// let caller = Caller { address: "192.0.2.7:50311".to_owned(), ..Caller::default() };
/// let scope = Scope { caller: caller.into(), ..Scope::default() };
/// assert_eq!(scope.enter(greeting), "Hello, whoever calls from 192.0.2.7");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The address of the peer, as text; empty for a call within the process.
    pub address: String,
    /// The name that it gave in its hello.
    pub name: String,
    /// Its identity, where authentication is on.
    pub identity: Option<Arc<Identity>>,
    /// The key of its process, with which it has signed its hello, where authentication is on.
    pub key: Option<HolderId>,
    /// The holder of its TLS certificate, if it has one.
    pub certificate: Option<CertificateHolder>,
    /// The challenge to which logins over its connection are bound.
    pub login: LoginChallenge,
}

/// The address of a peer without the port: all connections of a host are one caller.
pub fn host_of(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => address,
    }
}

impl Caller {
    /// The address without the port.
    pub fn host(&self) -> &str {
        host_of(&self.address)
    }

    /// The name by which it takes turns with other callers: that of its identity, or its host without one.
    pub fn turn_name(&self) -> &str {
        match &self.identity {
            Some(identity) => &identity.name,
            None => self.host(),
        }
    }

    /// Whether it may be a process on another machine: its address is no loopback address.
    ///
    /// ```
    /// use pyroxene_common::scope::Caller;
    ///
    /// let from = |address: &str| Caller { address: address.to_owned(), ..Caller::default() };
    /// assert!(from("192.0.2.7:50311").may_be_remote());
    /// assert!(!from("[::1]:50311").may_be_remote());
    /// ```
    pub fn may_be_remote(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        let address = host.split('%').next().unwrap_or(host).parse::<IpAddr>();
        address.is_ok_and(|address| !address.to_canonical().is_loopback())
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// The scope of the call that runs on this thread; an empty one outside of a call.
pub fn current() -> Scope {
    CURRENT.with(|current| current.borrow().clone().unwrap_or_default())
}

/// The waiting answers on the connection of the call that runs on this thread. A method that makes large
/// answers with little work of its own first waits for its [`wait_for_turn`](AnswerQueue::wait_for_turn).
pub fn answers() -> AnswerQueue {
    CURRENT.with(|current| match &*current.borrow() {
        Some(scope) => scope.answers.clone(),
        None => AnswerQueue::default(),
    })
}

/// The token that is cancelled once no caller waits for the answer of the call that runs on this thread of a
/// compute pool. Long loops should check it now and then, and may pass clones of it to other threads.
///
/// ```
/// use pyroxene_common::scope::{Scope, cancellation};
///
/// fn count() -> u64 {
///     let cancellation = cancellation();
///     (0..1_000_000).take_while(|_| !cancellation.is_cancelled()).count() as u64
/// }
///
/// let scope = Scope::default();
/// assert_eq!(scope.enter(count), 1_000_000);
/// scope.cancellation.cancel();
/// assert_eq!(scope.enter(count), 0, "nobody waits for the answer");
/// ```
pub fn cancellation() -> CancellationToken {
    current().cancellation
}

/// Reports the progress of the call that runs on this thread: the completed `fraction`, from 0 to 1, and a
/// note. Callers that asked for reports receive at most ten per second. If no caller asked, it costs almost
/// nothing. See [`Reporter::report`] for the bounds.
///
/// A method that distributes its work over other threads gives them its `current().reporter`.
///
/// ```
/// use pyroxene_common::scope::progress;
///
/// fn method(rows: &[u64]) -> u64 {
///     let mut sum = 0;
///     for (done, row) in rows.iter().enumerate() {
///         sum += row;
///         progress(done as f64 / rows.len() as f64, format_args!("row {done}"));
///     }
///     sum
/// }
/// assert_eq!(method(&[1, 2, 3]), 6, "also if nobody listens");
/// ```
pub fn progress(fraction: f64, note: impl fmt::Display) {
    let reporter = CURRENT.with(|current| {
        let current = current.borrow();
        current.as_ref().and_then(|scope| scope.reporter.0.clone())
    });
    if reporter.is_some() {
        Reporter(reporter).report(fraction, note);
    }
}

/// What calls that a method makes take from its own call: its deadline and trace, and its metadata.
pub type OuterCall = (Option<tarpc::context::Context>, Option<Arc<Metadata>>);

/// That of the call that runs on this thread; `None` outside of a call.
pub fn outer_call() -> Option<OuterCall> {
    CURRENT.with(|current| {
        let current = current.borrow();
        let scope = current.as_ref()?;
        Some((scope.call, scope.metadata.clone()))
    })
}

/// Records the call that begins in the scope of this thread.
pub(crate) fn set_call(context: tarpc::context::Context) {
    CURRENT.with(|current| {
        if let Some(scope) = &mut *current.borrow_mut() {
            scope.call = Some(context);
        }
    });
}

impl Scope {
    /// The scope of one of its calls.
    pub(crate) fn of_call(&self, context: tarpc::context::Context) -> Self {
        Self {
            call: Some(context),
            ..self.clone()
        }
    }

    /// Runs `work` in this scope, on this thread.
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let _restore = RestoreScope(CURRENT.with(|current| current.replace(Some(self.clone()))));
        work()
    }

    /// Polls `future` in this scope, on whichever thread it is polled.
    pub fn wrap<F: Future + Unpin>(self, future: F) -> Scoped<F> {
        Scoped {
            scope: self,
            future,
        }
    }
}

/// Restores the previous scope, also when the work panics.
struct RestoreScope(Option<Scope>);

impl Drop for RestoreScope {
    fn drop(&mut self) {
        CURRENT.with(|current| current.replace(self.0.take()));
    }
}

/// A future that is polled within a scope.
#[derive(Debug)]
pub struct Scoped<F> {
    scope: Scope,
    future: F,
}

impl<F> Scoped<F> {
    /// The scope.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl<F: Future + Unpin> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let future = Pin::new(&mut this.future);
        this.scope.enter(|| future.poll(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn reports(work: impl FnOnce()) -> Vec<(f64, String)> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let scope = Scope {
            reporter: Reporter::new({
                let heard = Arc::clone(&heard);
                move |progress| {
                    heard
                        .lock()
                        .unwrap()
                        .push((progress.fraction, progress.note))
                }
            }),
            ..Scope::default()
        };
        scope.enter(work);
        heard.lock().unwrap().clone()
    }

    #[test]
    fn a_report_is_brought_within_its_bounds() {
        let seen = reports(|| {
            progress(-1.0, "a");
            progress(f64::NAN, "b");
            progress(f64::INFINITY, "c");
            progress(0.25, "ä".repeat(MAX_NOTE + 1));
        });
        let long = "ä".repeat(MAX_NOTE);
        let expected = [(0.0, "a".to_owned()), (1.0, "c".to_owned()), (0.25, long)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_note_that_nobody_hears_is_not_formatted() {
        struct Loud;
        impl fmt::Display for Loud {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("it was formatted")
            }
        }
        progress(0.5, Loud);
        Scope::default().enter(|| progress(0.5, Loud));
        current().reporter.report(0.5, Loud);
    }

    #[test]
    fn another_thread_can_report_for_the_call() {
        let seen = reports(|| {
            let reporter = current().reporter;
            let other = std::thread::spawn(move || reporter.report(0.5, format_args!("{}", 2)));
            other.join().unwrap();
        });
        assert_eq!(seen, [(0.5, "2".to_owned())]);
    }
}
