//! Waits for the instances of an object.

use crate::{
    error::{AttemptLog, CallError},
    nameservers::ClientNameServers,
    object::{Availability, WatchRefusal, WatchedObject},
    problem::Problem,
    proxy::Wanted,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// After this time the answer of one name server suffices to report that an object is not hosted.
const SLOW_NAMESERVER: Duration = Duration::from_millis(500);

/// How often a waiting lookup polls, besides the updates that it is notified of.
const LOOKUP_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How often a call that waits for an instance polls, besides the updates that it is notified of.
const UPDATE_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The pause between two checks for another instance while every known one drains.
const DRAINING_GRACE: Duration = Duration::from_millis(20);

/// The longest wait for a name server that has just started to know every live worker.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) const NOT_HOSTED: &str = "no live worker hosts it";
const NO_NAMESERVER: &str = "no name server can be reached";
const JUST_STARTED: &str =
    "the name server has just started, and no worker that hosts it has registered again yet";

/// Why an object has no instance to call: the error of the call, and its reason.
pub(crate) struct NoInstance {
    pub(crate) kind: fn(Box<AttemptLog>) -> CallError,
    pub(crate) reason: String,
    pub(crate) problem: Option<Problem>,
}

impl NoInstance {
    pub(crate) fn unavailable(reason: &str) -> Self {
        Self {
            kind: CallError::Unavailable,
            reason: reason.to_owned(),
            problem: None,
        }
    }

    /// Only instances of another interface were found.
    fn other_interface(reason: String) -> Self {
        Self {
            kind: CallError::NotSent,
            reason,
            problem: Some(Problem::WrongInterface),
        }
    }

    fn refused(refusal: WatchRefusal) -> Self {
        Self {
            kind: CallError::Refused,
            reason: refusal.message,
            problem: refusal.problem,
        }
    }

    /// No name server was in contact before the deadline.
    fn late(nameservers: &ClientNameServers) -> Self {
        let asked: Vec<String> = nameservers
            .list()
            .iter()
            .map(|one| one.endpoint().to_string())
            .collect();
        Self {
            kind: CallError::DeadlineExceeded,
            reason: format!("no name server answered in time: {}", asked.join(", ")),
            problem: None,
        }
    }
}

impl<R: Send + Sync + 'static> WatchedObject<R> {
    /// Waits until it is known whether the object has instances.
    pub(crate) async fn found(
        &self,
        nameservers: &ClientNameServers,
        deadline: Instant,
    ) -> Result<(), NoInstance> {
        let mut updates = self.updates();
        let one_answer_suffices_at = Instant::now() + SLOW_NAMESERVER;
        let known = async {
            loop {
                match self.availability() {
                    Availability::Undecided if Instant::now() < one_answer_suffices_at => {}
                    // A frozen name server must not delay the answer that the others give.
                    Availability::Undecided if self.is_probably_not_hosted() => {
                        return self.nothing_to_call();
                    }
                    // What was not sent is bounded by the deadline alone.
                    Availability::Undecided | Availability::NoNameServerAnswers => {}
                    known => return known,
                }
                // The channel stays open: `self` owns the sender. A timeout leads to the next poll.
                let _ = timeout(LOOKUP_POLL_INTERVAL, updates.changed()).await;
            }
        };
        match timeout_at(deadline, known).await {
            Ok(Availability::Some) => Ok(()),
            Ok(Availability::NotHosted) => Err(NoInstance::unavailable(NOT_HOSTED)),
            Ok(Availability::OtherInterface(reason)) => Err(NoInstance::other_interface(reason)),
            Ok(Availability::Refused(refusal)) => Err(NoInstance::refused(refusal)),
            Ok(Availability::NoNameServerReachable) => Err(NoInstance::unavailable(NO_NAMESERVER)),
            // The deadline passed. The other two states do not end the wait.
            Ok(Availability::Undecided | Availability::NoNameServerAnswers) | Err(_) => {
                Err(match (self.is_missing(), self.in_contact()) {
                    (true, _) => NoInstance::unavailable(NOT_HOSTED),
                    (false, true) => NoInstance::unavailable(JUST_STARTED),
                    (false, false) => NoInstance::late(nameservers),
                })
            }
        }
    }

    /// Waits until a name server in contact knows every live worker, which is soon after its start, but no longer than
    /// until then.
    pub(crate) async fn settled(&self, deadline: Instant) {
        let mut updates = self.updates();
        let settled = async {
            while !self.knows_all_instances() && self.in_contact() {
                // The channel stays open: `self` owns the sender. A timeout leads to the next poll.
                let _ = timeout(LOOKUP_POLL_INTERVAL, updates.changed()).await;
            }
        };
        let latest = Instant::now() + SETTLE_TIMEOUT;
        let _ = timeout_at(deadline.min(latest), settled).await;
    }

    /// Waits until the object has an instance that does not drain. A `weak` caller waits until the deadline also
    /// if no worker hosts the object.
    pub(crate) async fn has_instance(
        &self,
        nameservers: &ClientNameServers,
        weak: bool,
        deadline: Instant,
        wanted: Wanted<'_>,
    ) -> Result<(), NoInstance> {
        let mut updates = self.updates();
        let ready = async {
            loop {
                let instances = self.instances();
                let accepted = |instance: &&Arc<_>| wanted.accepts(instance);
                let mut accepted = instances.iter().filter(accepted).peekable();
                let is_wanted_one_there = accepted.peek().is_some();
                if accepted.any(|instance| !instance.is_draining()) {
                    return Ok(());
                }
                drop(instances);
                match self.availability() {
                    Availability::Some if !is_wanted_one_there => {
                        if !weak && self.knows_all_instances() {
                            return Err(NoInstance::unavailable(&wanted.missing()));
                        }
                    }
                    // Every instance drains. A replacement may already be starting.
                    Availability::Some => sleep(DRAINING_GRACE).await,
                    Availability::Undecided => {}
                    Availability::NotHosted if !weak => {
                        return Err(NoInstance::unavailable(NOT_HOSTED));
                    }
                    Availability::OtherInterface(reason) if !weak => {
                        return Err(NoInstance::other_interface(reason));
                    }
                    Availability::Refused(refusal) => return Err(NoInstance::refused(refusal)),
                    Availability::NoNameServerReachable if !weak => {
                        return Err(NoInstance::unavailable(NO_NAMESERVER));
                    }
                    Availability::NotHosted
                    | Availability::OtherInterface(_)
                    | Availability::NoNameServerReachable
                    | Availability::NoNameServerAnswers => {}
                }
                // The channel stays open: `self` owns the sender.
                let _ = timeout(UPDATE_POLL_INTERVAL, updates.changed()).await;
            }
        };
        match timeout_at(deadline, ready).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(none)) => {
                // Nothing was awaited so far. A caller that retries in a loop must not block the other
                // tasks of its thread.
                tokio::task::consume_budget().await;
                Err(none)
            }
            Err(_) => Err(match self.availability() {
                Availability::Some if wanted.leaves_any_out() => {
                    NoInstance::unavailable(&wanted.missing())
                }
                Availability::OtherInterface(reason) => NoInstance::other_interface(reason),
                Availability::NoNameServerReachable => NoInstance::unavailable(NO_NAMESERVER),
                Availability::NoNameServerAnswers | Availability::Undecided
                    if !self.in_contact() && !self.is_missing() =>
                {
                    NoInstance::late(nameservers)
                }
                _ => NoInstance::unavailable(NOT_HOSTED),
            }),
        }
    }
}
