//! The stub for an object. `attempt` has the loop of a call: until it is answered or must not be attempted again.

mod attempt;
mod batch;
mod call;
mod connecting;
mod hedge;
mod metadata;
mod once;
mod pick;
mod recorded;
mod remote;
mod session;
mod streaming;

pub use once::CallOnceOptions;
pub(crate) use pick::Wanted;
pub use remote::RemoteProxy;
pub use session::SessionProxy;

use crate::{
    deadline::DEFAULT_DEADLINE, error::CallError, instance::ObjectInstance,
    nameservers::ClientNameServers, object::WatchedObject, older::needed_version,
    options::CallOptions, retry::RetryBudget,
};
use call::ProxyCall;
use metadata::Answered;
use pyroxene_common::{
    channel::ProgressListener,
    codec::CodecError,
    interface::{CallStub, Interface},
    message::EncodedRequest,
    scope, spans,
};
use serde::Serialize;
use std::{fmt, sync::Arc};
use tarpc::{
    client::{RpcError, stub::Stub},
    context,
};
use tokio::time::Instant;

/// A stub for an object of the interface `I`. Clones share their state.
pub struct Proxy<I: Interface> {
    budget: Arc<RetryBudget>,
    options: Arc<CallOptions>,
    nameservers: Arc<ClientNameServers>,
    object: Arc<WatchedObject<I::Response>>,
    /// Whether the options change nothing of the usual path of a call.
    is_plain: bool,
    /// Whether calls wait for an instance to appear.
    weak: bool,
}

impl<I: Interface> Clone for Proxy<I> {
    fn clone(&self) -> Self {
        Self {
            budget: Arc::clone(&self.budget),
            options: Arc::clone(&self.options),
            nameservers: Arc::clone(&self.nameservers),
            object: Arc::clone(&self.object),
            is_plain: self.is_plain,
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

impl<I: Interface> Proxy<I> {
    pub(crate) fn new(
        budget: Arc<RetryBudget>,
        options: CallOptions,
        nameservers: Arc<ClientNameServers>,
        object: Arc<WatchedObject<I::Response>>,
        weak: bool,
    ) -> Self {
        Self {
            budget,
            is_plain: options.is_plain(),
            options: Arc::new(options),
            nameservers,
            object,
            weak,
        }
    }

    /// The object's name.
    pub fn object_name(&self) -> &str {
        &self.object.name
    }

    /// A stub whose calls are made in another way, for example for one call. It costs little: it shares the
    /// connections and all that is known of the instances.
    ///
    /// ```no_run
    /// use pyroxene_objects::interfaces::echo::{Echo, echo::EchoClient};
    /// use std::time::Duration;
    /// use tarpc::context;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let proxy = client.proxy::<Echo>("echo").await?;
    /// let quick = proxy.with(|calls| calls.deadline(Duration::from_millis(50)).max_attempts(1));
    /// EchoClient::from(quick).sleep(context::current(), 10).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with(&self, change: impl FnOnce(CallOptions) -> CallOptions) -> Self {
        let options = change(CallOptions::clone(&self.options));
        Self {
            is_plain: options.is_plain(),
            options: Arc::new(options),
            ..self.clone()
        }
    }

    /// Until when a call that begins now may take, if its context says nothing of that.
    pub(crate) fn default_deadline(&self) -> Instant {
        Instant::now() + self.options.deadline.unwrap_or(DEFAULT_DEADLINE)
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
        let mut call = self.begin(context, request)?;
        call.listener = listener;
        self.answer(call).await
    }

    /// Calls the method of `like` with the encoding of `message`. `message` must encode to a request of
    /// that method; its bulk values need not be copied. The call goes to the instance with the fewest
    /// calls of this client in flight. If its answer is lost and the method is idempotent, the call is
    /// retried at another instance.
    pub async fn call_as(
        &self,
        context: context::Context,
        like: &I::Request,
        message: &(impl Serialize + Sync),
    ) -> Result<Response<I::Response>, CallError> {
        let index = I::request_index(like);
        let mut call = self.begin_encoded(context, index, EncodedRequest::new(message))?;
        call.prefers_fewest_in_flight = true;
        call.needs = needed_version::<I>(like);
        self.answer(call).await
    }

    fn begin<'a>(
        &self,
        context: context::Context,
        request: &I::Request,
    ) -> Result<ProxyCall<'a, I>, CallError> {
        let index = I::request_index(request);
        let mut call = self.begin_encoding(context, index, || EncodedRequest::new(request))?;
        call.needs = needed_version::<I>(request);
        call.name_span(&self.object.name, request);
        Ok(call)
    }

    /// The same for a request that is not needed afterwards: its large parts are sent without a copy.
    fn begin_owned<'a>(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<ProxyCall<'a, I>, CallError> {
        let index = I::request_index(&request);
        let needs = needed_version::<I>(&request);
        let encode = || EncodedRequest::with_zero_copy_parts(request, I::request_parts);
        let mut call = self.begin_encoding(context, index, encode)?;
        call.needs = needs;
        Ok(call)
    }

    /// Begins a call of the method with this index, with its encoded request.
    fn begin_encoded<'a>(
        &self,
        context: context::Context,
        request_index: usize,
        encoded: Result<EncodedRequest, CodecError>,
    ) -> Result<ProxyCall<'a, I>, CallError> {
        self.budget.count_call();
        let (object, deadline) = (&self.object.name, self.options.deadline);
        let outer = scope::outer_call();
        let inherited = outer.as_ref().and_then(|(outer, _)| outer.as_ref());
        let mut call =
            ProxyCall::new(object, context, inherited, deadline, request_index, encoded)?;
        if spans::are_recorded() {
            call.begin_span(object);
        }
        let metadata = outer.as_ref().and_then(|(_, metadata)| metadata.as_deref());
        if !self.is_plain || metadata.is_some() {
            if self.options.selection.only.is_some() {
                call.ask_once();
            }
            self.add_metadata(&mut call, metadata)?;
        }
        Ok(call)
    }

    /// Makes a call, and returns the answer with the worker that gave it.
    async fn answer(&self, call: ProxyCall<'_, I>) -> Result<Response<I::Response>, CallError> {
        let (response, instance, attempts) = self.run_any(call).await?;
        Ok(Response::new(response, &instance, attempts))
    }

    /// Makes a call, which the interceptors see if there are any.
    async fn run_any(&self, call: ProxyCall<'_, I>) -> Result<Answered<I::Response>, CallError> {
        match self.is_plain {
            true => self.run(call).await,
            false => Box::pin(self.intercepted(call, |call| self.run(call))).await,
        }
    }
}

impl<I: Interface> CallStub for Proxy<I> {
    type Request = I::Request;
    type Response = I::Response;
    type Error = CallError;

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, CallError> {
        let call = self.begin_owned(context, request)?;
        let (response, ..) = self.run_any(call).await?;
        Ok(response)
    }

    fn answered_another_method() -> CallError {
        CallError::other_method()
    }
}

/// For tarpc's own generated clients, whose errors are tarpc's.
impl<I: Interface> Stub for Proxy<I> {
    type Req = I::Request;
    type Resp = I::Response;

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, RpcError> {
        Ok(CallStub::call(self, context, request).await?)
    }
}
