//! The stub for an object: picks an instance, calls it, and decides after a failure whether to retry.

mod batch;
mod connecting;
mod encoded;
mod once;
mod streaming;

pub use once::CallOnceOptions;

use crate::{
    balance::NoPick,
    client::Client,
    connect::expect_answer,
    delegates::DelegatedCall,
    error::{Attempt, AttemptLog, AttemptRecorder, CallError},
    instance::ObjectInstance,
    object::{Availability, WatchedObject},
    retry::{Blame, Losses, RetryDecision, judge},
};
use connecting::{ConnectedInstance, InstanceChoice};
use futures::future::{Either, select};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, ProgressListener, StreamInputs},
    codec::CodecError,
    interface::{Interface, Method, Outcome},
    message::EncodedRequest,
};
use rand::{RngExt, rngs::SmallRng};
use std::{cell::RefCell, fmt, pin::pin, sync::Arc, time::Duration};
use tarpc::{
    client::{RpcError, stub::Stub},
    context, trace,
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::Instrument;

/// A stub for an object of the interface `I`. Clones share their state.
pub struct Proxy<I: Interface> {
    client: Client,
    object: Arc<WatchedObject<I::Response>>,
    /// Whether calls wait for an instance to appear.
    weak: bool,
}

impl<I: Interface> Clone for Proxy<I> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            object: Arc::clone(&self.object),
            weak: self.weak,
        }
    }
}

impl<I: Interface> fmt::Debug for Proxy<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}: {})", self.object.name, I::NAME)
    }
}

/// An answer, with the worker that gave it and the number of attempts.
#[derive(Debug)]
pub struct Response<T> {
    /// The answer.
    pub response: T,
    /// The name of the worker that gave it, or its endpoint if it has no name.
    pub worker: String,
    /// The number of attempts.
    pub attempts: usize,
}

impl<T> Response<T> {
    fn new(response: T, instance: &ObjectInstance<T>, attempts: usize) -> Self {
        Self {
            response,
            worker: instance.name().to_owned(),
            attempts,
        }
    }
}

/// A call in progress.
struct ProxyCall<'a, I: Interface> {
    context: context::Context,
    deadline: Instant,
    began: Instant,
    /// The time of the last decision.
    now: Instant,
    method: &'static str,
    repeatable: bool,
    request_index: usize,
    encoded: EncodedRequest,
    listener: Option<&'a ProgressListener>,
    on_behalf: Option<DelegatedCall<'a>>,
    /// The instances that are not tried again in this round.
    tried: Vec<Arc<ObjectInstance<I::Response>>>,
    attempts: AttemptRecorder,
    losses: Losses,
    /// The streams of its parameters, if the method has streams.
    streams: Option<Box<StreamInputs>>,
    /// The number of attempts that were sent. Only the deadline bounds the others.
    sent: usize,
    rounds: u32,
    /// Whether the call goes to the instance with the fewest calls of this client in flight.
    prefers_fewest_in_flight: bool,
}

impl<I: Interface> Proxy<I> {
    pub(crate) fn new(client: Client, object: Arc<WatchedObject<I::Response>>, weak: bool) -> Self {
        Self {
            client,
            object,
            weak,
        }
    }

    /// The object's name.
    pub fn object_name(&self) -> &str {
        &self.object.name
    }

    /// The number of known instances.
    pub fn instance_count(&self) -> usize {
        self.object.instances().len()
    }

