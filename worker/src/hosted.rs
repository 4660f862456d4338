//! The way of a call within a worker: admitted, counted, and run in place or on the compute pool.

use crate::{
    chaos::Chaos,
    compute::{ComputePool, Place},
    exclusive::Holdings,
    load::Gauge,
    watchdog::Watched,
};
use pyroxene_client::Client;
use pyroxene_common::{
    channel::{Dispatch, Unanswered},
    interface::{Interface, Serves},
    message::{Refusal, RefusalReason},
    scope::{self, Scope},
};
use std::{io, marker::PhantomData, sync::Arc};
use tarpc::{ServerError, context};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// What all objects of a worker share.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) worker: Arc<str>,
    pub(crate) pool: ComputePool,
    pub(crate) gauge: Gauge,
    pub(crate) holdings: Holdings,
    pub(crate) chaos: Chaos,
    /// Calls that may run or wait at once, in all objects.
    pub(crate) max_calls: u64,
    /// Whether the objects have their names for themselves.
    pub(crate) exclusive: bool,
    /// How objects talk to the name servers themselves.
    pub(crate) client: Client,
    /// Cancelled when the worker begins to drain: what waits for nothing but time should end.
    pub(crate) draining: CancellationToken,
}

/// An object of the interface `I`, answered by a service of type `S`.
pub(crate) struct Hosted<I: Interface, S> {
    pub(crate) name: String,
    pub(crate) service: S,
    pub(crate) is_heavy: fn(&I::Request) -> bool,
    pub(crate) exclusive: bool,
    pub(crate) watched: Watched,
    pub(crate) surroundings: Surroundings,
    pub(crate) interface: PhantomData<fn() -> I>,
}

impl<I, S> Hosted<I, S>
where
    I: Serves<S>,
    S: Clone + Send + Sync + 'static,
{
    /// Lets a call in; the fence of the object's name, if it is exclusive.
    fn admit(&self) -> Result<Option<u64>, Refusal> {
        let surroundings = &self.surroundings;
        if surroundings.gauge.in_flight() >= surroundings.max_calls {
            return Err(Refusal {
                reason: RefusalReason::Overloaded,
                retry_after_ms: 20,
                sentence: "the worker is overloaded: it runs as many calls as it may".to_owned(),
            });
        }
        match self.exclusive {
            true => Ok(Some(
                surroundings.holdings.check(&self.name, Instant::now())?,
            )),
            false => Ok(None),
        }
    }

    async fn run(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, Unanswered> {
        let fence = self.admit().map_err(Unanswered::Refused)?;
        let heavy = (self.is_heavy)(&request);
        let place = match heavy {
            true => Some(
                self.surroundings
                    .pool
                    .admit()
                    .map_err(Unanswered::Refused)?,
            ),
            false => None,
        };
        let (number, _running) = self.surroundings.gauge.begin();
        self.misbehave(number).await.map_err(Unanswered::Failed)?;
        let method = I::request_index(&request);
        let serving = I::serve(self.service.clone(), context, request);
        if let Some(fence) = fence {
            return self.run_fenced(fence, method, place, serving).await;
        }
        match place {
            Some(place) => place.run(serving).await.and_then(|answer| answer),
            None => self.watched.run(method, serving).await,
        }
        .map_err(Unanswered::Failed)
    }

    /// Runs a method that can know under which fence it does.
    async fn run_fenced(
        &self,
        fence: u64,
        method: usize,
        place: Option<Place>,
        serving: impl Future<Output = Result<I::Response, ServerError>> + Send + 'static,
    ) -> Result<I::Response, Unanswered> {
        let scope = Scope {
            fence: Some(fence),
            ..scope::current()
        };
        match place {
            Some(place) => {
                let running = Box::pin(place.run(serving));
                scope.wrap(running).await.and_then(|answer| answer)
            }
            None => {
                let running = Box::pin(self.watched.run(method, serving));
                scope.wrap(running).await
            }
        }
        .map_err(Unanswered::Failed)
    }

    /// Does what was asked for with `--chaos`.
    async fn misbehave(&self, number: u64) -> Result<(), ServerError> {
        let chaos = &self.surroundings.chaos;
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

impl<I, S> Dispatch for Hosted<I, S>
where
    I: Serves<S>,
    S: Clone + Send + Sync + 'static,
{
    type Request = I::Request;
    type Response = I::Response;

    fn parts(response: &I::Response) -> Vec<&[u8]> {
        I::response_parts(response)
    }

    async fn dispatch(
        self: Arc<Self>,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, Unanswered> {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return self.run(context, request).await;
        }
        let span = tracing::debug_span!(
            "serve",
            object = self.name,
            method = I::method(&request).map_or("", |method| method.name),
            worker = %self.surroundings.worker,
            caller = scope::current().caller.address,
            trace = %context.trace_context.trace_id,
        );
        async {
            let answer = self.run(context, request).await;
            match &answer {
                Ok(_) => tracing::debug!("answered"),
                Err(Unanswered::Refused(refusal)) => tracing::debug!(%refusal, "refused"),
                Err(Unanswered::Failed(error)) => tracing::debug!(%error, "failed"),
            }
            answer
        }
        .instrument(span)
        .await
    }
}
