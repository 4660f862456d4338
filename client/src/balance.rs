//! Load balancing: picks the instance for the next call.

use crate::{
    cost::{ComparedInstances, InstanceStats},
    instance::ObjectInstance,
    policy::Policy,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Up to this many instances are all compared. If there are more, two random ones are compared: the
/// power of two choices (Mitzenmacher, 2001) is nearly as good and avoids herding.
const COMPARE_ALL: usize = 8;

/// The maximum number of random draws to find two instances that may be called.
const MAX_DRAWS: usize = 8;

/// If calls are quick, this many consecutive calls go to the same instance: they are sent in one write
/// and wake the worker once. The run is too short to affect the balance: the calls of a whole run wait
/// no longer than [`QUICK_LATENCY_SECS`].
const RUN_LENGTH: usize = 32;

/// A run lasts no longer than this. Calls that are further apart are sent in separate writes anyway.
const RUN_TIME: Duration = Duration::from_millis(1);

/// The highest average latency that counts as quick, in seconds.
const QUICK_LATENCY_SECS: f64 = 0.001;

/// Picks instances for one object.
#[derive(Debug)]
pub(crate) struct Balancer {
    turn: AtomicUsize,
    run: CallRun,
}

/// The instance to which consecutive quick calls go.
#[derive(Debug)]
struct CallRun {
    /// Its index in the list.
    instance_index: AtomicUsize,
    /// The remaining calls of the run.
    remaining_calls: AtomicUsize,
    /// The run ends early when the instance has this many calls in flight.
    in_flight_limit: AtomicU32,
    /// The end of the run, in microseconds from `since`.
    ends_at: AtomicU64,
    since: Instant,
}

/// Why no instance was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPick {
    /// No instance accepts calls.
    Empty,
    /// Every instance was tried already.
    AllTried,
}

impl Balancer {
    pub(crate) fn new() -> Self {
        Self {
            // Many short-lived clients would otherwise all begin with the same instance.
            turn: AtomicUsize::new(rand::random_range(0..usize::MAX / 2)),
            run: CallRun::new(Instant::now()),
        }
    }

    /// Picks an instance that is not in `tried`. Instances with an open breaker are skipped while another
    /// instance is left; if all breakers are open, one of these instances is picked.
    pub(crate) fn pick<R>(
        &self,
        policy: Policy,
        instances: &[Arc<ObjectInstance<R>>],
        tried: &[Arc<ObjectInstance<R>>],
        now: Instant,
    ) -> Result<Arc<ObjectInstance<R>>, NoPick> {
        if tried.is_empty()
            && policy == Policy::LeastLoaded
            && let Some(instance) = self.run.next(instances, now)
        {
            return Ok(Arc::clone(instance));
        }
        self.pick_anew(policy, instances, tried, now, |best| {
            self.run.begin(instances, best, now);
        })
    }

    /// As [`pick`](Self::pick), for a call that may go to some instances of an object only: it neither begins a
    /// run nor joins one.
    pub(crate) fn pick_alone<R>(
        &self,
        policy: Policy,
        instances: &[Arc<ObjectInstance<R>>],
        tried: &[Arc<ObjectInstance<R>>],
        now: Instant,
    ) -> Result<Arc<ObjectInstance<R>>, NoPick> {
        self.pick_anew(policy, instances, tried, now, |_| {})
    }

