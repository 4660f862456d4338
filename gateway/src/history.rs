//! What the broker did in the last minutes, hours and day: series in ring buffers, without I/O and clocks.
//!
//! A tick is 2 seconds. Each resolution has a ring of steps; all rings of a resolution move together. A subject
//! (everything, an object, a worker) takes 15 KB, and there are at most [`MAX_SUBJECTS`]: 9 MB. Ticks are counted in Unix
//! time, so that what one name server has measured another one can go on with ([`pack`], [`unpack`]). Within the life of
//! one they follow the time that passes, whatever the machine's clock is set to.

mod render;
mod ring;
mod snapshot;

pub(crate) use ring::Range;
pub(crate) use snapshot::{pack, unpack};

use pyroxene_common::interfaces::{
    directory::WorkerEntry,
    figures::{FigureSums, MethodFigures, changes},
    tasks::TaskState,
};
use ring::Series;
use std::{collections::BTreeMap, time::Duration};

/// The time between two measurements.
pub(crate) const TICK: Duration = Duration::from_secs(2);

/// The most objects and workers whose series are kept.
const MAX_SUBJECTS: usize = 600;

/// How many ticks the timer may be late.
const JITTER: u64 = 2;

/// What is measured of a subject in one tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// The calls of this tick alone.
    pub(crate) calls: MethodFigures,
    pub(crate) in_flight: f64,
    /// `None` where there is no queue of its own.
    pub(crate) queue: Option<f64>,
}

/// The series of one broker.
#[derive(Debug)]
pub(crate) struct History {
    /// The number of the next tick, in Unix time if the history was told of it.
    ticks: u64,
    total: Series,
    objects: BTreeMap<String, Series>,
    workers: BTreeMap<String, Series>,
    tasks: Option<ring::TaskSeries>,
    last: Option<FigureSums>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            ticks: 0,
            total: Series::new(),
            objects: BTreeMap::new(),
            workers: BTreeMap::new(),
            tasks: None,
            last: None,
        }
    }
}

impl History {
    /// Goes on with what another life has kept. What this one has measured so far is a gap.
    pub(crate) fn take_up(&mut self, kept: Self) {
        let last = self.last.take();
        *self = Self { last, ..kept };
    }

    /// Goes on at the tick of this time, if that is later than the next one: nothing was measured in between.
    pub(crate) fn go_on_at(&mut self, now_ms: u64) {
        let now = now_ms / TICK.as_millis() as u64;
        // A little earlier or later is only when the timer has fired.
        if now <= self.ticks + JITTER {
            return;
        }
        if let Some(last) = self.ticks.checked_sub(1) {
            let subjects = self.objects.values_mut().chain(self.workers.values_mut());
            for series in subjects.chain([&mut self.total]) {
                series.skip(last, now);
            }
            if let Some(tasks) = &mut self.tasks {
                tasks.skip(last, now);
            }
        }
        self.ticks = now;
    }

    /// Takes one measurement: the sums so far, the workers, and the tasks by state if there is a store.
    pub(crate) fn measure(
        &mut self,
        sums: FigureSums,
        workers: &[WorkerEntry],
        tasks: Option<&[(TaskState, u64)]>,
    ) {
        let tick = self.ticks;
        self.ticks += 1;
        let mut total = Sample::default();
        let mut queue = 0.0;
        let mut by_object: BTreeMap<String, Sample> = BTreeMap::new();
        let mut by_worker: BTreeMap<String, Sample> = BTreeMap::new();
        for worker in workers {
            total.in_flight += f64::from(worker.load.in_flight);
            queue += f64::from(worker.load.queue);
            let sample = by_worker.entry(worker.name.clone()).or_default();
            sample.in_flight = f64::from(worker.load.in_flight);
            sample.queue = Some(f64::from(worker.load.queue));
            for object in &worker.objects {
                by_object.entry(object.clone()).or_default();
            }
        }
        total.queue = Some(queue);
        // The first measurement is only what later ones are compared with.
        if let Some(last) = &self.last {
            for row in changes(&last.methods, &sums.methods) {
                total.calls.add(&row);
                let sample = by_object.entry(row.object.clone()).or_default();
                sample.in_flight += row.in_flight as f64;
                sample.calls.add(&row);
            }
            for row in changes(&last.workers, &sums.workers) {
                if let Some(sample) = by_worker.get_mut(&row.object) {
                    sample.calls.add(&row);
                }
            }
        }
        self.last = Some(sums);
        self.total.push(tick, Some(&total));
        push_all(&mut self.objects, tick, &by_object);
        push_all(&mut self.workers, tick, &by_worker);
        if let Some(tasks) = tasks {
            let series = self.tasks.get_or_insert_with(ring::TaskSeries::new);
            series.push(tick, tasks);
        }
    }
}

/// Adds a tick to every series of a kind, and makes room for new subjects.
fn push_all(series: &mut BTreeMap<String, Series>, tick: u64, samples: &BTreeMap<String, Sample>) {
    for (name, one) in series.iter_mut() {
        one.push(tick, samples.get(name));
    }
    series.retain(|_, one| !one.is_empty());
    for (name, sample) in samples {
        if series.contains_key(name) || series.len() >= MAX_SUBJECTS / 2 {
            continue;
        }
        let mut one = Series::new();
        one.push(tick, Some(sample));
        series.insert(name.clone(), one);
    }
}

#[cfg(test)]
mod tests;
