//! From a call to an instance with an open connection.
//!
//! Nothing of the call has been sent yet. So whatever the method, other instances may be tried beside
//! one that is silent, and all of them again and again: the deadline alone is the bound. Only where a
//! static name leads to a name server there is nothing to wait for.

use super::{Call, Proxy};
use crate::{
    backoff::Backoff,
    balance::NoPick,
    delegates::{OnBehalf, Slot},
    error::{Attempt, CallError},
    instance::Instance,
};
use futures::{StreamExt, stream::FuturesUnordered};
use pyroxene_common::{
    channel::{AttemptError, Connection},
    interface::Interface,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// Between rounds over all instances.
const BETWEEN_ROUNDS: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

/// After this time another instance is tried beside one to which the connection is not there yet.
const BESIDE: Duration = Duration::from_secs(1);

/// The same, beside an instance that could not be reached the last time either.
const BESIDE_ABSENT: Duration = Duration::from_millis(100);

/// How long a call that tries each instance once waits for the first one to appear.
const APPEARANCE: Duration = Duration::from_secs(2);

/// How often the list of instances is looked at while all that were on it are silent.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Why a call is not tried again although it was not sent.
const NO_WORKER: &str = "its static name leads to no worker";

/// An instance and the way to it.
pub(super) struct Reached<R> {
    pub(super) instance: Arc<Instance<R>>,
    pub(super) connection: Arc<Connection<R>>,
    /// Held while the connection is in use, if that is one on behalf of somebody.
    pub(super) _slot: Option<Arc<Slot<R>>>,
}

impl<R> Reached<R> {
    /// The instance, if a connection for such calls is open.
    fn if_open(instance: &Arc<Instance<R>>, on_behalf: Option<OnBehalf<'_>>) -> Option<Self>
    where
        R: serde::de::DeserializeOwned + Send + 'static,
    {
        let (connection, slot) = match on_behalf {
            None => (instance.open_connection()?, None),
            Some(on_behalf) => {
                let (connection, slot) = instance.open_connection_on_behalf(on_behalf)?;
                (connection, Some(slot))
            }
        };
        Some(Self {
            instance: Arc::clone(instance),
            connection,
            _slot: slot,
        })
    }
}

/// Which instances a call tries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice<'a> {
    /// All of them, round after round.
    Any,
    /// Each once; those of one worker alone, if it is named.
    EachOnce(Option<&'a str>),
}

/// What to do next to reach an instance.
enum Step<R> {
    Try(Arc<Instance<R>>),
    /// All were tried; after this time they may be tried again.
    Pause(Duration),
    /// There is none yet.
    AwaitOne,
    /// There is no other.
    End(Option<String>),
}

impl<I: Interface> Proxy<I> {
    /// An instance with an open connection, `first` if that can be reached in good time.
    pub(super) async fn reach(
        &self,
        call: &mut Call<'_, I>,
        choice: Choice<'_>,
        first: Option<Arc<Instance<I::Response>>>,
    ) -> Result<Reached<I::Response>, CallError> {
        let mut first = first;
        let on_behalf = call.on_behalf;
        let mut connecting = FuturesUnordered::new();
        // Those that are in `connecting`.
        let mut pending: Vec<Arc<Instance<I::Response>>> = Vec::new();
        let mut next_step = Some(Instant::now());
        let mut between_rounds = false;
        loop {
            let now = Instant::now();
            if next_step.is_some_and(|at| at <= now) {
                call.now = now;
                between_rounds = false;
                let step = match first.take() {
                    Some(instance) => Step::Try(instance),
                    None => self.step(call, choice),
                };
                match step {
                    Step::Try(instance) => {
                        if let Some(reached) = Reached::if_open(&instance, on_behalf) {
                            return Ok(reached);
                        }
                        next_step = Some(now + call.patience_with(&instance));
                        call.tried.push(Arc::clone(&instance));
                        pending.push(Arc::clone(&instance));
                        connecting.push(connect(instance, on_behalf, now));
                    }
                    Step::Pause(wait) => {
                        call.tried.clone_from(&pending);
                        between_rounds = true;
                        next_step = Some(now + wait);
                    }
                    Step::AwaitOne if pending.is_empty() => {
                        self.await_one(call, choice).await?;
                        continue;
                    }
                    Step::AwaitOne => next_step = Some(now + LOOK_AGAIN),
                    Step::End(reason) if pending.is_empty() => {
                        return Err(self.error(CallError::Unavailable, call, reason));
                    }
                    Step::End(_) => next_step = None,
                }
            }
            let wake_at = next_step.map_or(call.deadline, |at| at.min(call.deadline));
            let ended = match connecting.is_empty() {
                true => {
                    sleep_until(wake_at).await;
                    None
                }
                false => timeout_at(wake_at, connecting.next()).await.ok().flatten(),
            };
            match ended {
                Some(Ok(reached)) => {
                    call.now = Instant::now();
                    return Ok(reached);
                }
                Some(Err((instance, error))) => {
                    pending.retain(|other| !Arc::ptr_eq(other, &instance));
                    self.after_failure(call, instance, error)?;
                    if !between_rounds {
                        next_step = Some(Instant::now());
                    }
                }
                None if Instant::now() >= call.deadline => {
                    return Err(self.too_late(call, &pending));
                }
                None => {}
            }
        }
    }

    fn step(&self, call: &mut Call<'_, I>, choice: Choice<'_>) -> Step<I::Response> {
        let worker = match choice {
            Choice::Any => {
                return match self.pick_now(call) {
                    Ok(instance) => Step::Try(instance),
                    // None will be a worker's if it is asked again.
                    Err(NoPick::AllTried) if self.leads_astray() => {
                        Step::End(Some(NO_WORKER.to_owned()))
                    }
                    Err(NoPick::AllTried) => {
                        call.rounds += 1;
                        Step::Pause(BETWEEN_ROUNDS.wait(call.rounds - 1, rand::random()))
                    }
                    Err(NoPick::Empty) => Step::AwaitOne,
                };
            }
            Choice::EachOnce(worker) => worker,
        };
        let picked = match worker {
            None => self.pick_now(call),
            Some(worker) => self.pick_worker(call, worker),
        };
        let nothing_tried = call.attempts.listed.is_empty();
        match (picked, worker) {
            (Ok(instance), _) => Step::Try(instance),
            (Err(NoPick::Empty), None) if nothing_tried => Step::AwaitOne,
            (Err(NoPick::Empty), Some(worker)) if nothing_tried => {
                Step::End(Some(format!("worker '{worker}' does not host it now")))
            }
            (Err(NoPick::Empty | NoPick::AllTried), _) => Step::End(None),
        }
    }

    /// Whether all there is are static names with addresses that lead to something else than a worker.
    fn leads_astray(&self) -> bool {
        let instances = self.object.instances();
        instances.iter().all(|instance| instance.leads_astray())
    }

    async fn await_one(&self, call: &mut Call<'_, I>, choice: Choice<'_>) -> Result<(), CallError> {
        let waited = match choice {
            Choice::Any => return self.wait_for_instance(call).await,
            Choice::EachOnce(_) => timeout(APPEARANCE, self.wait_for_instance(call)).await,
        };
        waited.unwrap_or_else(|_| {
            let reason = Some(super::NOT_HOSTED.to_owned());
            Err(self.error(CallError::Unavailable, call, reason))
        })
    }

    fn pick_worker(
        &self,
        call: &Call<'_, I>,
        worker: &str,
    ) -> Result<Arc<Instance<I::Response>>, NoPick> {
        let instances = self.object.instances();
        let mut of_worker = instances
            .iter()
            .filter(|instance| instance.name() == worker && !instance.is_draining())
            .peekable();
        if of_worker.peek().is_none() {
            return Err(NoPick::Empty);
        }
        let untried = |instance: &&Arc<Instance<I::Response>>| {
            !call.tried.iter().any(|tried| Arc::ptr_eq(tried, instance))
        };
        of_worker.find(untried).cloned().ok_or(NoPick::AllTried)
    }

    /// The deadline passed while these were silent.
    fn too_late(&self, call: &mut Call<'_, I>, silent: &[Arc<Instance<I::Response>>]) -> CallError {
        let ended = call.began.elapsed();
        for instance in silent {
            call.attempts.push(Attempt {
                worker: instance.name().to_owned(),
                endpoint: instance.key.endpoint.clone(),
                ended,
                error: AttemptError::DeadlineExceeded { sent: false },
            });
        }
        self.error(CallError::DeadlineExceeded, call, None)
    }
}

impl<I: Interface> Call<'_, I> {
    /// How long an instance may take to be connected to before another one is tried beside it. A call
    /// with little time has time left for the other one.
    fn patience_with(&self, instance: &Instance<I::Response>) -> Duration {
        let patience = match instance.is_absent() {
            true => BESIDE_ABSENT,
            false => BESIDE,
        };
        patience.min(self.deadline.saturating_duration_since(self.now) / 4)
    }
}

/// Connects to an instance, on which the call counts meanwhile.
async fn connect<R: serde::de::DeserializeOwned + Send + 'static>(
    instance: Arc<Instance<R>>,
    on_behalf: Option<OnBehalf<'_>>,
    now: Instant,
) -> Result<Reached<R>, (Arc<Instance<R>>, AttemptError)> {
    let counted = instance.enter(now);
    let outcome = match on_behalf {
        None => instance
            .connection()
            .await
            .map(|connection| (connection, None)),
        Some(on_behalf) => {
            let connected = instance.connection_on_behalf(on_behalf).await;
            connected.map(|(connection, slot)| (connection, Some(slot)))
        }
    };
    drop(counted);
    match outcome {
        Ok((connection, slot)) => Ok(Reached {
            instance,
            connection,
            _slot: slot,
        }),
        Err(error) => Err((instance, error)),
    }
}
