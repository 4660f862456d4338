//! Sessions: calls that go to one instance, where they have a state of their own.

use super::{Proxy, call::ProxyCall};
use crate::{
    client::Client,
    connect::expect_answer,
    error::{Attempt, AttemptLog, CallError},
    instance::{CountedSession, ObjectInstance},
    object_lookup::ObjectLookup,
    older::is_older,
};
use pyroxene_common::{
    channel::{AttemptError, ConnectionSession},
    interface::{CallStub, Interface},
    message::{EncodedRequest, RefusalReason},
    scope,
};
use std::{fmt, sync::Arc};
use tarpc::context;
use tokio::time::Instant;

/// A stub for a session with one instance of an object. Clones share the session, which ends when the last one is
/// dropped.
pub struct SessionProxy<I: Interface>(Arc<OpenSession<I>>);

struct OpenSession<I: Interface> {
    session: ConnectionSession<I::Response>,
    instance: CountedSession<I::Response>,
    /// It keeps the object watched, so that a dead worker is noticed.
    proxy: Proxy<I>,
}

impl<I: Interface> Clone for SessionProxy<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Interface> fmt::Debug for SessionProxy<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionProxy({}: {})", self.object_name(), I::NAME)
    }
}

impl Client {
    /// A session with one instance of an object: tarpc's client, whose calls all go to that instance. If the object
    /// has a state for each session, they share one that no other session sees.
    ///
    /// The session ends when the client that is returned and its clones are dropped. It is lost when its worker or
    /// the connection goes, or when it is idle for too long; then every further call fails with
    /// [`CallError::SessionLost`].
    ///
    /// ```no_run
    /// use pyroxene_client::CallError;
    /// use pyroxene_objects::interfaces::counter::Counter;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let counter = client.session::<Counter>("counter").await?;
    /// assert_eq!(counter.increment(context::current()).await?, 1);
    /// match counter.increment(context::current()).await {
    ///     Err(CallError::SessionLost(_)) => println!("begin again: the worker is gone"),
    ///     answer => assert_eq!(answer?, 2),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn session<I: Interface>(
        &self,
        name: &str,
    ) -> Result<I::Client<SessionProxy<I>>, CallError> {
        self.object::<I>(name).session().await
    }

    /// As [`session`](Self::session), but returns the stub itself, which knows its worker.
    pub async fn session_proxy<I: Interface>(
        &self,
        name: &str,
    ) -> Result<SessionProxy<I>, CallError> {
        self.object::<I>(name).session_proxy().await
    }
}

impl<I: Interface> ObjectLookup<I> {
    /// A session with one instance, whose calls have the options of this lookup: see [`Client::session`].
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::counter::Counter;
    /// use std::time::Duration;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let quick = client.object::<Counter>("counter").deadline(Duration::from_millis(200));
    /// let counter = quick.session().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// No instance could begin one.
    pub async fn session(self) -> Result<I::Client<SessionProxy<I>>, CallError> {
        self.session_proxy().await.map(Into::into)
    }

    /// As [`session`](Self::session), but returns the stub itself, which knows its worker.
    ///
    /// # Errors
    ///
    /// No instance could begin one.
    pub async fn session_proxy(self) -> Result<SessionProxy<I>, CallError> {
        self.proxy().await?.begin_session(context::current()).await
    }
}

impl<I: Interface> Proxy<I> {
    /// Begins a session, at the instance that has the fewest sessions of this client if that is possible.
    async fn begin_session(&self, context: context::Context) -> Result<SessionProxy<I>, CallError> {
        let nothing = EncodedRequest::Small(Vec::new());
        let object = &self.object.name;
        let outer = scope::outer_call().and_then(|(outer, _)| outer);
        let (outer, time) = (outer.as_ref(), self.options.deadline);
        let mut call = ProxyCall::<I>::new(object, context, outer, time, usize::MAX, Ok(nothing))?;
        call.method = "(session)";
        loop {
            let first = self.with_fewest_sessions(&call);
            let reached = self.connect_instance(&mut call, first).await?;
            let began = Instant::now();
            let instance = reached.instance.begin_session();
            match reached.connection.open_session(call.deadline).await {
                Ok(session) => {
                    return Ok(SessionProxy(Arc::new(OpenSession {
                        session,
                        instance,
                        proxy: self.clone(),
                    })));
                }
                Err(error) => {
                    let now = Instant::now();
                    reached.instance.failed(&error, now - began, now);
                    self.after_failure(&mut call, reached.instance, error)?;
                }
            }
        }
    }

