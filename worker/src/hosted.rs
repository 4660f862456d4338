//! The steps of a call within a worker: it is admitted, counted, and run on the runtime or on the compute
//! pool.

mod observed;

use crate::{
    chaos::Chaos,
    compute::{ComputePermit, ComputePool},
    exclusive::HeldExclusiveNames,
    figures::{MeasuredCall, MeasuredStreams, ObjectMeter, WorkerMeters},
    instances::Instances,
    load::{DetachedCallGuard, LoadGauge},
    watchdog::WatchedMethods,
};
use pyroxene_client::Client;
use pyroxene_common::{
    channel::{
        CallFailure, Dispatch, StreamKeeper, Translation, TranslationFailure, keep_while_streaming,
    },
    codec::CodecError,
    interceptor::Interceptors,
    interface::{Interface, Outcome, Serves, decode_request},
    message::{Refusal, RefusalReason},
    scope::{self, Scope},
    spans,
};
use std::{io, marker::PhantomData, sync::Arc};
use tarpc::{ServerError, context};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The resources that a worker shares among its objects.
#[derive(Clone, Debug)]
pub struct WorkerContext {
    pub(crate) worker: Arc<str>,
    pub(crate) pool: ComputePool,
    pub(crate) gauge: LoadGauge,
    pub(crate) meters: WorkerMeters,
    pub(crate) held_names: HeldExclusiveNames,
    pub(crate) chaos: Chaos,
    /// What sees calls before they run.
    pub(crate) interceptors: Arc<Interceptors>,
    /// The maximum number of calls that run or wait at the same time, over all objects.
    pub(crate) max_calls: u64,
    /// Whether the names of all objects are exclusive.
    pub(crate) exclusive: bool,
    /// The client with which objects call the name servers.
    pub(crate) client: Client,
    /// Cancelled when the worker begins to drain. Calls that only wait for time to pass should end then.
    pub(crate) draining: CancellationToken,
}

impl WorkerContext {
    /// The worker's name.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// The compute pool for calls that keep a core busy.
    pub fn compute(&self) -> &ComputePool {
        &self.pool
    }

    /// A client of the worker's name servers, which calls as the worker.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Cancelled when the worker begins to drain. Calls that only wait for time to pass should end then.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }
}

/// An object of the interface `I` that is implemented by services of type `S`.
pub(crate) struct WorkerObject<I: Interface, S> {
    pub(crate) name: String,
    pub(crate) services: Instances<S>,
    pub(crate) is_heavy: fn(&I::Request) -> bool,
    pub(crate) exclusive: bool,
    pub(crate) watched_methods: WatchedMethods,
    pub(crate) meter: Arc<ObjectMeter>,
    pub(crate) worker_context: WorkerContext,
    pub(crate) interface: PhantomData<fn() -> I>,
}

