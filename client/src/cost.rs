//! What it costs to send the next call to an instance: the estimate behind `least-loaded`.
//!
//! The latency is a peak-sensitive moving average: it goes up with slower answers at once and comes
//! down slowly, as in Finagle's and linkerd's Peak EWMA balancers. Unlike there, one answer at most
//! doubles it, and latencies that differ by less than that are equal; where few answers are known,
//! by less than a greater factor. Among many instances, of which a client hears seldom, a single
//! answer that the scheduler held up would otherwise keep it away for seconds.
//!
//! The latency is multiplied by the calls that wait in front of a new one: our own, which are known
//! exactly, and those of others, of which the worker's reports tell. The reports are up to 100 ms
//! old, and everybody hears the same. So they are smoothed: clients that all ran after the last one
//! would overload in turn whoever was free a moment ago (Mitzenmacher, "How Useful Is Old
//! Information?", 2000).
//!
//! Errors make an instance dearer as a share of the load of its busiest peer, not of its own: one
//! that fails at once never has a queue, and would otherwise draw in all the calls that it fails.

use std::time::Duration;
use tokio::time::Instant;

/// How slowly old latencies and errors are forgotten.
const DECAY: Duration = Duration::from_secs(5);

/// An instance that did not answer costs at least as much as one that takes this long.
const PENALTY: Duration = Duration::from_millis(250);

/// The latency assumed of instances when none is known, in seconds.
const UNKNOWN_LATENCY: f64 = 0.001;

/// How much dearer errors make an instance: one that answers nothing else is taken for this many
/// times as busy as its busiest peer.
const ERROR_WEIGHT: f64 = 10.0;

/// Each call in flight at an instance that has never answered counts for so many. Its first answer
/// comes soon if it is sound; if it is not, few calls were lost.
const STRANGER_WEIGHT: f64 = 8.0;

/// Latencies that differ by no more than this factor are equal, and one answer raises the average by
/// no more.
const NOISE: f64 = 2.0;

/// How wide the noise is of a latency that is known from few answers, above one: this divided by the
/// root of their number.
const FEW_ANSWERS: f64 = 10.0;

/// How much the newest observation counts in a moving average: the more, the longer ago the last one
/// was; at least one part in 32, so that a burst of answers counts for something.
fn weight(last: Option<Instant>, now: Instant) -> f64 {
    let elapsed = last.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
    (elapsed.as_secs_f64() / DECAY.as_secs_f64()).clamp(1.0 / 32.0, 1.0)
}

/// What is left of an average that was last touched at `last`.
fn faded(average: f64, last: Instant, now: Instant) -> f64 {
    let elapsed = now.saturating_duration_since(last);
    if elapsed < DECAY / 64 {
        return average;
    }
    average * (-elapsed.as_secs_f64() / DECAY.as_secs_f64()).exp()
}

/// What is known of an instance's latency.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// In seconds. Unknown until the first answer.
    average: Option<f64>,
    /// When it was last measured.
    measured: Option<Instant>,
    /// How many answers it is known from; old ones count less and less.
    answers: f64,
}

impl Latency {
    /// Takes in the latency of an answered call.
    pub fn answered(&mut self, took: Duration, now: Instant) {
        self.answers = self.answers(now) + 1.0;
        let took = took.as_secs_f64();
        let old = self.at(now).unwrap_or(took);
        self.average = Some(if took > old {
            // An average of nothing could never grow.
            took.min(old.max(1e-6) * NOISE)
        } else {
            old + (took - old) * weight(self.measured, now)
        });
        self.measured = Some(now);
    }

    /// Takes in the latency of a call that was answered with an error, which says nothing of how
    /// quick the instance is when it does its work; only how slow.
    pub fn erred(&mut self, took: Duration, now: Instant) {
        if self.at(now).is_some_and(|old| took.as_secs_f64() > old) {
            self.answered(took, now);
        }
    }

    /// Takes in that the instance did not answer.
    pub fn failed(&mut self, took: Duration, now: Instant) {
        let old = self.at(now).unwrap_or(0.0);
        let worse = old.max(took.as_secs_f64()).max(PENALTY.as_secs_f64());
        self.average = Some(worse);
        // There is no doubt about it.
        self.answers = self.answers(now).max(FEW_ANSWERS * FEW_ANSWERS);
        self.measured = Some(now);
    }

