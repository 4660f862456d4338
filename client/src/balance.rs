//! Which instance gets the next call.

use crate::{
    cost::{Peers, Standing},
    instance::Instance,
};
use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// How calls are spread over instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// One after the other.
    RoundRobin,
    /// To the instance with the least cost: moving latency times calls in flight, and more if it
    /// answers errors. Among many instances, the better of two random ones.
    #[default]
    LeastLoaded,
}

/// A text that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a policy; expected round-robin or least-loaded")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "round-robin" => Ok(Self::RoundRobin),
            "least-loaded" => Ok(Self::LeastLoaded),
            _ => Err(UnknownPolicy(text.to_owned())),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round-robin",
            Self::LeastLoaded => "least-loaded",
        })
    }
}

/// Up to this many instances are all compared. Among more, two random ones are: the power of two
/// choices (Mitzenmacher, 2001) is nearly as good and does not herd.
const COMPARE_ALL: usize = 8;

/// How often an instance is drawn until two are found that may be called.
const DRAWS: usize = 8;

/// Calls that follow each other go to the same instance in runs of this length, if calls are quick:
/// then they leave in one write and wake the worker once. The run is too short to matter for the
/// balance: the calls of a whole run wait no longer than [`QUICK`].
const RUN: usize = 32;

/// A run lasts no longer than this. Calls further apart leave in writes of their own anyway.
const RUN_TIME: Duration = Duration::from_millis(1);

/// An average latency up to this is quick, in seconds.
const QUICK: f64 = 0.001;

/// Picks instances for one object.
#[derive(Debug)]
pub(crate) struct Balancer {
    policy: Policy,
    turn: AtomicUsize,
    run: Run,
}

/// The instance that quick calls go to for now.
#[derive(Debug)]
struct Run {
    /// Its place in the list.
    place: AtomicUsize,
    /// The calls that are left of the run.
    left: AtomicUsize,
    /// The run ends early when the instance has this many calls in flight.
    full: AtomicU32,
    /// It ends at this time, in microseconds from `since`.
    until: AtomicU64,
    since: Instant,
}

/// Why no instance was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPick {
    /// There is none that takes calls.
    Empty,
    /// Every one was tried already.
    AllTried,
}

impl Balancer {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            // Many short-lived clients would otherwise all begin with the same instance.
            turn: AtomicUsize::new(rand::random_range(0..usize::MAX / 2)),
            run: Run::new(Instant::now()),
        }
    }

    /// Picks an instance that `tried` does not hold. Breakers are respected while any instance is
    /// left without: they never take everyone out.
    pub(crate) fn pick<R>(
        &self,
        instances: &[Arc<Instance<R>>],
        tried: &[Arc<Instance<R>>],
        now: Instant,
    ) -> Result<Arc<Instance<R>>, NoPick> {
        if tried.is_empty()
            && let Some(instance) = self.run.next(instances, now)
        {
            return Ok(Arc::clone(instance));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let untried = |instance: &&Arc<Instance<R>>| {
            !instance.is_draining() && !tried.iter().any(|other| Arc::ptr_eq(instance, other))
        };
        let admitted = match self.policy {
            Policy::RoundRobin => in_turn(instances, turn)
                .filter(untried)
                .find(|instance| instance.admit(now)),
            Policy::LeastLoaded => {
                let best = least_loaded(instances, turn, now, untried);
                self.run.begin(instances, best, now);
                best
            }
        };
        if let Some(instance) = admitted.or_else(|| in_turn(instances, turn).find(untried)) {
            return Ok(Arc::clone(instance));
        }
        Err(nobody_left(instances))
    }

    /// Picks the instance that has the fewest calls of this client in front of it, and that `tried`
    /// does not hold. For large calls of equal size: each goes to whoever was done first, and what
    /// calls of other sizes have taken before says nothing.
    pub(crate) fn pick_idlest<R>(
        &self,
        instances: &[Arc<Instance<R>>],
        tried: &[Arc<Instance<R>>],
        now: Instant,
    ) -> Result<Arc<Instance<R>>, NoPick> {
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
            .ok_or_else(|| nobody_left(instances))
    }
}

/// Why none of the instances was picked.
fn nobody_left<R>(instances: &[Arc<Instance<R>>]) -> NoPick {
    if instances.iter().all(|instance| instance.is_draining()) {
        NoPick::Empty
    } else {
        NoPick::AllTried
    }
}

