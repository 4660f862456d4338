use super::*;
use crate::{config::ClientConfig, connector::Connector};
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost},
    interfaces::directory::{Instance as Listed, InstanceState},
    message::{Load, Refusal, RefusalReason},
};
use pyroxene_objects::interfaces::echo::Echo;
use std::{collections::HashMap, time::Duration};

/// A balancer that is always asked for the same policy.
struct Balancer(super::Balancer, Policy);

impl Balancer {
    fn new(policy: Policy) -> Self {
        Self(super::Balancer::new(), policy)
    }

    fn pick<R>(
        &self,
        instances: &[Arc<ObjectInstance<R>>],
        tried: &[Arc<ObjectInstance<R>>],
        now: Instant,
    ) -> Result<Arc<ObjectInstance<R>>, NoPick> {
        self.0.pick(self.1, instances, tried, now)
    }

    fn pick_fewest_in_flight<R>(
        &self,
        instances: &[Arc<ObjectInstance<R>>],
        tried: &[Arc<ObjectInstance<R>>],
        now: Instant,
    ) -> Result<Arc<ObjectInstance<R>>, NoPick> {
        self.0.pick_fewest_in_flight(instances, tried, now)
    }
}

fn instances(count: usize) -> Vec<Arc<ObjectInstance<()>>> {
    let config = ClientConfig::without_nameservers();
    let greeting = Arc::new(Connector::new::<Echo>(&config, None));
    (0..count)
        .map(|n| {
            let listed = Listed {
                worker: format!("w{n}"),
                incarnation: 1,
                key: None,
                endpoint: format!("h{n}:1"),
                target: "o".into(),
                interface: "I".into(),
                version: 1,
                spoken: Vec::new(),
                state: InstanceState::Ready,
                tags: Vec::new(),
                fence: None,
                load: Load::default(),
            };
            Arc::new(ObjectInstance::new(&listed, 1, Arc::clone(&greeting)))
        })
        .collect()
}

fn break_open(instance: &ObjectInstance<()>, now: Instant) {
    let error = AttemptError::NotSent(ConnectionLost::Closed);
    for _ in 0..3 {
        instance.failed(&error, Duration::ZERO, now);
    }
}

fn tally(
    balancer: &Balancer,
    instances: &[Arc<ObjectInstance<()>>],
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
    let _busy: Vec<_> = (0..10).map(|_| instances[1].begin_call(now)).collect();
    let balancer = Balancer::new(Policy::LeastLoaded);
    assert_eq!(tally(&balancer, &instances, 100, now), [0, 0, 100]);
}

#[test]
fn quick_calls_go_in_runs_and_slow_ones_one_by_one() {
    let now = Instant::now();
    for (milliseconds, longest) in [(1, RUN_LENGTH), (20, 1)] {
        let instances = instances(2);
        for instance in &instances {
            instance.succeeded(Duration::from_millis(milliseconds), now);
        }
        let balancer = Balancer::new(Policy::LeastLoaded);
        let (mut runs, mut last, mut in_flight) = (Vec::new(), None, Vec::new());
        for _ in 0..4 * RUN_LENGTH {
            let picked = balancer.pick(&instances, &[], now).unwrap();
            let place = instances.iter().position(|i| Arc::ptr_eq(i, &picked));
            in_flight.push(instances[place.unwrap()].begin_call(now));
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
        .map(|other| other.begin_call(now))
        .collect();
    let picked = balancer
        .pick_fewest_in_flight(&instances, &[], now)
        .unwrap();
    assert_eq!(picked.name(), "w2");
    let tried = [picked];
    let picked = balancer
        .pick_fewest_in_flight(&instances, &tried, now)
        .unwrap();
    assert_ne!(picked.name(), "w2");
    break_open(&instances[2], now);
    let picked = balancer
        .pick_fewest_in_flight(&instances, &[], now)
        .unwrap();
    assert_ne!(picked.name(), "w2");
    let none = balancer.pick_fewest_in_flight(&instances, &instances, now);
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
    // The failing instance is in the middle of a run, and its peers are busy.
    let failing = balancer.pick(&instances, &[], now).unwrap();
    let mut busy = Vec::new();
    for instance in &instances {
        if !Arc::ptr_eq(instance, &failing) {
            busy.extend((0..20).map(|_| instance.begin_call(now)));
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
        message: String::new(),
    });
    for _ in 0..40 {
        instances[0].failed(&refused, Duration::ZERO, now);
    }
    let _busy: Vec<_> = (0..10)
        .map(|n| instances[1 + n % 2].begin_call(now))
        .collect();
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
        std::mem::forget(in_flight.last().unwrap().begin_call(now));
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
    let _silent = instances[0].begin_call(now);
    let _busy: Vec<_> = (0..9).map(|_| instances[1].begin_call(now)).collect();
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
    // A slow answer is always recorded.
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
    let sound = |instance: &&Arc<ObjectInstance<()>>| instance.is_healthy();
    let drawn = |draws: [usize; MAX_DRAWS]| {
        let mut draws = draws.into_iter();
        let two = two_random_instances(&instances, sound, |len| draws.next().unwrap().min(len - 1));
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
