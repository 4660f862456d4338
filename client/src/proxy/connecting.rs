//! Finds an instance with an open connection for a call.
//!
//! No part of the call has been sent yet. Therefore, for every method, other instances may be tried in
//! parallel to a silent one, and all of them repeatedly: only the deadline is the bound. The exception is
//! a static name that leads to a name server: waiting would not help.

use super::{
    Proxy,
    call::{InstanceChoice, ProxyCall},
};
use crate::{
    backoff::Backoff,
    balance::NoPick,
    delegates::DelegateSlot,
    delegation::DelegatedCall,
    error::{Attempt, AttemptLog, CallError},
    instance::ObjectInstance,
    lookup::{NOT_HOSTED, NoInstance},
    retry::Blame,
};
use futures::{StreamExt, stream::FuturesUnordered};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection},
    interface::Interface,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// The pause between rounds over all instances.
const BETWEEN_ROUNDS: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

/// If connecting takes longer than this, another instance is tried in parallel.
const NEXT_CONNECT_AFTER: Duration = Duration::from_secs(1);

/// The same for an instance whose last call got no answer.
const NEXT_CONNECT_AFTER_UNANSWERED: Duration = Duration::from_millis(100);

/// How long a call that tries each instance once waits for the first instance to appear.
const FIRST_INSTANCE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the list of instances is polled while all its instances are silent.
const INSTANCE_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Why a call is not tried again although it was not sent.
const NO_WORKER: &str = "its static name leads to no worker";

/// An instance and an open connection to it.
pub(super) struct ConnectedInstance<R> {
    pub(super) instance: Arc<ObjectInstance<R>>,
    pub(super) connection: Arc<ClientConnection<R>>,
    /// The slot of a connection on behalf of another identity. It is held while the connection is in use.
    pub(super) _slot: Option<Arc<DelegateSlot<R>>>,
}

impl<R> ConnectedInstance<R> {
    /// The instance, if a suitable connection to it is open.
    fn if_open(
        instance: &Arc<ObjectInstance<R>>,
        on_behalf: Option<DelegatedCall<'_>>,
    ) -> Option<Self>
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

/// The next step to connect to an instance.
enum ConnectStep<R> {
    Try(Arc<ObjectInstance<R>>),
    /// All instances were tried. After this time they may be tried again.
    Pause(Duration),
    /// There is no instance yet.
    AwaitInstance,
    /// There is no other instance to try.
    End(Option<String>),
}

impl<I: Interface> Proxy<I> {
    /// An instance with an open connection: `first`, if connecting to it does not take too long.
    pub(super) async fn connect_instance(
        &self,
        call: &mut ProxyCall<'_, I>,
        first: Option<Arc<ObjectInstance<I::Response>>>,
    ) -> Result<ConnectedInstance<I::Response>, CallError> {
        if let Blame::Wait(at) = call.losses.blame() {
            sleep_until(at.min(call.deadline)).await;
        }
        let mut first = first;
        let on_behalf = call.on_behalf;
        let mut connecting = FuturesUnordered::new();
        // The instances in `connecting`.
        let mut pending: Vec<Arc<ObjectInstance<I::Response>>> = Vec::new();
        let mut next_step = Some(Instant::now());
        let mut between_rounds = false;
        loop {
            let now = Instant::now();
            if next_step.is_some_and(|at| at <= now) {
                call.now = now;
                between_rounds = false;
                let step = match first.take() {
                    Some(instance) => ConnectStep::Try(instance),
                    None => self.step(call),
                };
                match step {
                    ConnectStep::Try(instance) => {
                        if let Some(reached) = ConnectedInstance::if_open(&instance, on_behalf) {
                            return Ok(reached);
                        }
                        next_step = Some(now + call.next_connect_delay(&instance));
                        call.tried.push(Arc::clone(&instance));
                        pending.push(Arc::clone(&instance));
                        connecting.push(connect(instance, on_behalf, now));
                    }
                    ConnectStep::Pause(wait) => {
                        call.tried.clone_from(&pending);
                        between_rounds = true;
                        next_step = Some(now + wait);
                    }
                    ConnectStep::AwaitInstance if pending.is_empty() => {
                        self.await_instance(call).await?;
                        continue;
                    }
                    ConnectStep::AwaitInstance => next_step = Some(now + INSTANCE_POLL_INTERVAL),
                    ConnectStep::End(reason) if pending.is_empty() => {
                        let kind = match call.attempts.last_is_of_another_interface() {
                            true => CallError::NotSent,
                            false => CallError::Unavailable,
                        };
                        return Err(self.error(kind, call, reason));
                    }
                    ConnectStep::End(_) => next_step = None,
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
                    self.after_failed_connection(call, instance, error)?;
                    if !between_rounds {
                        next_step = Some(Instant::now());
                    }
                }
                None if Instant::now() >= call.deadline => {
                    return Err(self.deadline_exceeded(call, &pending));
                }
                None => {}
            }
        }
    }