    /// How many answers the average is known from. Old ones count less and less.
    pub fn answers(&self, now: Instant) -> f64 {
        self.measured
            .map_or(0.0, |measured| faded(self.answers, measured, now))
    }

    /// The average now, in seconds. It fades while nothing is measured, so that an instance that
    /// was slow once is tried again.
    pub fn at(&self, now: Instant) -> Option<f64> {
        Some(faded(self.average?, self.measured?, now))
    }
}

/// The share of an instance's calls that brought an error, or no answer at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errors {
    share: f64,
    measured: Option<Instant>,
    calls: u32,
}

impl Errors {
    /// Takes in how a call ended.
    pub fn ended(&mut self, error: bool, now: Instant) {
        let old = self.at(now);
        self.calls = self.calls.saturating_add(1);
        // At first it is the plain mean: the first call of many must not weigh more than others.
        let weight = weight(self.measured, now).max(1.0 / f64::from(self.calls));
        self.share = old + (f64::from(u8::from(error)) - old) * weight;
        self.measured = Some(now);
    }

    /// The share now, from 0 to 1. It fades while nothing is heard.
    pub fn at(&self, now: Instant) -> f64 {
        self.measured
            .map_or(0.0, |measured| faded(self.share, measured, now))
    }
}

/// The calls of others at an instance, as its reports tell: a moving average over about a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Others {
    average: f64,
    reported: Option<Instant>,
}

/// A report older than this says nothing any more, and reports are averaged over this time.
const REPORT_LIFE: Duration = Duration::from_secs(1);

impl Others {
    /// Takes in a report that counts so many calls of others.
    pub fn report(&mut self, calls: u32, now: Instant) {
        let weight = self.at(now).and(self.reported).map_or(1.0, |last| {
            let elapsed = now.saturating_duration_since(last).as_secs_f64();
            1.0 - (-elapsed / REPORT_LIFE.as_secs_f64()).exp()
        });
        self.average += (f64::from(calls) - self.average) * weight;
        self.reported = Some(now);
    }

    /// The average, if it is fresh enough to mean anything.
    pub fn at(&self, now: Instant) -> Option<f64> {
        let reported = self.reported?;
        (now.saturating_duration_since(reported) < REPORT_LIFE).then_some(self.average)
    }
}

/// What speaks for and against an instance now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// The moving latency in seconds; unknown of a stranger.
    pub latency: Option<f64>,
    /// How many answers that is known from.
    pub answers: f64,
    /// For how long the calls in flight have waited without an answer to any, in seconds.
    pub stalled: f64,
    /// The share of calls that brought errors, from 0 to 1.
    pub errors: f64,
    /// Our own calls in flight.
    pub own: u32,
    /// The calls of others, if a fresh report tells.
    pub others: Option<f64>,
    /// The calls of everybody, by the directory.
    pub listed: u32,
}

/// What instances that are compared have in common.
#[derive(Clone, Copy, Debug)]
pub struct Peers {
    /// The latency to assume of a stranger: that of the fastest.
    latency: f64,
    /// The calls of others to assume where none are reported: the mean of those that are.
    others: Option<f64>,
    /// The calls at the busiest.
    load: f64,
}