impl<I, S> WorkerObject<I, S>
where
    I: Serves<S>,
    S: Clone + Send + Sync + 'static,
{
    /// Admits a call. Returns the fence of the object's name, if the name is exclusive.
    fn admit(&self) -> Result<Option<u64>, Refusal> {
        let surroundings = &self.worker_context;
        if surroundings.gauge.in_flight() >= surroundings.max_calls {
            return Err(Refusal {
                reason: RefusalReason::Overloaded,
                retry_after_ms: 20,
                message: "the worker is overloaded: its limit of calls is reached".to_owned(),
            });
        }
        match self.exclusive {
            true => Ok(Some(
                surroundings.held_names.check(&self.name, Instant::now())?,
            )),
            false => Ok(None),
        }
    }

    async fn run<T>(&self, context: context::Context, call: T) -> Result<T::Answer, CallFailure>
    where
        T: Translation<I::Request, I::Response>,
    {
        let fence = self.admit().map_err(CallFailure::Refused)?;
        let call = match CallInput::begin::<I::Response>(call) {
            Ok(call) => call,
            Err(unread) => return unread.outcome(),
        };
        let place = match call.is_heavy(self.is_heavy) {
            true => Some({
                // While a caller does not read its answers, no further ones are computed for it. Boxed,
                // so that the futures of light calls stay small.
                let answers = scope::answers();
                Box::pin(answers.wait_for_room()).await;
                self.worker_context
                    .pool
                    .admit()
                    .map_err(CallFailure::Refused)?
            }),
            false => None,
        };
        let (number, running) = self.worker_context.gauge.begin();
        self.inject_faults(number)
            .await
            .map_err(CallFailure::Failed)?;
        let mut streams = None;
        let answer = match fence {
            None => self.serve(context, call, place, &mut streams).await,
            // The method can read the fence from its scope.
            Some(fence) => {
                let scope = Scope {
                    fence: Some(fence),
                    ..scope::current()
                };
                let serving = Box::pin(self.serve(context, call, place, &mut streams));
                scope.wrap(serving).await
            }
        };
        if let Some(measured) = streams {
            // The call is in flight until the streams of its answer have ended.
            keep_while_streaming(RunningStreams {
                measured,
                _running: running.detach(),
            });
        }
        answer
    }

    /// Whether a method answers with a stream.
    const ANSWERS_STREAMS: bool = {
        let (mut rest, mut answers) = (I::METHODS, false);
        while let [method, others @ ..] = rest {
            answers |= method.answers_stream;
            rest = others;
        }
        answers
    };

    /// Ends the measurement of a call that its method has answered. If the answer has streams, it goes on in
    /// `streams`.
    fn answered(
        measured: MeasuredCall<'_>,
        method: usize,
        response: &Result<I::Response, ServerError>,
        streams: &mut Option<MeasuredStreams>,
    ) {
        if is_error::<I>(response) {
            measured.failed();
        } else if Self::ANSWERS_STREAMS
            && I::METHODS
                .get(method)
                .is_some_and(|method| method.answers_stream)
        {
            *streams = Some(measured.detach());
        }
    }

    /// Runs the method and encodes its answer. With a permit of the pool, both happen on the pool.
    async fn serve<T>(
        &self,
        context: context::Context,
        call: CallInput<T, I::Request>,
        place: Option<ComputePermit>,
        streams: &mut Option<MeasuredStreams>,
    ) -> Result<T::Answer, CallFailure>
    where
        T: Translation<I::Request, I::Response>,
    {
        let request = match (place, call) {
            (None, CallInput::Read(request)) => request,
            // A call that is not decoded yet counts as heavy, so it always has a permit.
            (None, CallInput::Unread(call)) => match call.read() {
                Ok(request) => request,
                Err(unread) => return unread.outcome(),
            },
            (Some(place), call) => {
                // Boxed, so that the futures of light calls stay small.
                let serving = Box::pin(self.serve_on_pool(context, call, place));
                match serving.await? {
                    PoolUse::Answered(answer, measured) => {
                        *streams = measured;
                        return answer;
                    }
                    PoolUse::OnlyRead(request) => request,
                }
            }
        };
        let service = self.services.of_call()?;
        let method = I::request_index(&request);
        let measured = self.meter.begin(method);
        let serving = I::serve(service, context, request);
        let response = self.watched_methods.run(method, serving).await;
        Self::answered(measured, method, &response, streams);
        let response = response.map_err(CallFailure::Failed)?;
        if T::is_quick(&response) {
            return Ok(T::write(response));
        }
        // The call has run, so it can no longer be refused.
        let place = self.worker_context.pool.admit_over_limit();
        let writing = place.run(async move { T::write(response) });
        Box::pin(writing).await.map_err(CallFailure::Failed)
    }

    /// Does all steps of a heavy call on the pool. If a call turns out to be light after it was decoded,
    /// it leaves the pool.
    async fn serve_on_pool<T>(
        &self,
        context: context::Context,
        call: CallInput<T, I::Request>,
        place: ComputePermit,
    ) -> Result<PoolUse<T::Answer, I::Request>, CallFailure>
    where
        T: Translation<I::Request, I::Response>,
    {
        let (service, is_heavy) = (self.services.of_call()?, self.is_heavy);
        let meter = Arc::clone(&self.meter);
        let served = place.run(async move {
            let request = match call {
                CallInput::Read(request) => request,
                CallInput::Unread(call) => match call.read() {
                    Ok(request) if !is_heavy(&request) => return PoolUse::OnlyRead(request),
                    Ok(request) => request,
                    Err(unread) => return PoolUse::Answered(unread.outcome(), None),
                },
            };
            let method = I::request_index(&request);
            let measured = meter.begin(method);
            let response = I::serve(service, context, request).await;
            let mut streams = None;
            Self::answered(measured, method, &response, &mut streams);
            let answer = response.map(T::write).map_err(CallFailure::Failed);
            PoolUse::Answered(answer, streams)
        });
        served.await.map_err(CallFailure::Failed)
    }

    /// Simulates the faults that `--chaos` requested.
    async fn inject_faults(&self, number: u64) -> Result<(), ServerError> {
        let chaos = &self.worker_context.chaos;
        if chaos.crash_after.is_some_and(|last| number >= last) {
            tracing::error!("crashing on purpose");
            std::process::abort();
        }
        if !chaos.delay.is_zero() {
            sleep(chaos.delay).await;
        }
        if chaos.fail > 0.0 && rand::random_bool(chaos.fail) {
            let detail = "a simulated failure".to_owned();
            return Err(ServerError::new(io::ErrorKind::Other, detail));
        }
        Ok(())
    }
}