    fn pick_anew<R>(
        &self,
        policy: Policy,
        instances: &[Arc<ObjectInstance<R>>],
        tried: &[Arc<ObjectInstance<R>>],
        now: Instant,
        begin_run: impl FnOnce(Option<&Arc<ObjectInstance<R>>>),
    ) -> Result<Arc<ObjectInstance<R>>, NoPick> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let untried = untried(tried);
        let admitted = match policy {
            Policy::RoundRobin => in_turn(instances, turn)
                .filter(&untried)
                .find(|instance| instance.admit(now)),
            Policy::LeastLoaded => {
                let best = least_loaded(instances, turn, now, &untried);
                begin_run(best);
                best
            }
        };
        if let Some(instance) = admitted.or_else(|| in_turn(instances, turn).find(&untried)) {
            return Ok(Arc::clone(instance));
        }
        Err(no_pick_reason(instances))
    }

    /// Picks the first instance in the list that is not in `tried`, and whose breaker is not open if there is
    /// one.
    pub(crate) fn pick_first<R>(
        &self,
        instances: &[Arc<ObjectInstance<R>>],
        tried: &[Arc<ObjectInstance<R>>],
        now: Instant,
    ) -> Result<Arc<ObjectInstance<R>>, NoPick> {
        let untried = untried(tried);
        let mut admitted = instances.iter().filter(&untried);
        let first = admitted.find(|instance| instance.admit(now));
        first
            .or_else(|| instances.iter().find(&untried))
            .map(Arc::clone)
            .ok_or_else(|| no_pick_reason(instances))
    }

    /// Picks the instance with the fewest calls of this client in flight that is not in `tried`. It is
    /// for large calls of equal size: each goes to the instance that finished first. The latencies of
    /// earlier calls of other sizes are ignored.
    pub(crate) fn pick_fewest_in_flight<R>(
        &self,
        instances: &[Arc<ObjectInstance<R>>],
        tried: &[Arc<ObjectInstance<R>>],
        now: Instant,
    ) -> Result<Arc<ObjectInstance<R>>, NoPick> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut untried: Vec<_> = in_turn(instances, turn)
            .filter(|instance| {
                !instance.is_draining() && !tried.iter().any(|other| Arc::ptr_eq(instance, other))
            })
            .collect();
        untried.sort_by_key(|instance| instance.in_flight());
        let admitted = untried.iter().find(|instance| instance.admit(now));
        admitted
            .or(untried.first())
            .map(|instance| Arc::clone(instance))
            .ok_or_else(|| no_pick_reason(instances))
    }
}

/// Whether an instance may be picked by a call that has tried others.
fn untried<'a, R>(
    tried: &'a [Arc<ObjectInstance<R>>],
) -> impl Fn(&&'a Arc<ObjectInstance<R>>) -> bool {
    move |instance| {
        !instance.is_draining() && !tried.iter().any(|other| Arc::ptr_eq(instance, other))
    }
}

/// Why none of the instances was picked.
fn no_pick_reason<R>(instances: &[Arc<ObjectInstance<R>>]) -> NoPick {
    if instances.iter().all(|instance| instance.is_draining()) {
        NoPick::Empty
    } else {
        NoPick::AllTried
    }
}

impl CallRun {
    fn new(since: Instant) -> Self {
        Self {
            instance_index: AtomicUsize::new(0),
            remaining_calls: AtomicUsize::new(0),
            in_flight_limit: AtomicU32::new(0),
            ends_at: AtomicU64::new(0),
            since,
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        let micros = now.saturating_duration_since(self.since).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX)
    }

    /// The instance of the run, if the run continues.
    fn next<'a, R>(
        &self,
        instances: &'a [Arc<ObjectInstance<R>>],
        now: Instant,
    ) -> Option<&'a Arc<ObjectInstance<R>>> {
        let left = self.remaining_calls.load(Ordering::Relaxed);
        if left == 0 || self.micros(now) > self.ends_at.load(Ordering::Relaxed) {
            return None;
        }
        // A lost race makes the run one call longer or shorter, which is harmless.
        self.remaining_calls.store(left - 1, Ordering::Relaxed);
        instances
            .get(self.instance_index.load(Ordering::Relaxed))
            .filter(|instance| instance.takes_all_calls())
            .filter(|instance| instance.in_flight() < self.in_flight_limit.load(Ordering::Relaxed))
    }

    /// Starts a run at the picked instance, if the instance is quick.
    fn begin<R>(
        &self,
        instances: &[Arc<ObjectInstance<R>>],
        picked: Option<&Arc<ObjectInstance<R>>>,
        now: Instant,
    ) {
        let quick = picked.filter(|instance| {
            let latency = instance.latency(now);
            latency.is_some_and(|latency| latency <= QUICK_LATENCY_SECS)
        });
        let place = quick.and_then(|picked| {
            let same = |instance: &Arc<ObjectInstance<R>>| Arc::ptr_eq(instance, picked);
            Some((instances.iter().position(same)?, picked.in_flight()))
        });
        let Some((place, in_flight)) = place.filter(|_| instances.len() > 1) else {
            self.remaining_calls.store(0, Ordering::Relaxed);
            return;
        };
        self.instance_index.store(place, Ordering::Relaxed);
        let full = in_flight.saturating_add(u32::try_from(RUN_LENGTH).unwrap_or(u32::MAX));
        self.in_flight_limit.store(full, Ordering::Relaxed);
        let until = self.micros(now + RUN_TIME);
        self.ends_at.store(until, Ordering::Relaxed);
        self.remaining_calls
            .store(RUN_LENGTH - 1, Ordering::Relaxed);
    }
}

