//! The cost of sending the next call to an instance: the estimate behind `least-loaded`.
//!
//! The latency is a peak-sensitive moving average: a slower answer raises it at once, and it falls
//! slowly, as in the Peak EWMA balancers of Finagle and linkerd. There are two differences. One answer at
//! most doubles the average. Latencies that differ by less than a factor of two are equal; the factor is
//! greater while few answers are known. Among many instances a client measures each one rarely, and a
//! single answer that the scheduler delayed would otherwise keep the client away from it for seconds.
//!
//! The latency is multiplied by the number of calls in front of a new one: the client's own calls, which
//! are known exactly, and the calls of other clients, which the worker reports (the peer load). The
//! reports are up to 100 ms old, and every client receives the same. Therefore they are smoothed: if all
//! clients followed the latest report, they would overload one recently idle instance after the other
//! (Mitzenmacher, "How Useful Is Old Information?", 2000).
//!
//! Errors raise the cost of an instance in proportion to the load of its busiest peer, not to its own
//! load: an instance that fails at once never has a queue, and would otherwise attract all calls and fail
//! them.

use std::time::Duration;
use tokio::time::Instant;

/// The time constant of the decay of latencies and errors.
const DECAY: Duration = Duration::from_secs(5);

/// The minimum latency that is recorded for a call without an answer.
const PENALTY: Duration = Duration::from_millis(250);

/// The assumed latency while that of no instance is known, in seconds.
const UNKNOWN_LATENCY: f64 = 0.001;

/// The weight of errors: an instance that returns only errors counts as this many times as busy as its
/// busiest peer.
const ERROR_WEIGHT: f64 = 10.0;

/// Each call in flight at an instance that has never answered counts as this many calls. If the instance
/// is healthy, its first answer comes soon; if it is not, few calls are lost.
const UNMEASURED_WEIGHT: f64 = 8.0;

/// Latencies that differ by at most this factor are equal. One answer raises the average by at most this
/// factor.
const NOISE: f64 = 2.0;

/// The noise factor of a latency that is known from few answers is one plus this constant divided by the
/// square root of the number of answers.
const FEW_ANSWERS_NOISE: f64 = 10.0;

/// The weight of the newest observation in a moving average. It grows with the time since the previous
/// observation. It is at least 1/32, so that a burst of answers has an effect.
fn weight(last: Option<Instant>, now: Instant) -> f64 {
    let elapsed = last.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
    (elapsed.as_secs_f64() / DECAY.as_secs_f64()).clamp(1.0 / 32.0, 1.0)
}

/// An average that was last updated at `last`, decayed to `now`.
fn decayed(average: f64, last: Instant, now: Instant) -> f64 {
    let elapsed = now.saturating_duration_since(last);
    if elapsed < DECAY / 64 {
        return average;
    }
    average * (-elapsed.as_secs_f64() / DECAY.as_secs_f64()).exp()
}

/// The measured latency of an instance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// In seconds. `None` until the first answer.
    average: Option<f64>,
    /// When it was last measured.
    measured: Option<Instant>,
    /// The number of answers in the average. Old answers count less and less.
    answers: f64,
}

impl Latency {
    /// Records the latency of an answered call.
    pub fn answered(&mut self, took: Duration, now: Instant) {
        self.answers = self.answers(now) + 1.0;
        let took = took.as_secs_f64();
        let old = self.at(now).unwrap_or(took);
        self.average = Some(if took > old {
            // An average of zero could never grow.
            took.min(old.max(1e-6) * NOISE)
        } else {
            old + (took - old) * weight(self.measured, now)
        });
        self.measured = Some(now);
    }

    /// Records the latency of a call that returned an error. A quick error does not show that the
    /// instance is quick at real work, so only a slow error counts.
    pub fn erred(&mut self, took: Duration, now: Instant) {
        if self.at(now).is_some_and(|old| took.as_secs_f64() > old) {
            self.answered(took, now);
        }
    }

    /// Records a call that the instance did not answer.
    pub fn failed(&mut self, took: Duration, now: Instant) {
        let old = self.at(now).unwrap_or(0.0);
        let worse = old.max(took.as_secs_f64()).max(PENALTY.as_secs_f64());
        self.average = Some(worse);
        // This observation is certain, so the noise factor becomes small.
        self.answers = self.answers(now).max(FEW_ANSWERS_NOISE * FEW_ANSWERS_NOISE);
        self.measured = Some(now);
    }