impl Run {
    fn new(since: Instant) -> Self {
        Self {
            place: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            full: AtomicU32::new(0),
            until: AtomicU64::new(0),
            since,
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        let micros = now.saturating_duration_since(self.since).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX)
    }

    /// The instance of the run, if it goes on.
    fn next<'a, R>(
        &self,
        instances: &'a [Arc<Instance<R>>],
        now: Instant,
    ) -> Option<&'a Arc<Instance<R>>> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 || self.micros(now) > self.until.load(Ordering::Relaxed) {
            return None;
        }
        // A lost race makes the run a call longer or shorter, which does no harm.
        self.left.store(left - 1, Ordering::Relaxed);
        instances
            .get(self.place.load(Ordering::Relaxed))
            .filter(|instance| instance.takes_all_calls())
            .filter(|instance| instance.in_flight() < self.full.load(Ordering::Relaxed))
    }

    /// Begins a run at the instance that was picked, if it is quick.
    fn begin<R>(
        &self,
        instances: &[Arc<Instance<R>>],
        picked: Option<&Arc<Instance<R>>>,
        now: Instant,
    ) {
        let quick = picked.filter(|instance| {
            let latency = instance.latency(now);
            latency.is_some_and(|latency| latency <= QUICK)
        });
        let place = quick.and_then(|picked| {
            let same = |instance: &Arc<Instance<R>>| Arc::ptr_eq(instance, picked);
            Some((instances.iter().position(same)?, picked.in_flight()))
        });
        let Some((place, in_flight)) = place.filter(|_| instances.len() > 1) else {
            self.left.store(0, Ordering::Relaxed);
            return;
        };
        self.place.store(place, Ordering::Relaxed);
        let full = in_flight.saturating_add(u32::try_from(RUN).unwrap_or(u32::MAX));
        self.full.store(full, Ordering::Relaxed);
        let until = self.micros(now + RUN_TIME);
        self.until.store(until, Ordering::Relaxed);
        self.left.store(RUN - 1, Ordering::Relaxed);
    }
}

/// All instances, beginning with the one whose turn it is.
fn in_turn<R>(
    instances: &[Arc<Instance<R>>],
    turn: usize,
) -> impl Iterator<Item = &Arc<Instance<R>>> {
    let start = turn.checked_rem(instances.len()).unwrap_or(0);
    let (before, from) = instances
        .split_at_checked(start)
        .unwrap_or((instances, &[]));
    from.iter().chain(before)
}

fn least_loaded<'a, R>(
    instances: &'a [Arc<Instance<R>>],
    turn: usize,
    now: Instant,
    untried: impl Fn(&&'a Arc<Instance<R>>) -> bool,
) -> Option<&'a Arc<Instance<R>>> {
    if instances.len() > COMPARE_ALL {
        let sound = |instance: &&'a Arc<Instance<R>>| untried(instance) && instance.is_sound();
        let two = two_at_random(instances, sound, |len| rand::random_range(0..len));
        if let Some(best) = two.and_then(|two| cheapest(two.into_iter(), now)) {
            return Some(best);
        }
    }
    // Beginning at a different place each time breaks ties fairly.
    cheapest(in_turn(instances, turn).filter(&untried), now)
}