    fn step(&self, call: &mut ProxyCall<'_, I>) -> ConnectStep<I::Response> {
        let worker = match call.choice {
            InstanceChoice::Any => {
                return match self.pick_now(call) {
                    Ok(instance) => ConnectStep::Try(instance),
                    // Another round would not lead to a worker either.
                    Err(NoPick::AllTried) if self.all_lead_to_no_worker() => {
                        let says_why = call.attempts.last_is_of_another_interface();
                        ConnectStep::End((!says_why).then(|| NO_WORKER.to_owned()))
                    }
                    Err(NoPick::AllTried) => {
                        call.rounds += 1;
                        ConnectStep::Pause(BETWEEN_ROUNDS.wait(call.rounds - 1, rand::random()))
                    }
                    Err(NoPick::Empty) => ConnectStep::AwaitInstance,
                };
            }
            InstanceChoice::EachOnce(worker) => worker,
        };
        let picked = match worker {
            None => self.pick_now(call),
            Some(worker) => self.pick_worker(call, worker),
        };
        let nothing_tried = call.attempts.listed.is_empty();
        match (picked, worker) {
            (Ok(instance), _) => ConnectStep::Try(instance),
            (Err(NoPick::Empty), None) if nothing_tried => ConnectStep::AwaitInstance,
            (Err(NoPick::Empty), Some(worker)) if nothing_tried => {
                ConnectStep::End(Some(format!("worker '{worker}' does not host it now")))
            }
            (Err(NoPick::Empty | NoPick::AllTried), _) => ConnectStep::End(None),
        }
    }

    /// Whether all instances are static names whose addresses do not lead to a worker.
    fn all_lead_to_no_worker(&self) -> bool {
        let instances = self.object.instances();
        instances
            .iter()
            .all(|instance| instance.leads_to_no_worker())
    }

    async fn await_instance(&self, call: &mut ProxyCall<'_, I>) -> Result<(), CallError> {
        let wanted = self.wanted(call);
        let appears = self
            .object
            .has_instance(&self.nameservers, self.weak, call.deadline, wanted);
        let appeared = match call.choice {
            InstanceChoice::Any => appears.await,
            InstanceChoice::EachOnce(_) => timeout(FIRST_INSTANCE_TIMEOUT, appears)
                .await
                .unwrap_or_else(|_| Err(NoInstance::unavailable(NOT_HOSTED))),
        };
        appeared.map_err(|none| {
            let problem = none.problem;
            let kind = |log: Box<AttemptLog>| (none.kind)(Box::new(AttemptLog { problem, ..*log }));
            self.error(kind, call, Some(none.reason))
        })
    }

    fn pick_worker(
        &self,
        call: &ProxyCall<'_, I>,
        worker: &str,
    ) -> Result<Arc<ObjectInstance<I::Response>>, NoPick> {
        let (instances, wanted) = (self.object.instances(), self.wanted(call));
        let mut of_worker = instances
            .iter()
            .filter(|instance| instance.name() == worker && !instance.is_draining())
            .filter(|instance| wanted.accepts(instance))
            .peekable();
        if of_worker.peek().is_none() {
            return Err(NoPick::Empty);
        }
        let untried = |instance: &&Arc<ObjectInstance<I::Response>>| {
            !call.tried.iter().any(|tried| Arc::ptr_eq(tried, instance))
        };
        of_worker.find(untried).cloned().ok_or(NoPick::AllTried)
    }

    /// The error after the deadline passed while these instances were silent.
    fn deadline_exceeded(
        &self,
        call: &mut ProxyCall<'_, I>,
        silent: &[Arc<ObjectInstance<I::Response>>],
    ) -> CallError {
        let ended = call.began.elapsed();
        for instance in silent {
            call.attempts.push(Attempt {
                worker: instance.name().to_owned(),
                endpoint: instance.key.endpoint.clone(),
                ended_after: ended,
                error: AttemptError::DeadlineExceeded { sent: false },
            });
        }
        self.error(CallError::DeadlineExceeded, call, None)
    }
}

impl<I: Interface> ProxyCall<'_, I> {
    /// How long connecting to an instance may take before another one is tried in parallel. It is at most
    /// a quarter of the remaining time, so that time is left for the other one.
    fn next_connect_delay(&self, instance: &ObjectInstance<I::Response>) -> Duration {
        let delay = match instance.is_last_call_unanswered() {
            true => NEXT_CONNECT_AFTER_UNANSWERED,
            false => NEXT_CONNECT_AFTER,
        };
        delay.min(self.deadline.saturating_duration_since(self.now) / 4)
    }
}

/// Connects to an instance. Meanwhile the call counts as in flight there.
async fn connect<R: serde::de::DeserializeOwned + Send + 'static>(
    instance: Arc<ObjectInstance<R>>,
    on_behalf: Option<DelegatedCall<'_>>,
    now: Instant,
) -> Result<ConnectedInstance<R>, (Arc<ObjectInstance<R>>, AttemptError)> {
    let counted = instance.begin_call(now);
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
        Ok((connection, slot)) => Ok(ConnectedInstance {
            instance,
            connection,
            _slot: slot,
        }),
        Err(error) => Err((instance, error)),
    }
}