    /// The number of answers in the average. Old answers count less and less.
    pub fn answers(&self, now: Instant) -> f64 {
        self.measured
            .map_or(0.0, |measured| decayed(self.answers, measured, now))
    }

    /// The average now, in seconds. It decays while nothing is measured, so that an instance that was
    /// slow once is tried again.
    pub fn at(&self, now: Instant) -> Option<f64> {
        Some(decayed(self.average?, self.measured?, now))
    }
}

/// The share of an instance's calls that ended with an error or without an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorRate {
    share: f64,
    measured: Option<Instant>,
    calls: u32,
}

impl ErrorRate {
    /// Records the end of a call.
    pub fn ended(&mut self, error: bool, now: Instant) {
        let old = self.at(now);
        self.calls = self.calls.saturating_add(1);
        // The first calls form a plain mean: the first call must not weigh more than the others.
        let weight = weight(self.measured, now).max(1.0 / f64::from(self.calls));
        self.share = old + (f64::from(u8::from(error)) - old) * weight;
        self.measured = Some(now);
    }

    /// The share now, from 0 to 1. It decays while no call ends.
    pub fn at(&self, now: Instant) -> f64 {
        self.measured
            .map_or(0.0, |measured| decayed(self.share, measured, now))
    }
}

/// The calls of other clients at an instance, as the worker reports them: a moving average over about a
/// second.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeerLoad {
    average: f64,
    reported: Option<Instant>,
}

/// Reports are averaged over this time. An older report is ignored.
const REPORT_LIFE: Duration = Duration::from_secs(1);

impl PeerLoad {
    /// Records a report with this number of calls of other clients.
    pub fn report(&mut self, calls: u32, now: Instant) {
        let weight = self.at(now).and(self.reported).map_or(1.0, |last| {
            let elapsed = now.saturating_duration_since(last).as_secs_f64();
            1.0 - (-elapsed / REPORT_LIFE.as_secs_f64()).exp()
        });
        self.average += (f64::from(calls) - self.average) * weight;
        self.reported = Some(now);
    }

    /// The average, if the latest report is recent enough.
    pub fn at(&self, now: Instant) -> Option<f64> {
        let reported = self.reported?;
        (now.saturating_duration_since(reported) < REPORT_LIFE).then_some(self.average)
    }
}

/// The measurements of an instance now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InstanceStats {
    /// The average latency in seconds. `None` for an instance that has never answered.
    pub latency: Option<f64>,
    /// The number of answers in that average.
    pub answers: f64,
    /// The time that the calls in flight have waited without any answer, in seconds.
    pub stalled: f64,
    /// The share of calls that ended with errors, from 0 to 1.
    pub errors: f64,
    /// The calls of this client in flight.
    pub own: u32,
    /// The calls of other clients, if there is a recent report.
    pub peer_load: Option<f64>,
    /// The calls of all clients, according to the directory.
    pub listed: u32,
}

/// The values that the compared instances share.
#[derive(Clone, Copy, Debug)]
pub struct ComparedInstances {
    /// The assumed latency of an instance that has never answered: that of the fastest instance.
    latency: f64,
    /// The assumed peer load of an instance without a report: the mean of the reported values.
    peer_load: Option<f64>,
    /// The load of the busiest instance, in calls.
    load: f64,
}