    /// Makes a call, and returns the answer with the worker's name and the number of attempts.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::calculator::{Calculator, calculator::CalculatorRequest};
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let calculator = client.proxy::<Calculator>("calculator").await?;
    /// let request = CalculatorRequest::Factorial { n: 30 };
    /// let answered = calculator.call_traced(context::current(), &request).await?;
    /// println!("worker {} answered at attempt {}", answered.worker, answered.attempts);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call_traced(
        &self,
        context: context::Context,
        request: &I::Request,
    ) -> Result<Response<I::Response>, CallError> {
        self.call_with_listener(context, request, None).await
    }

    /// As [`call_traced`](Self::call_traced). `listener` receives the progress that the method reports,
    /// from every attempt.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::calculator::{Calculator, calculator::CalculatorRequest};
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let calculator = client.proxy::<Calculator>("calculator").await?;
    /// let (listener, progress) = tokio::sync::watch::channel(None);
    /// let request = CalculatorRequest::Compute { iterations: 1_000_000_000 };
    /// let call = calculator.call_with_progress(context::current(), &request, &listener);
    /// let answered = call.await?;
    /// println!("the last report was {:?}", *progress.borrow());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call_with_progress(
        &self,
        context: context::Context,
        request: &I::Request,
        listener: &ProgressListener,
    ) -> Result<Response<I::Response>, CallError> {
        self.call_with_listener(context, request, Some(listener))
            .await
    }

    pub(crate) async fn call_with_listener(
        &self,
        context: context::Context,
        request: &I::Request,
        listener: Option<&ProgressListener>,
    ) -> Result<Response<I::Response>, CallError> {
        let call = self.begin(context, request, listener)?;
        let (response, instance, attempts) = self.run(call).await?;
        Ok(Response::new(response, &instance, attempts))
    }

    /// Attempts a call until it is answered or must not be attempted again.
    ///
    /// Rarely used parts are boxed: this future is moved and stored for every call, so it should be no
    /// larger than the usual path needs, which picks an instance at once and calls it over an open
    /// connection.
    async fn run(
        &self,
        mut call: ProxyCall<'_, I>,
    ) -> Result<(I::Response, Arc<ObjectInstance<I::Response>>, usize), CallError> {
        loop {
            let picked = self.pick_now(&call).ok();
            let open = picked.as_ref().and_then(|picked| picked.open_connection());
            let reached = match (picked, open) {
                (Some(instance), Some(connection)) => ConnectedInstance {
                    instance,
                    connection,
                    _slot: None,
                },
                (picked, _) => {
                    Box::pin(self.connect_instance(&mut call, InstanceChoice::Any, picked)).await?
                }
            };
            let (outcome, instance) = if self.client.hedge_after().is_some() && call.may_be_hedged()
            {
                Box::pin(self.attempt_and_hedge(&mut call, reached)).await
            } else {
                (self.attempt(&call, &reached).await, reached.instance)
            };
            match outcome {
                Ok(response) => return Ok((response, instance, call.attempts.count() + 1)),
                Err(error) => self.after_failure(&mut call, instance, error)?,
            }
        }
    }

    fn begin<'a>(
        &self,
        context: context::Context,
        request: &I::Request,
        listener: Option<&'a ProgressListener>,
    ) -> Result<ProxyCall<'a, I>, CallError> {
        let index = I::request_index(request);
        if I::METHODS.get(index).is_some_and(Method::streams) {
            let encode = || EncodedRequest::new(request);
            return self.begin_streaming(context, index, encode, listener);
        }
        self.begin_encoded(context, index, EncodedRequest::new(request), listener)
    }

    /// Begins a call of the method with this index, with its encoded request.
    fn begin_encoded<'a>(
        &self,
        mut context: context::Context,
        request_index: usize,
        encoded: Result<EncodedRequest, CodecError>,
        listener: Option<&'a ProgressListener>,
    ) -> Result<ProxyCall<'a, I>, CallError> {
        if context.trace_context.trace_id.is_none() {
            context.trace_context.trace_id = random_trace_id();
        }
        self.client.count_call();
        let now = Instant::now();
        let method = I::METHODS.get(request_index);
        let encoded = encoded.map_err(|error| {
            CallError::NotSent(Box::new(AttemptLog {
                object: self.object.name.clone(),
                method: method.map_or("", |method| method.name).to_owned(),
                reason: Some(format!("the request cannot be encoded: {error}")),
                ..AttemptLog::default()
            }))
        })?;
        Ok(ProxyCall {
            context,
            deadline: Instant::from_std(context.deadline),
            began: now,
            now,
            method: method.map_or("", |method| method.name),
            repeatable: method.is_some_and(|method| method.repeatable),
            request_index,
            encoded,
            listener,
            on_behalf: None,
            tried: Vec::new(),
            attempts: AttemptRecorder::default(),
            losses: Losses::default(),
            streams: None,
            sent: 0,
            rounds: 0,
            prefers_fewest_in_flight: false,
        })
    }

    fn error(
        &self,
        kind: impl FnOnce(Box<AttemptLog>) -> CallError,
        call: &mut ProxyCall<'_, I>,
        reason: Option<String>,
    ) -> CallError {
        let attempts = std::mem::take(&mut call.attempts);
        let error = kind(Box::new(AttemptLog {
            object: self.object.name.clone(),
            method: call.method.to_owned(),
            reason,
            attempts: attempts.listed,
            unlisted: attempts.unlisted,
        }));
        match error {
            // `Unavailable` promises that the call has not run.
            CallError::Unavailable(trail) if trail.may_have_run() => CallError::MaybeRan(trail),
            error => error,
        }
    }

    fn pick_now(
        &self,
        call: &ProxyCall<'_, I>,
    ) -> Result<Arc<ObjectInstance<I::Response>>, NoPick> {
        let instances = self.object.instances();
        if call.prefers_fewest_in_flight {
            return self
                .object
                .balancer
                .pick_fewest_in_flight(&instances, &call.tried, call.now);
        }
        self.object.balancer.pick(&instances, &call.tried, call.now)
    }

    async fn wait_for_instance(&self, call: &mut ProxyCall<'_, I>) -> Result<(), CallError> {
        type WaitFailure = (fn(Box<AttemptLog>) -> CallError, String);
        let unavailable =
            |reason: &str| -> WaitFailure { (CallError::Unavailable, reason.to_owned()) };
        let mut updates = self.object.updates();
        let ready = async {
            loop {
                let instances = self.object.instances();
                if instances.iter().any(|instance| !instance.is_draining()) {
                    return Ok(());
                }
                drop(instances);
                match self.object.availability() {
                    // Every instance drains. A replacement may already be starting.
                    Availability::Some => sleep(DRAINING_GRACE).await,
                    Availability::Undecided => {}
                    Availability::NotHosted if !self.weak => return Err(unavailable(NOT_HOSTED)),
                    Availability::Refused(sentence) => return Err((CallError::Refused, sentence)),
                    Availability::NoNameServerReachable if !self.weak => {
                        return Err(unavailable(NO_NAMESERVER));
                    }
                    Availability::NotHosted
                    | Availability::NoNameServerReachable
                    | Availability::NoNameServerAnswers => {}
                }
                // The channel stays open: the object owns the sender.
                let _ = timeout_at(Instant::now() + UPDATE_POLL_INTERVAL, updates.changed()).await;
            }
        };
        match timeout_at(call.deadline, ready).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err((kind, reason))) => {
                // Nothing was awaited so far. A caller that retries in a loop must not block the other
                // tasks of its thread.
                tokio::task::consume_budget().await;
                Err(self.error(kind, call, Some(reason)))
            }
            Err(_) => {
                let (kind, reason): WaitFailure = match self.object.availability() {
                    Availability::NoNameServerReachable => unavailable(NO_NAMESERVER),
                    Availability::NoNameServerAnswers | Availability::Undecided
                        if !self.object.in_contact() && !self.object.is_missing() =>
                    {
                        (CallError::DeadlineExceeded, self.client.no_answer_in_time())
                    }
                    _ => unavailable(NOT_HOSTED),
                };
                Err(self.error(kind, call, Some(reason)))
            }
        }
    }

    /// Makes an attempt, and a second one in parallel if the first takes too long.
    async fn attempt_and_hedge(
        &self,
        call: &mut ProxyCall<'_, I>,
        reached: ConnectedInstance<I::Response>,
    ) -> (
        Result<I::Response, AttemptError>,
        Arc<ObjectInstance<I::Response>>,
    ) {
        let delay = self.client.hedge_after().unwrap_or_default();
        let instance = Arc::clone(&reached.instance);
        let first = pin!(self.attempt(call, &reached));
        let first = match select(first, pin!(sleep_until(Instant::now() + delay))).await {
            Either::Left((outcome, _)) => return (outcome, instance),
            Either::Right(((), first)) => first,
        };
        let mut tried = call.tried.clone();
        tried.push(Arc::clone(&instance));
        let now = Instant::now();
        let other = self
            .object
            .balancer
            .pick(&self.object.instances(), &tried, now);
        let Ok(other) = other else {
            return (first.await, instance);
        };
        if !self.client.withdraw_retry(now) {
            return (first.await, instance);
        }
        let second = pin!(self.connect_and_attempt(call, &other));
        match select(first, second).await {
            Either::Left((Ok(response), _)) => (Ok(response), instance),
            Either::Right((Ok(response), _)) => (Ok(response), Arc::clone(&other)),
            // One attempt failed; the other may still answer.
            Either::Left((Err(_), second)) => (second.await, Arc::clone(&other)),
            Either::Right((Err(_), first)) => (first.await, instance),
        }
    }

    async fn connect_and_attempt(
        &self,
        call: &ProxyCall<'_, I>,
        instance: &Arc<ObjectInstance<I::Response>>,
    ) -> Result<I::Response, AttemptError> {
        let connection = timeout_at(call.deadline, instance.connection()).await;
        let late = |_| AttemptError::DeadlineExceeded { sent: false };
        let reached = ConnectedInstance {
            instance: Arc::clone(instance),
            connection: connection.map_err(late)??,
            _slot: None,
        };
        self.attempt(call, &reached).await
    }

    async fn attempt(
        &self,
        call: &ProxyCall<'_, I>,
        reached: &ConnectedInstance<I::Response>,
    ) -> Result<I::Response, AttemptError> {
        if tracing::enabled!(tracing::Level::DEBUG) {
            return Box::pin(self.attempt_logged(call, reached)).await;
        }
        self.attempt_unlogged(call, reached).await
    }

    async fn attempt_logged(
        &self,
        call: &ProxyCall<'_, I>,
        reached: &ConnectedInstance<I::Response>,
    ) -> Result<I::Response, AttemptError> {
        let span = tracing::debug_span!(
            "call",
            object = self.object.name,
            method = call.method,
            worker = reached.instance.name(),
            attempt = call.attempts.count() + 1,
            trace = %call.context.trace_context.trace_id,
        );
        async {
            let outcome = self.attempt_unlogged(call, reached).await;
            match &outcome {
                Ok(_) => tracing::debug!("answered"),
                Err(error) => tracing::debug!(%error, "no answer"),
            }
            outcome
        }
        .instrument(span)
        .await
    }

    async fn attempt_unlogged(
        &self,
        call: &ProxyCall<'_, I>,
        reached: &ConnectedInstance<I::Response>,
    ) -> Result<I::Response, AttemptError> {
        let instance = &reached.instance;
        let counted = instance.begin_call(call.now);
        let outcome = Self::call_on(call, &reached.connection).await;
        drop(counted);
        let now = Instant::now();
        match &outcome {
            Ok(response) if is_error::<I>(response) => instance.erred(now - call.now, now),
            Ok(_) => instance.succeeded(now - call.now, now),
            Err(error) => instance.failed(error, now - call.now, now),
        }
        outcome
    }

    async fn call_on(
        call: &ProxyCall<'_, I>,
        connection: &ClientConnection<I::Response>,
    ) -> Result<I::Response, AttemptError> {
        let response = match &call.streams {
            None => {
                let (context, encoded) = (&call.context, &call.encoded);
                connection
                    .call_with_progress(context, encoded, call.listener)
                    .await?
            }
            Some(streams) => Self::call_streaming_on(call, streams, connection).await?,
        };
        expect_answer::<I>(call.request_index, response, connection)
    }

    /// Decides whether another attempt follows.
    fn after_failure(
        &self,
        call: &mut ProxyCall<'_, I>,
        instance: Arc<ObjectInstance<I::Response>>,
        error: AttemptError,
    ) -> Result<(), CallError> {
        let verdict = match call.has_sent_items() {
            // What was taken from the streams cannot be sent again.
            true => judge(&error, call.repeatable).finally(),
            false => judge(&error, call.repeatable),
        };
        let now = Instant::now();
        call.now = now;
        call.sent += usize::from(!matches!(error, AttemptError::NotSent(_)));
        let alone = instance.ran_one_call();
        call.losses.record(instance.name(), &error, alone, now);
        call.attempts.push(Attempt {
            worker: instance.name().to_owned(),
            endpoint: instance.key.endpoint.clone(),
            ended_after: now - call.began,
            error,
        });
        if !call.tried.iter().any(|tried| Arc::ptr_eq(tried, &instance)) {
            call.tried.push(instance);
        }
        match verdict {
            RetryDecision::Final(kind) => Err(self.error(kind, call, None)),
            RetryDecision::TryElsewhere { costs_budget, last } => {
                match call.losses.blame() {
                    // `connect_instance` waits.
                    Blame::None | Blame::Wait(_) => {}
                    Blame::Poisonous(reason) => {
                        return Err(self.error(CallError::MaybeRan, call, Some(reason)));
                    }
                }
                if now >= call.deadline {
                    return Err(self.error(CallError::DeadlineExceeded, call, None));
                }
                if call.sent >= self.client.max_attempts() {
                    let reason = "its limit of attempts is reached";
                    return Err(self.error(last, call, Some(reason.to_owned())));
                }
                if costs_budget && !self.client.withdraw_retry(now) {
                    let reason = "the retry budget is used up";
                    return Err(self.error(last, call, Some(reason.to_owned())));
                }
                Ok(())
            }
        }
    }
}

