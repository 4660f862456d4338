//! Ring buffers of steps.

use super::Sample;
use pyroxene_common::interfaces::{figures::MethodFigures, tasks::TaskState};

/// The number of values of a step.
pub(super) const VALUES: usize = 6;

/// A step without a measurement.
const NOTHING: [f32; VALUES] = [f32::NAN; VALUES];

/// A time range with its resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    Minutes,
    Hour,
    Day,
}

impl Range {
    pub(crate) const ALL: [Self; 3] = [Self::Minutes, Self::Hour, Self::Day];

    /// Its name in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minutes => "5m",
            Self::Hour => "1h",
            Self::Day => "24h",
        }
    }

    /// How many steps it has.
    pub(crate) fn steps(self) -> usize {
        match self {
            Self::Minutes => 150,
            Self::Hour => 180,
            Self::Day => 288,
        }
    }

    /// How many ticks a step has.
    pub(crate) fn ticks(self) -> u64 {
        match self {
            Self::Minutes => 1,
            Self::Hour => 10,
            Self::Day => 150,
        }
    }
}

/// The steps of one subject, in every resolution.
#[derive(Debug)]
pub(super) struct Series([Ring; 3]);

/// The steps of one resolution. The current step is at its tick's place, and counts as it grows.
#[derive(Debug)]
struct Ring {
    range: Range,
    steps: Vec<[f32; VALUES]>,
    current: Option<(u64, Accumulator)>,
}

/// What was measured in the current step.
#[derive(Debug, Default)]
struct Accumulator {
    calls: MethodFigures,
    in_flight: f64,
    queue: Option<f64>,
    ticks: u32,
}

impl Accumulator {
    fn add(&mut self, sample: &Sample) {
        self.calls.add(&sample.calls);
        self.in_flight += sample.in_flight;
        self.queue = match (self.queue, sample.queue) {
            (None, queue) | (queue, None) => queue,
            (Some(one), Some(other)) => Some(one + other),
        };
        self.ticks += 1;
    }

    fn values(&self) -> [f32; VALUES] {
        let ticks = f64::from(self.ticks.max(1));
        let seconds = ticks * super::TICK.as_secs_f64();
        let latency = |part| {
            self.calls
                .quantile_us(part)
                .map_or(f64::NAN, |us| us / 1000.0)
        };
        let values = [
            self.calls.calls as f64 / seconds,
            self.calls.errors as f64 / seconds,
            latency(0.5),
            latency(0.99),
            self.in_flight / ticks,
            self.queue.map_or(f64::NAN, |queue| queue / ticks),
        ];
        values.map(|value| value as f32)
    }
}

/// The steps without a measurement between two ticks, at most all of a range.
fn skipped(range: Range, last: u64, next: u64) -> std::ops::Range<u64> {
    let end = next / range.ticks();
    let first = last / range.ticks() + 1;
    first.max(end.saturating_sub(range.steps() as u64))..end
}

/// The place of a step in a ring.
fn place(step: u64, steps: usize) -> usize {
    usize::try_from(step % steps.max(1) as u64).unwrap_or(0)
}

impl Ring {
    fn new(range: Range) -> Self {
        Self {
            range,
            steps: vec![NOTHING; range.steps()],
            current: None,
        }
    }

    fn push(&mut self, tick: u64, sample: Option<&Sample>) {
        let step = tick / self.range.ticks();
        let is_new = self
            .current
            .as_ref()
            .is_none_or(|(current, _)| *current != step);
        if is_new {
            self.current = Some((step, Accumulator::default()));
        }
        let mut values = NOTHING;
        if let Some((_, accumulator)) = &mut self.current {
            if let Some(sample) = sample {
                accumulator.add(sample);
            }
            if accumulator.ticks > 0 {
                values = accumulator.values();
            }
        }
        let place = place(step, self.steps.len());
        if let Some(slot) = self.steps.get_mut(place) {
            *slot = values;
        }
    }

    /// Forgets what has no measurement: the steps after that of tick `last`, before that of tick `next`.
    fn skip(&mut self, last: u64, next: u64) {
        for step in skipped(self.range, last, next) {
            let place = place(step, self.steps.len());
            if let Some(slot) = self.steps.get_mut(place) {
                *slot = NOTHING;
            }
        }
    }

    fn at(&self, step: u64) -> [f32; VALUES] {
        let place = place(step, self.steps.len());
        self.steps.get(place).copied().unwrap_or(NOTHING)
    }
}