impl Peers {
    /// What these have in common.
    pub fn of<'a>(all: impl Iterator<Item = &'a Standing> + Clone) -> Self {
        let latencies = all.clone().filter_map(|standing| standing.latency);
        let fastest = latencies.fold(f64::INFINITY, f64::min);
        let reported = all.clone().filter_map(|standing| standing.others);
        let (sum, count) = reported.fold((0.0, 0), |(sum, count), n| (sum + n, count + 1));
        let mut peers = Self {
            latency: match fastest.is_finite() {
                true => fastest,
                false => UNKNOWN_LATENCY,
            },
            others: (count > 0).then(|| sum / f64::from(count)),
            load: 0.0,
        };
        peers.load = all.map(|each| peers.load_of(each)).fold(0.0, f64::max);
        peers
    }

    /// The calls that a new one would find in front of it, and itself.
    fn load_of(&self, standing: &Standing) -> f64 {
        let own = f64::from(standing.own);
        let own = match standing.latency {
            Some(_) => own,
            None => own * STRANGER_WEIGHT,
        };
        let others = standing.others.or(self.others);
        let others =
            others.unwrap_or_else(|| f64::from(standing.listed.saturating_sub(standing.own)));
        own + others + 1.0
    }

    /// The cost of one more call. A newcomer is taken for as fast as its fastest peer and for as
    /// busy with others as its peers are: it gets its share at once, and no more.
    pub fn cost(&self, standing: &Standing) -> f64 {
        let known = standing.latency.unwrap_or(self.latency);
        let latency = known.max(standing.stalled);
        let noise = 1.0 + FEW_ANSWERS / standing.answers.max(1.0).sqrt();
        let latency = match latency <= self.latency * noise.max(NOISE) {
            true => self.latency,
            false => latency,
        };
        let load = self.load_of(standing) + standing.errors * ERROR_WEIGHT * self.load;
        // Even an instance that answers in no time costs something, or its queue would not count.
        latency.max(1e-6) * load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn fast() -> Standing {
        Standing {
            latency: Some(0.001),
            answers: 1000.0,
            ..Standing::default()
        }
    }

    /// The costs of instances compared with each other.
    fn costs<const N: usize>(all: [Standing; N]) -> [f64; N] {
        let peers = Peers::of(all.iter());
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
        let mut errors = Errors::default();
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
        let queue = |latency, own| Standing {
            latency: Some(latency),
            own,
            ..fast()
        };
        let [long, short] = costs([queue(0.001, 9), queue(0.003, 1)]);
        assert!(long > short);
        let [busy, idle] = costs([queue(0.0, 1), queue(0.0, 0)]);
        assert!(busy > idle);
        let reported = |own, others| Standing {
            own,
            others: Some(others),
            ..fast()
        };
        let [ours, theirs] = costs([reported(7, 2.0), reported(2, 7.0)]);
        assert_eq!(ours, theirs);
    }

    #[test]
    fn small_differences_of_latency_are_noise() {
        let of = |latency, own| Standing {
            latency: Some(latency),
            own,
            ..fast()
        };
        let [a, b, slow] = costs([of(0.0010, 1), of(0.0019, 1), of(0.0021, 1)]);
        assert_eq!(a, b);
        assert!(slow > b);
        let [busy, idle] = costs([of(0.0010, 1), of(0.0019, 0)]);
        assert!(busy > idle);
        // The fewer answers are known, the greater they have to be.
        let of = |latency, answers| Standing {
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
        let failing = Standing {
            errors: 1.0,
            ..fast()
        };
        let busy = Standing { own: 100, ..fast() };
        let [failing, busy, idle] = costs([failing, busy, fast()]);
        assert!(failing > busy && busy > idle);
        // If everybody's answers are errors, they are none of anybody's making.
        let of = |own| Standing {
            own,
            errors: 1.0,
            ..fast()
        };
        let [busy, idle] = costs([of(3), of(1)]);
        assert!(busy > idle);
    }

    #[test]
    fn a_newcomer_is_taken_for_as_fast_and_as_busy_as_its_peers() {
        let peer = |others| Standing {
            own: 1,
            others: Some(others),
            ..fast()
        };
        let newcomer = Standing::default();
        let [_, _, cost] = costs([peer(4.0), peer(6.0), newcomer]);
        let [_, _, same] = costs([
            peer(4.0),
            peer(6.0),
            Standing {
                own: 0,
                ..peer(5.0)
            },
        ]);
        assert_eq!(cost, same);
        // Until it has answered, one call is enough.
        let [first, second, third] = costs([peer(4.0), peer(6.0), Standing { own: 1, ..newcomer }]);
        assert!(third > first && third > second);
    }

    #[test]
    fn nobody_known_is_compared_by_what_the_directory_says() {
        let listed = |listed| Standing {
            listed,
            ..Standing::default()
        };
        let [busy, idle] = costs([listed(5), listed(1)]);
        assert!(busy > idle);
    }

    #[test]
    fn one_that_has_stopped_answering_is_as_slow_as_its_silence_is_long() {
        let silent = Standing {
            own: 1,
            stalled: 0.5,
            ..fast()
        };
        let busy = Standing { own: 200, ..fast() };
        let [silent, busy] = costs([silent, busy]);
        assert!(silent > busy);
    }

    #[test]
    fn reports_are_smoothed_and_forgotten() {
        let mut now = Instant::now();
        let mut others = Others::default();
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