/// Whether an answer is an error of the object.
fn is_error<I: Interface>(response: &I::Response) -> bool {
    matches!(I::outcome(response), Outcome::Failed(_))
}

const NOT_HOSTED: &str = "no live worker hosts it";
const NO_NAMESERVER: &str = "no name server can be reached";

/// How often a call that waits for an instance polls, besides the updates that it is notified of.
const UPDATE_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The pause between two checks for another instance while every known one drains.
const DRAINING_GRACE: Duration = Duration::from_millis(20);

/// Trace ids must be unique, but need not be secret, so a fast generator suffices.
fn random_trace_id() -> trace::TraceId {
    thread_local! {
        static RANDOM: RefCell<SmallRng> = RefCell::new(rand::make_rng());
    }
    let id: u128 = RANDOM.with_borrow_mut(|random| random.random());
    (id | 1).into()
}

impl<I: Interface> Stub for Proxy<I> {
    type Req = I::Request;
    type Resp = I::Response;

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, RpcError> {
        let index = I::request_index(&request);
        let encode = || EncodedRequest::with_zero_copy_parts(request, I::request_parts);
        let call = match I::METHODS.get(index).is_some_and(Method::streams) {
            true => self.begin_streaming(context, index, encode, None)?,
            false => self.begin_encoded(context, index, encode(), None)?,
        };
        let (response, ..) = self.run(call).await?;
        Ok(response)
    }
}