impl ComparedInstances {
    /// The shared values of these instances.
    pub fn of<'a>(all: impl Iterator<Item = &'a InstanceStats> + Clone) -> Self {
        let latencies = all.clone().filter_map(|standing| standing.latency);
        let fastest = latencies.fold(f64::INFINITY, f64::min);
        let reported = all.clone().filter_map(|standing| standing.peer_load);
        let (sum, count) = reported.fold((0.0, 0), |(sum, count), n| (sum + n, count + 1));
        let mut peers = Self {
            latency: match fastest.is_finite() {
                true => fastest,
                false => UNKNOWN_LATENCY,
            },
            peer_load: (count > 0).then(|| sum / f64::from(count)),
            load: 0.0,
        };
        peers.load = all.map(|each| peers.load_of(each)).fold(0.0, f64::max);
        peers
    }

    /// The number of calls in front of a new call, plus the new call itself.
    fn load_of(&self, standing: &InstanceStats) -> f64 {
        let own = f64::from(standing.own);
        let own = match standing.latency {
            Some(_) => own,
            None => own * UNMEASURED_WEIGHT,
        };
        let others = standing.peer_load.or(self.peer_load);
        let others =
            others.unwrap_or_else(|| f64::from(standing.listed.saturating_sub(standing.own)));
        own + others + 1.0
    }

    /// The cost of one more call. A new instance counts as fast as its fastest peer, with the mean peer
    /// load of the others: it gets its share of calls at once, and no more.
    pub fn cost(&self, standing: &InstanceStats) -> f64 {
        let known = standing.latency.unwrap_or(self.latency);
        let latency = known.max(standing.stalled);
        let noise = 1.0 + FEW_ANSWERS_NOISE / standing.answers.max(1.0).sqrt();
        let latency = match latency <= self.latency * noise.max(NOISE) {
            true => self.latency,
            false => latency,
        };
        let load = self.load_of(standing) + standing.errors * ERROR_WEIGHT * self.load;
        // The minimum keeps the cost above zero: otherwise the queue of a very fast instance would not count.
        latency.max(1e-6) * load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn fast() -> InstanceStats {
        InstanceStats {
            latency: Some(0.001),
            answers: 1000.0,
            ..InstanceStats::default()
        }
    }

    /// The costs of these instances when they are compared.
    fn costs<const N: usize>(all: [InstanceStats; N]) -> [f64; N] {
        let peers = ComparedInstances::of(all.iter());
        all.map(|standing| peers.cost(&standing))
    }

    #[test]
    fn slow_answers_count_at_once_and_fade_slowly() {
        let mut now = Instant::now();
        let mut latency = Latency::default();
        assert_eq!(latency.at(now), None);
        latency.answered(MS, now);
        latency.answered(100 * MS, now);
        assert_eq!(latency.at(now), Some(0.002), "one may be an accident");
        for _ in 0..6 {
            latency.answered(100 * MS, now);
        }
        assert_eq!(latency.at(now), Some(0.1));
        latency.answered(MS, now);
        assert!(latency.at(now).unwrap() > 0.09);
        now += Duration::from_secs(30);
        assert!(latency.at(now).unwrap() < 0.001);
        latency.answered(MS, now);
        assert!(latency.at(now).unwrap() <= 0.001);
    }

    #[test]
    fn failing_fast_is_not_being_fast() {
        let now = Instant::now();
        let (mut failing, mut slow) = (Latency::default(), Latency::default());
        failing.failed(MS / 10, now);
        slow.answered(50 * MS, now);
        assert!(failing.at(now) > slow.at(now));
    }

    #[test]
    fn an_error_is_not_a_quick_answer_but_may_be_a_slow_one() {
        let now = Instant::now();
        let mut latency = Latency::default();
        latency.erred(MS, now);
        assert_eq!(latency.at(now), None);
        latency.answered(10 * MS, now);
        latency.erred(MS, now);
        assert_eq!(latency.at(now), Some(0.01));
        latency.erred(15 * MS, now);
        assert_eq!(latency.at(now), Some(0.015));
    }

    #[test]
    fn one_error_among_many_answers_weighs_little_and_errors_fade() {
        let mut now = Instant::now();
        let mut errors = ErrorRate::default();
        errors.ended(true, now);
        assert_eq!(errors.at(now), 1.0);
        errors.ended(false, now);
        assert_eq!(errors.at(now), 0.5);
        for _ in 0..200 {
            errors.ended(false, now);
        }
        assert!(errors.at(now) < 0.01);
        errors.ended(true, now);
        assert!(errors.at(now) < 0.05);
        for _ in 0..200 {
            errors.ended(true, now);
        }
        assert!(errors.at(now) > 0.99);
        now += Duration::from_secs(30);
        assert!(errors.at(now) < 0.01);
    }

    #[test]
    fn a_queue_makes_an_instance_dearer() {
        let queue = |latency, own| InstanceStats {
            latency: Some(latency),
            own,
            ..fast()
        };
        let [long, short] = costs([queue(0.001, 9), queue(0.003, 1)]);
        assert!(long > short);
        let [busy, idle] = costs([queue(0.0, 1), queue(0.0, 0)]);
        assert!(busy > idle);
        let reported = |own, others| InstanceStats {
            own,
            peer_load: Some(others),
            ..fast()
        };
        let [ours, theirs] = costs([reported(7, 2.0), reported(2, 7.0)]);
        assert_eq!(ours, theirs);
    }

    #[test]
    fn small_differences_of_latency_are_noise() {
        let of = |latency, own| InstanceStats {
            latency: Some(latency),
            own,
            ..fast()
        };
        let [a, b, slow] = costs([of(0.0010, 1), of(0.0019, 1), of(0.0021, 1)]);
        assert_eq!(a, b);
        assert!(slow > b);
        let [busy, idle] = costs([of(0.0010, 1), of(0.0019, 0)]);
        assert!(busy > idle);
        // With fewer known answers, a difference must be greater to count.
        let of = |latency, answers| InstanceStats {
            latency: Some(latency),
            answers,
            ..fast()
        };
        let [a, b, slow] = costs([of(0.001, 10.0), of(0.004, 10.0), of(0.005, 10.0)]);
        assert_eq!(a, b);
        assert!(slow > b);
        let [fast, slow] = costs([of(0.001, 1.0), of(0.02, 1.0)]);
        assert!(slow > fast);
    }

    #[test]
    fn one_that_answers_only_errors_is_dearer_than_the_busiest() {
        let failing = InstanceStats {
            errors: 1.0,
            ..fast()
        };
        let busy = InstanceStats { own: 100, ..fast() };
        let [failing, busy, idle] = costs([failing, busy, fast()]);
        assert!(failing > busy && busy > idle);
        // If every instance returns errors, the cause is not one of the instances.
        let of = |own| InstanceStats {
            own,
            errors: 1.0,
            ..fast()
        };
        let [busy, idle] = costs([of(3), of(1)]);
        assert!(busy > idle);
    }

    #[test]
    fn a_newcomer_is_taken_for_as_fast_and_as_busy_as_its_peers() {
        let peer = |others| InstanceStats {
            own: 1,
            peer_load: Some(others),
            ..fast()
        };
        let newcomer = InstanceStats::default();
        let [_, _, cost] = costs([peer(4.0), peer(6.0), newcomer]);
        let [_, _, same] = costs([
            peer(4.0),
            peer(6.0),
            InstanceStats {
                own: 0,
                ..peer(5.0)
            },
        ]);
        assert_eq!(cost, same);
        // Until it has answered, one call in flight is enough.
        let [first, second, third] =
            costs([peer(4.0), peer(6.0), InstanceStats { own: 1, ..newcomer }]);
        assert!(third > first && third > second);
    }

    #[test]
    fn nobody_known_is_compared_by_what_the_directory_says() {
        let listed = |listed| InstanceStats {
            listed,
            ..InstanceStats::default()
        };
        let [busy, idle] = costs([listed(5), listed(1)]);
        assert!(busy > idle);
    }

    #[test]
    fn one_that_has_stopped_answering_is_as_slow_as_its_silence_is_long() {
        let silent = InstanceStats {
            own: 1,
            stalled: 0.5,
            ..fast()
        };
        let busy = InstanceStats { own: 200, ..fast() };
        let [silent, busy] = costs([silent, busy]);
        assert!(silent > busy);
    }

    #[test]
    fn reports_are_smoothed_and_forgotten() {
        let mut now = Instant::now();
        let mut others = PeerLoad::default();
        assert_eq!(others.at(now), None);
        others.report(10, now);
        assert_eq!(others.at(now), Some(10.0));
        now += 100 * MS;
        others.report(0, now);
        let smoothed = others.at(now).unwrap();
        assert!((9.0..9.1).contains(&smoothed), "{smoothed}");
        now += REPORT_LIFE;
        assert_eq!(others.at(now), None);
        others.report(2, now);
        assert_eq!(others.at(now), Some(2.0));
    }
}