impl<I, S> Dispatch for WorkerObject<I, S>
where
    I: Serves<S>,
    S: Clone + Send + Sync + 'static,
{
    type Request = I::Request;
    type Response = I::Response;

    fn parts(response: &I::Response) -> Vec<&[u8]> {
        I::response_parts(response)
    }

    fn decode(version: u32, message: &[u8]) -> Result<I::Request, CodecError> {
        decode_request::<I>(version, message)
    }

    fn dispatch(
        self: Arc<Self>,
        context: context::Context,
        request: I::Request,
    ) -> impl Future<Output = Result<I::Response, CallFailure>> + Send {
        self.dispatch_translated(context, NativeCall::<I>(request))
    }

    async fn dispatch_translated<T>(
        self: Arc<Self>,
        context: context::Context,
        call: T,
    ) -> Result<T::Answer, CallFailure>
    where
        T: Translation<I::Request, I::Response>,
    {
        let is_observed = !self.worker_context.interceptors.is_empty()
            || spans::are_recorded()
            || tracing::enabled!(tracing::Level::DEBUG);
        match is_observed {
            false => self.run(context, call).await,
            // Boxed, like `serve_on_pool`: a connection reserves space for small futures only.
            true => Box::pin(self.run_observed(context, call)).await,
        }
    }
}

/// A call whose answer's streams run.
struct RunningStreams {
    measured: MeasuredStreams,
    _running: DetachedCallGuard,
}

impl StreamKeeper for RunningStreams {
    fn stream_failed(&self) {
        self.measured.failed();
    }
}

/// Whether a method answered an error of its own, or broke off.
fn is_error<I: Interface>(response: &Result<I::Response, ServerError>) -> bool {
    match response {
        Ok(response) => matches!(I::outcome(response), Outcome::Failed(_)),
        Err(_) => true,
    }
}

/// A call in the native form of its interface, which needs no translation.
struct NativeCall<I: Interface>(I::Request);

impl<I: Interface> Translation<I::Request, I::Response> for NativeCall<I> {
    type Answer = I::Response;

    fn method(&self) -> &str {
        I::method(&self.0).map_or("", |method| method.name)
    }

    fn is_small(&self) -> bool {
        true
    }

    fn read(self) -> Result<I::Request, TranslationFailure<I::Response>> {
        Ok(self.0)
    }

    fn is_quick(_: &I::Response) -> bool {
        true
    }

    fn write(response: I::Response) -> I::Response {
        response
    }
}

/// A call that is decoded, or not yet because decoding takes long.
enum CallInput<T, R> {
    Read(R),
    Unread(T),
}

impl<T, R> CallInput<T, R> {
    /// Decodes the call at once if it is small.
    fn begin<Response>(call: T) -> Result<Self, TranslationFailure<T::Answer>>
    where
        T: Translation<R, Response>,
    {
        match call.is_small() {
            true => call.read().map(Self::Read),
            false => Ok(Self::Unread(call)),
        }
    }

    fn is_heavy(&self, is_heavy: fn(&R) -> bool) -> bool {
        match self {
            Self::Read(request) => is_heavy(request),
            Self::Unread(_) => true,
        }
    }
}

/// The result of a permit of the pool.
enum PoolUse<A, R> {
    /// The whole call was done on the pool, except for the streams of its answer.
    Answered(Result<A, CallFailure>, Option<MeasuredStreams>),
    /// The call was only decoded on the pool, because it is light.
    OnlyRead(R),
}

#[cfg(test)]
mod tests;