/// Two different instances that fit, unless they are so rare that looking at all of them is better:
/// what is left of a worker that dies again and again can be most of the list.
fn two_at_random<'a, R>(
    instances: &'a [Arc<Instance<R>>],
    fits: impl Fn(&&'a Arc<Instance<R>>) -> bool,
    mut draw: impl FnMut(usize) -> usize,
) -> Option<[&'a Arc<Instance<R>>; 2]> {
    let mut first = None;
    for _ in 0..DRAWS {
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
    candidates: impl Iterator<Item = &'a Arc<Instance<R>>>,
    now: Instant,
) -> Option<&'a Arc<Instance<R>>> {
    let candidates: Vec<_> = candidates.collect();
    if let [only] = candidates.as_slice() {
        return only.admit(now).then_some(*only);
    }
    let standings: Vec<Standing> = candidates
        .iter()
        .map(|instance| instance.standing(now))
        .collect();
    let peers = Peers::of(standings.iter());
    let costs = standings.iter().map(|standing| peers.cost(standing));
    let mut by_cost: Vec<_> = costs.zip(candidates).collect();
    // Equals stay in the order in which they came.
    by_cost.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut best = by_cost.into_iter().map(|(_, instance)| instance);
    best.find(|instance| instance.admit(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::ClientConfig, instance::Greeting};
    use pyroxene_common::{
        channel::{AttemptError, ConnectionLost},
        interfaces::{
            directory::{Instance as Listed, Load, State},
            echo::Echo,
        },
        message::{Refusal, RefusalReason},
    };
    use std::{collections::HashMap, time::Duration};

    fn instances(count: usize) -> Vec<Arc<Instance<()>>> {
        let config = ClientConfig::without_nameservers();
        let greeting = Arc::new(Greeting::new::<Echo>(&config));
        (0..count)
            .map(|n| {
                let listed = Listed {
                    worker: format!("w{n}"),
                    incarnation: 1,
                    endpoint: format!("h{n}:1"),
                    target: "o".into(),
                    interface: "I".into(),
                    version: 1,
                    state: State::Ready,
                    tags: Vec::new(),
                    fence: None,
                    load: Load::default(),
                };
                Arc::new(Instance::new(&listed, Arc::clone(&greeting)))
            })
            .collect()
    }

    fn break_open(instance: &Instance<()>, now: Instant) {
        let error = AttemptError::NotSent(ConnectionLost::Closed);
        for _ in 0..3 {
            instance.failed(&error, Duration::ZERO, now);
        }
    }

    fn tally(
        balancer: &Balancer,
        instances: &[Arc<Instance<()>>],
        calls: usize,
        now: Instant,
    ) -> Vec<usize> {
        let mut tally = HashMap::new();
        for _ in 0..calls {
            let picked = balancer.pick(instances, &[], now).unwrap();
            *tally.entry(picked.name().to_owned()).or_insert(0) += 1;
        }
        instances
            .iter()
            .map(|instance| tally.get(instance.name()).copied().unwrap_or(0))
            .collect()
    }

    #[test]
    fn round_robin_is_even_to_one_call() {
        let balancer = Balancer::new(Policy::RoundRobin);
        let shares = tally(&balancer, &instances(3), 100, Instant::now());
        assert!(shares.iter().all(|&share| share == 33 || share == 34));
    }

    #[test]
    fn least_loaded_avoids_the_slow_and_the_busy() {
        let now = Instant::now();
        let instances = instances(3);
        let balancer = Balancer::new(Policy::LeastLoaded);
        for (instance, milliseconds) in instances.iter().zip([50, 1, 1]) {
            instance.succeeded(Duration::from_millis(milliseconds), now);
        }
        assert_eq!(tally(&balancer, &instances, 100, now)[0], 0);
        let _busy: Vec<_> = (0..10).map(|_| instances[1].enter(now)).collect();
        let balancer = Balancer::new(Policy::LeastLoaded);
        assert_eq!(tally(&balancer, &instances, 100, now), [0, 0, 100]);
    }

    #[test]
    fn quick_calls_go_in_runs_and_slow_ones_one_by_one() {
        let now = Instant::now();
        for (milliseconds, longest) in [(1, RUN), (20, 1)] {
            let instances = instances(2);
            for instance in &instances {
                instance.succeeded(Duration::from_millis(milliseconds), now);
            }
            let balancer = Balancer::new(Policy::LeastLoaded);
            let (mut runs, mut last, mut in_flight) = (Vec::new(), None, Vec::new());
            for _ in 0..4 * RUN {
                let picked = balancer.pick(&instances, &[], now).unwrap();
                let place = instances.iter().position(|i| Arc::ptr_eq(i, &picked));
                in_flight.push(instances[place.unwrap()].enter(now));
                if place == last {
                    *runs.last_mut().unwrap() += 1;
                } else {
                    runs.push(1);
                    last = place;
                }
            }
            assert!(runs.iter().all(|&run| run == longest), "{runs:?}");
        }
    }

    #[test]
    fn the_idlest_has_the_fewest_calls_however_long_they_take() {
        let now = Instant::now();
        let instances = instances(3);
        for (instance, milliseconds) in instances.iter().zip([1, 1, 900]) {
            instance.succeeded(Duration::from_millis(milliseconds), now);
        }
        let balancer = Balancer::new(Policy::LeastLoaded);
        let _busy: Vec<_> = instances[..2]
            .iter()
            .map(|other| other.enter(now))
            .collect();
        let picked = balancer.pick_idlest(&instances, &[], now).unwrap();
        assert_eq!(picked.name(), "w2");
        let tried = [picked];
        let picked = balancer.pick_idlest(&instances, &tried, now).unwrap();
        assert_ne!(picked.name(), "w2");
        break_open(&instances[2], now);
        let picked = balancer.pick_idlest(&instances, &[], now).unwrap();
        assert_ne!(picked.name(), "w2");
        let none = balancer.pick_idlest(&instances, &instances, now);
        assert_eq!(none.unwrap_err(), NoPick::AllTried);
    }

    #[test]
    fn quick_calls_that_are_far_apart_go_one_by_one() {
        let mut now = Instant::now();
        let instances = instances(2);
        for instance in &instances {
            instance.succeeded(Duration::from_millis(1), now);
        }
        let balancer = Balancer::new(Policy::LeastLoaded);
        let mut picked = || {
            now += 2 * RUN_TIME;
            balancer.pick(&instances, &[], now).unwrap()
        };
        let (first, second) = (picked(), picked());
        assert!(!Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn whoever_answers_only_errors_attracts_no_calls() {
        let now = Instant::now();
        let instances = instances(3);
        for instance in &instances {
            instance.succeeded(Duration::from_millis(1), now);
        }
        let balancer = Balancer::new(Policy::LeastLoaded);
        // It is in the middle of a run, and its peers are busy.
        let failing = balancer.pick(&instances, &[], now).unwrap();
        let mut busy = Vec::new();
        for instance in &instances {
            if !Arc::ptr_eq(instance, &failing) {
                busy.extend((0..20).map(|_| instance.enter(now)));
            }
        }
        for _ in 0..40 {
            failing.erred(Duration::from_micros(1), now);
        }
        for _ in 0..100 {
            let picked = balancer.pick(&instances, &[], now).unwrap();
            assert!(!Arc::ptr_eq(&picked, &failing));
        }
    }

    #[test]
    fn whoever_refuses_attracts_no_calls_although_all_others_are_slow() {
        let now = Instant::now();
        let instances = instances(3);
        for instance in &instances {
            instance.succeeded(Duration::from_secs(1), now);
        }
        let refused = AttemptError::Refused(Refusal {
            reason: RefusalReason::Overloaded,
            retry_after_ms: 0,
            sentence: String::new(),
        });
        for _ in 0..40 {
            instances[0].failed(&refused, Duration::ZERO, now);
        }
        let _busy: Vec<_> = (0..10).map(|n| instances[1 + n % 2].enter(now)).collect();
        let balancer = Balancer::new(Policy::LeastLoaded);
        assert_eq!(tally(&balancer, &instances, 100, now)[0], 0);
    }

    #[test]
    fn a_newcomer_gets_one_call_until_it_has_answered() {
        let now = Instant::now();
        let instances = instances(3);
        for instance in &instances[..2] {
            instance.succeeded(Duration::from_millis(5), now);
        }
        let balancer = Balancer::new(Policy::LeastLoaded);
        let mut in_flight = Vec::new();
        for _ in 0..6 {
            in_flight.push(balancer.pick(&instances, &[], now).unwrap());
            std::mem::forget(in_flight.last().unwrap().enter(now));
        }
        assert_eq!(instances[2].in_flight(), 1);
        instances[2].succeeded(Duration::from_millis(5), now);
        let next = balancer.pick(&instances, &[], now).unwrap();
        assert!(Arc::ptr_eq(&next, &instances[2]));
    }

    #[test]
    fn one_that_stops_answering_gets_no_more_calls() {
        let now = Instant::now();
        let instances = instances(2);
        for instance in &instances {
            instance.succeeded(Duration::from_millis(5), now);
        }
        let _silent = instances[0].enter(now);
        let _busy: Vec<_> = (0..9).map(|_| instances[1].enter(now)).collect();
        let balancer = Balancer::new(Policy::LeastLoaded);
        let picked = |now| {
            let picked = balancer.pick(&instances, &[], now).unwrap();
            instances.iter().position(|i| Arc::ptr_eq(i, &picked))
        };
        assert_eq!(picked(now), Some(0));
        let later = now + Duration::from_millis(100);
        instances[1].succeeded(Duration::from_millis(5), later);
        assert_eq!(picked(later), Some(1));
    }

    #[test]
    fn quick_answers_teach_once_a_millisecond() {
        let now = Instant::now();
        let micros = Duration::from_micros;
        let instances = instances(1);
        let latency = |now| instances[0].latency(now).unwrap();
        instances[0].succeeded(micros(100), now);
        for _ in 0..100 {
            instances[0].succeeded(micros(900), now);
        }
        assert_eq!(latency(now), 0.0001);
        let later = now + Duration::from_millis(2);
        instances[0].succeeded(micros(900), later);
        assert_eq!(latency(later), 0.0002);
        // What is not quick is always news.
        instances[0].succeeded(Duration::from_secs(1), later);
        assert_eq!(latency(later), 0.0004);
    }

    #[test]
    fn equals_share_evenly() {
        for policy in [Policy::RoundRobin, Policy::LeastLoaded] {
            let shares = tally(&Balancer::new(policy), &instances(4), 100, Instant::now());
            assert_eq!(shares, [25; 4], "{policy}");
        }
    }

    #[test]
    fn two_are_drawn_of_those_that_answer() {
        let instances = instances(9);
        let sound = |instance: &&Arc<Instance<()>>| instance.is_sound();
        let drawn = |draws: [usize; DRAWS]| {
            let mut draws = draws.into_iter();
            let two = two_at_random(&instances, sound, |len| draws.next().unwrap().min(len - 1));
            two.map(|two| two.map(|instance| instance.name().to_owned()))
        };
        let two = Some(["w1", "w2"].map(str::to_owned));
        assert_eq!(drawn([1, 2, 0, 0, 0, 0, 0, 0]), two);
        assert_eq!(drawn([1, 1, 1, 2, 0, 0, 0, 0]), two, "they differ");
        let lost = AttemptError::NotSent(ConnectionLost::Closed);
        instances[0].failed(&lost, Duration::ZERO, Instant::now());
        assert_eq!(
            drawn([0, 1, 0, 2, 0, 0, 0, 0]),
            two,
            "nobody draws the dead"
        );
        assert_eq!(drawn([0, 1, 0, 0, 0, 0, 0, 0]), None, "they are too rare");
        instances[0].succeeded(Duration::ZERO, Instant::now());
        let two = Some(["w0", "w1"].map(str::to_owned));
        assert_eq!(drawn([0, 1, 0, 0, 0, 0, 0, 0]), two);
    }

    #[test]
    fn of_many_most_of_whom_are_dead_the_living_are_found() {
        let now = Instant::now();
        let instances = instances(40);
        let lost = AttemptError::NotSent(ConnectionLost::Closed);
        for instance in &instances[2..] {
            instance.failed(&lost, Duration::ZERO, now);
        }
        for instance in &instances[..2] {
            instance.succeeded(Duration::from_millis(5), now);
        }
        let balancer = Balancer::new(Policy::LeastLoaded);
        let shares = tally(&balancer, &instances, 100, now);
        assert_eq!(shares[0] + shares[1], 100, "{shares:?}");
    }

    #[test]
    fn of_many_nobody_is_left_out() {
        let balancer = Balancer::new(Policy::LeastLoaded);
        let shares = tally(&balancer, &instances(20), 4000, Instant::now());
        assert!(shares.iter().all(|&share| share > 100), "{shares:?}");
    }

    #[test]
    fn an_open_breaker_is_avoided_but_never_takes_everyone_out() {
        let now = Instant::now();
        let instances = instances(2);
        for policy in [Policy::RoundRobin, Policy::LeastLoaded] {
            let balancer = Balancer::new(policy);
            break_open(&instances[0], now);
            assert_eq!(tally(&balancer, &instances, 10, now), [0, 10], "{policy}");
        }
        break_open(&instances[1], now);
        let shares = tally(&Balancer::new(Policy::default()), &instances, 10, now);
        assert_eq!(shares.iter().sum::<usize>(), 10);
    }

    #[test]
    fn what_was_tried_is_not_picked_again_while_another_is_left() {
        let now = Instant::now();
        let instances = instances(2);
        let balancer = Balancer::new(Policy::default());
        let first = balancer.pick(&instances, &[], now).unwrap();
        let second = balancer
            .pick(&instances, &[Arc::clone(&first)], now)
            .unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        let none = balancer.pick(&instances, &instances, now);
        assert_eq!(none.unwrap_err(), NoPick::AllTried);
        assert_eq!(
            balancer.pick::<()>(&[], &[], now).unwrap_err(),
            NoPick::Empty
        );
    }
}