impl Series {
    pub(super) fn new() -> Self {
        Self(Range::ALL.map(Ring::new))
    }

    /// Adds a tick; nothing is known of the subject if `sample` is `None`.
    pub(super) fn push(&mut self, tick: u64, sample: Option<&Sample>) {
        for ring in &mut self.0 {
            ring.push(tick, sample);
        }
    }

    /// Nothing is measured between two ticks.
    pub(super) fn skip(&mut self, last: u64, next: u64) {
        for ring in &mut self.0 {
            ring.skip(last, next);
        }
    }

    /// Every value, in the order of the places in the rings.
    pub(super) fn all(&self) -> impl Iterator<Item = f32> {
        let steps = self.0.iter().flat_map(|ring| &ring.steps);
        steps.flatten().copied()
    }

    /// A series with all these values; `None` if they are too few.
    pub(super) fn read(values: &mut impl Iterator<Item = f32>) -> Option<Self> {
        let mut series = Self::new();
        for slot in series
            .0
            .iter_mut()
            .flat_map(|ring| &mut ring.steps)
            .flatten()
        {
            *slot = values.next()?;
        }
        Some(series)
    }

    /// Whether no resolution has a measurement any more.
    pub(super) fn is_empty(&self) -> bool {
        let mut steps = self.0.iter().flat_map(|ring| &ring.steps);
        steps.all(|step| step.iter().all(|value| value.is_nan()))
    }

    /// One value of the steps up to `last`, the oldest first.
    pub(super) fn values(&self, range: Range, last: u64, value: usize) -> Vec<f32> {
        let Some(ring) = self.0.iter().find(|ring| ring.range == range) else {
            return Vec::new();
        };
        steps(range, last)
            .map(|step| match step {
                Some(step) => ring.at(step).get(value).copied().unwrap_or(f32::NAN),
                None => f32::NAN,
            })
            .collect()
    }
}

/// The steps of a range that ends with `last`; `None` for those before the first one.
fn steps(range: Range, last: u64) -> impl Iterator<Item = Option<u64>> {
    let count = range.steps() as u64;
    (0..count).map(move |index| (last + 1 + index).checked_sub(count))
}

/// The number of tasks in each state.
#[derive(Debug)]
pub(super) struct TaskSeries([Vec<[f32; 5]>; 3]);

impl TaskSeries {
    pub(super) fn new() -> Self {
        Self(Range::ALL.map(|range| vec![[f32::NAN; 5]; range.steps()]))
    }

    pub(super) fn push(&mut self, tick: u64, counts: &[(TaskState, u64)]) {
        let count = |state| {
            let found = counts.iter().find(|(known, _)| *known == state);
            found.map_or(0.0, |(_, count)| *count as f32)
        };
        for (range, steps) in Range::ALL.into_iter().zip(&mut self.0) {
            let place = place(tick / range.ticks(), steps.len());
            if let Some(slot) = steps.get_mut(place) {
                *slot = TaskState::ALL.map(count);
            }
        }
    }

    /// Nothing is measured between two ticks.
    pub(super) fn skip(&mut self, last: u64, next: u64) {
        for (range, steps) in Range::ALL.into_iter().zip(&mut self.0) {
            for step in skipped(range, last, next) {
                let place = place(step, steps.len());
                if let Some(slot) = steps.get_mut(place) {
                    *slot = [f32::NAN; 5];
                }
            }
        }
    }

    /// Every value, in the order of the places in the rings.
    pub(super) fn all(&self) -> impl Iterator<Item = f32> {
        self.0.iter().flatten().flatten().copied()
    }

    /// A series with all these values; `None` if they are too few.
    pub(super) fn read(values: &mut impl Iterator<Item = f32>) -> Option<Self> {
        let mut series = Self::new();
        for slot in series.0.iter_mut().flatten().flatten() {
            *slot = values.next()?;
        }
        Some(series)
    }

    pub(super) fn values(&self, range: Range, last: u64, state: usize) -> Vec<f32> {
        let mut rings = Range::ALL.into_iter().zip(&self.0);
        let Some((_, ring)) = rings.find(|(known, _)| *known == range) else {
            return Vec::new();
        };
        steps(range, last)
            .map(|step| {
                let values = step.and_then(|step| ring.get(place(step, ring.len())));
                values
                    .and_then(|values| values.get(state))
                    .copied()
                    .unwrap_or(f32::NAN)
            })
            .collect()
    }
}
