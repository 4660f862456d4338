//! Picks the instance for an attempt.

use super::{Proxy, call::ProxyCall};
use crate::{
    balance::NoPick,
    error::{AttemptLog, CallError},
    instance::ObjectInstance,
    options::Selection,
    problem::Problem,
};
use pyroxene_common::interface::Interface;
use std::{cmp::Reverse, sync::Arc};
use tokio::time::Instant;

/// Which instances a call may go to.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) selection: &'a Selection,
    /// The oldest version of the interface that will do.
    pub(crate) version: u32,
}

impl Wanted<'_> {
    pub(crate) fn accepts<R>(&self, instance: &ObjectInstance<R>) -> bool {
        instance.version >= self.version && instance.suits(self.selection)
    }

    /// Whether it may leave an instance out.
    pub(crate) fn leaves_any_out(&self) -> bool {
        self.version > 0 || self.selection.is_selective()
    }

    /// Why no live instance will do.
    pub(crate) fn missing(&self) -> String {
        let Self { selection, version } = self;
        if let Some(instance) = &selection.only {
            return format!("worker '{}' does not host it any more", instance.worker);
        }
        match selection.tags.as_slice() {
            [] => format!("no live worker serves version {version} of its interface"),
            [tag] => format!("no live instance of it has the tag '{tag}'"),
            tags => format!(
                "no live instance of it has the tags '{}'",
                tags.join("', '")
            ),
        }
    }
}

impl<I: Interface> Proxy<I> {
    pub(super) fn wanted(&self, call: &ProxyCall<'_, I>) -> Wanted<'_> {
        Wanted {
            selection: &self.options.selection,
            version: call.needs,
        }
    }

    /// Waits until all live instances are known, which is soon after the start of a name server, or until then.
    pub(crate) async fn settled(&self, deadline: Instant) {
        self.object.settled(deadline).await;
    }

    /// A stub for each live instance that the options allow, by worker. Its calls go to that instance alone, and
    /// are not made again.
    pub(crate) fn live_instances(&self) -> Vec<(String, Self)> {
        let selection = &self.options.selection;
        let instances = self.object.instances();
        let live = instances
            .iter()
            .filter(|instance| !instance.is_draining() && instance.suits(selection));
        let one = |instance: &Arc<ObjectInstance<I::Response>>| {
            let key = instance.key.clone();
            let name = instance.name().to_owned();
            (name, self.with(|options| options.only(key)))
        };
        let mut live: Vec<_> = live.map(one).collect();
        live.sort_by(|(one, _), (other, _)| one.cmp(other));
        live
    }

    /// The live instances that the options allow and that cannot be called, by worker: the error of a call of each.
    pub(crate) fn skipped_instances(&self) -> Vec<(String, CallError)> {
        let tags = &self.options.selection.tags;
        let skipped = self.object.skipped();
        let wanted = skipped
            .iter()
            .filter(|one| tags.iter().all(|tag| one.tags.contains(tag)));
        let error = |reason: &String| {
            CallError::NotSent(Box::new(AttemptLog {
                object: self.object.name.clone(),
                method: "(all)".to_owned(),
                reason: Some(reason.clone()),
                problem: Some(Problem::WrongInterface),
                ..AttemptLog::default()
            }))
        };
        wanted
            .map(|one| (one.worker.clone(), error(&one.reason)))
            .collect()
    }

    /// Whether a name server that knows every live worker is in contact.
    pub(crate) fn knows_all_instances(&self) -> bool {
        self.object.knows_all_instances()
    }

    pub(super) fn pick_now(
        &self,
        call: &ProxyCall<'_, I>,
    ) -> Result<Arc<ObjectInstance<I::Response>>, NoPick> {
        self.pick(call, &call.tried, call.now)
    }

    /// An instance for the call that is not in `tried`.
    pub(super) fn pick(
        &self,
        call: &ProxyCall<'_, I>,
        tried: &[Arc<ObjectInstance<I::Response>>],
        now: Instant,
    ) -> Result<Arc<ObjectInstance<I::Response>>, NoPick> {
        if !self.is_plain || call.needs > I::OLDEST {
            return self.pick_wanted(call, tried, now);
        }
        let instances = self.object.instances();
        let balancer = &self.object.balancer;
        match call.prefers_fewest_in_flight {
            true => balancer.pick_fewest_in_flight(&instances, tried, now),
            false => balancer.pick(self.options.policy, &instances, tried, now),
        }
    }

    /// As [`pick`](Self::pick), among the instances that the call wants.
    fn pick_wanted(
        &self,
        call: &ProxyCall<'_, I>,
        tried: &[Arc<ObjectInstance<I::Response>>],
        now: Instant,
    ) -> Result<Arc<ObjectInstance<I::Response>>, NoPick> {
        let wanted = self.wanted(call);
        let mut instances = self.object.instances().to_vec();
        instances.retain(|instance| wanted.accepts(instance));
        let balancer = &self.object.balancer;
        match wanted.selection.key {
            Some(key) => balancer.pick_first(&ranked(instances, key), tried, now),
            None if call.prefers_fewest_in_flight => {
                balancer.pick_fewest_in_flight(&instances, tried, now)
            }
            None => balancer.pick_alone(self.options.policy, &instances, tried, now),
        }
    }
}

/// The instances in the order in which they serve a key.
fn ranked<R>(mut instances: Vec<Arc<ObjectInstance<R>>>, key: u64) -> Vec<Arc<ObjectInstance<R>>> {
    instances.sort_by_cached_key(|instance| Reverse(instance.weight_for(key)));
    instances
}