    fn with_fewest_sessions(
        &self,
        call: &ProxyCall<'_, I>,
    ) -> Option<Arc<ObjectInstance<I::Response>>> {
        let wanted = self.wanted(call);
        if wanted.selection.key.is_some() || wanted.selection.only.is_some() {
            // It is picked as for a call.
            return None;
        }
        let instances = self.object.instances();
        let untried = instances.iter().filter(|instance| {
            instance.takes_all_calls()
                && wanted.accepts(instance)
                && !call.tried.iter().any(|tried| Arc::ptr_eq(tried, instance))
        });
        let fewest = untried.min_by_key(|instance| (instance.sessions(), rand::random::<u32>()));
        fewest.cloned()
    }
}

impl<I: Interface> SessionProxy<I> {
    /// The object's name.
    pub fn object_name(&self) -> &str {
        self.0.proxy.object_name()
    }

    /// The name of the worker that has the session, or its endpoint if it has no name.
    pub fn worker(&self) -> &str {
        self.0.instance.0.name()
    }

    fn not_sent(&self, call: &ProxyCall<'_, I>, error: AttemptError) -> CallError {
        let instance = &self.0.instance.0;
        let attempt = Attempt {
            worker: instance.name().to_owned(),
            endpoint: instance.key.endpoint.clone(),
            ended_after: call.began.elapsed(),
            error,
        };
        CallError::of_one_attempt(self.object_name(), call.method, attempt)
    }

    async fn answer(&self, mut call: ProxyCall<'_, I>) -> Result<I::Response, CallError> {
        let (session, instance) = (&self.0.session, &self.0.instance.0);
        let version = session.connection().interface_version();
        if is_older::<I>(version) {
            let encoded = call.encoded_for(version);
            call.encoded = encoded.map_err(|error| self.not_sent(&call, error))?;
        }
        let counted = instance.begin_call(call.now);
        let called = session.call(&call.context, &call.encoded, call.streams.as_deref());
        let outcome = match called.await {
            Ok(response) => expect_answer::<I>(call.request_index, response, session.connection()),
            Err(error) => Err(error),
        };
        drop(counted);
        let now = Instant::now();
        match (&outcome, &mut call.span) {
            (Ok(_), Some(span)) => span.done(),
            (Err(error), Some(span)) => span.fail(error.kind()),
            (_, None) => {}
        }
        match &outcome {
            Ok(_) => instance.succeeded(now - call.now, now),
            // That says nothing of the instance: it was idle for too long.
            Err(AttemptError::Refused(refusal)) if refusal.reason == RefusalReason::SessionLost => {
            }
            Err(error) => instance.failed(error, now - call.now, now),
        }
        outcome.map_err(|error| {
            kind(&error)(Box::new(AttemptLog {
                object: self.object_name().to_owned(),
                method: call.method.to_owned(),
                attempts: vec![Attempt {
                    worker: instance.name().to_owned(),
                    endpoint: instance.key.endpoint.clone(),
                    ended_after: now - call.began,
                    error,
                }],
                ..AttemptLog::default()
            }))
        })
    }
}

/// What the failure of a call in a session means.
fn kind(error: &AttemptError) -> fn(Box<AttemptLog>) -> CallError {
    match error {
        // The session was that connection's.
        AttemptError::NotSent(_) | AttemptError::MaybeRan(_) => CallError::SessionLost,
        AttemptError::Refused(refusal) => match refusal.reason {
            RefusalReason::SessionLost | RefusalReason::Draining => CallError::SessionLost,
            RefusalReason::Gone => CallError::Gone,
            RefusalReason::Overloaded | RefusalReason::NotHolder => CallError::Unavailable,
            RefusalReason::Denied | RefusalReason::Unauthenticated | RefusalReason::Limited => {
                CallError::Refused
            }
        },
        AttemptError::Unauthenticated(_) => CallError::Refused,
        AttemptError::DeadlineExceeded { .. } => CallError::DeadlineExceeded,
        AttemptError::TooLarge { .. } | AttemptError::Encoding(_) => CallError::NotSent,
        AttemptError::Failed(_) => CallError::Failed,
    }
}

impl<I: Interface> CallStub for SessionProxy<I> {
    type Request = I::Request;
    type Response = I::Response;
    type Error = CallError;

    fn answered_another_method() -> CallError {
        CallError::other_method()
    }

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, CallError> {
        let call = self.0.proxy.begin_owned(context, request)?;
        match self.0.proxy.is_plain {
            true => self.answer(call).await,
            false => {
                let calling = self.0.proxy.intercepted(call, |call| self.answer(call));
                Box::pin(calling).await
            }
        }
    }
}