/// All instances in round-robin order, starting at number `turn`.
fn in_turn<R>(
    instances: &[Arc<ObjectInstance<R>>],
    turn: usize,
) -> impl Iterator<Item = &Arc<ObjectInstance<R>>> {
    let start = turn.checked_rem(instances.len()).unwrap_or(0);
    let (before, from) = instances
        .split_at_checked(start)
        .unwrap_or((instances, &[]));
    from.iter().chain(before)
}

fn least_loaded<'a, R>(
    instances: &'a [Arc<ObjectInstance<R>>],
    turn: usize,
    now: Instant,
    untried: impl Fn(&&'a Arc<ObjectInstance<R>>) -> bool,
) -> Option<&'a Arc<ObjectInstance<R>>> {
    if instances.len() > COMPARE_ALL {
        let sound =
            |instance: &&'a Arc<ObjectInstance<R>>| untried(instance) && instance.is_healthy();
        let two = two_random_instances(instances, sound, |len| rand::random_range(0..len));
        if let Some(best) = two.and_then(|two| cheapest(two.into_iter(), now)) {
            return Some(best);
        }
    }
    // A different start each time breaks ties fairly.
    cheapest(in_turn(instances, turn).filter(&untried), now)
}

/// Two different random instances that fit. `None` if suitable instances are so rare that comparing all
/// instances is better: most of the list can be dead instances of a worker that crashes repeatedly.
fn two_random_instances<'a, R>(
    instances: &'a [Arc<ObjectInstance<R>>],
    fits: impl Fn(&&'a Arc<ObjectInstance<R>>) -> bool,
    mut draw: impl FnMut(usize) -> usize,
) -> Option<[&'a Arc<ObjectInstance<R>>; 2]> {
    let mut first = None;
    for _ in 0..MAX_DRAWS {
        let drawn = instances.get(draw(instances.len())).filter(&fits);
        match (first, drawn) {
            (Some(first), Some(second)) if !Arc::ptr_eq(first, second) => {
                return Some([first, second]);
            }
            (None, Some(drawn)) => first = Some(drawn),
            _ => {}
        }
    }
    None
}

fn cheapest<'a, R: 'a>(
    candidates: impl Iterator<Item = &'a Arc<ObjectInstance<R>>>,
    now: Instant,
) -> Option<&'a Arc<ObjectInstance<R>>> {
    let candidates: Vec<_> = candidates.collect();
    if let [only] = candidates.as_slice() {
        return only.admit(now).then_some(*only);
    }
    let standings: Vec<InstanceStats> = candidates
        .iter()
        .map(|instance| instance.stats(now))
        .collect();
    let peers = ComparedInstances::of(standings.iter());
    let costs = standings.iter().map(|standing| peers.cost(standing));
    let mut by_cost: Vec<_> = costs.zip(candidates).collect();
    // The sort is stable: instances of equal cost keep their order.
    by_cost.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut best = by_cost.into_iter().map(|(_, instance)| instance);
    best.find(|instance| instance.admit(now))
}

#[cfg(test)]
mod tests;
