//! The load of a worker.

use crate::compute::ComputePool;
use pyroxene_common::message::Load;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts the calls of all objects of a worker.
#[derive(Clone, Debug)]
pub(crate) struct LoadGauge(Arc<LoadGaugeInner>);

#[derive(Debug)]
struct LoadGaugeInner {
    begun: AtomicU64,
    ended: AtomicU64,
    capacity: u32,
    pool: ComputePool,
}

impl LoadGauge {
    pub(crate) fn new(capacity: usize, pool: ComputePool) -> Self {
        Self(Arc::new(LoadGaugeInner {
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
            pool,
        }))
    }

    /// Counts a call until the guard is dropped. Returns the number of the call, starting at one.
    pub(crate) fn begin(&self) -> (u64, RunningCallGuard<'_>) {
        let number = self.0.begun.fetch_add(1, Ordering::Relaxed) + 1;
        (number, RunningCallGuard(Some(self)))
    }

    pub(crate) fn in_flight(&self) -> u64 {
        let ended = self.0.ended.load(Ordering::Relaxed);
        self.0.begun.load(Ordering::Relaxed).saturating_sub(ended)
    }

    pub(crate) fn load(&self) -> Load {
        let queue = u32::try_from(self.0.pool.queued()).unwrap_or(u32::MAX);
        let in_flight = u32::try_from(self.in_flight()).unwrap_or(u32::MAX);
        Load {
            in_flight: in_flight.saturating_sub(queue),
            queue,
            capacity: self.0.capacity,
            calls: self.0.ended.load(Ordering::Relaxed),
        }
    }
}

/// A call that counts as running.
#[derive(Debug)]
pub(crate) struct RunningCallGuard<'a>(Option<&'a LoadGauge>);

impl RunningCallGuard<'_> {
    /// A guard that may outlive the call's future.
    pub(crate) fn detach(mut self) -> DetachedCallGuard {
        DetachedCallGuard(self.0.take().cloned())
    }
}

impl Drop for RunningCallGuard<'_> {
    fn drop(&mut self) {
        if let Some(gauge) = self.0 {
            gauge.0.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A call whose streams are running.
#[derive(Debug)]
pub(crate) struct DetachedCallGuard(Option<LoadGauge>);

impl Drop for DetachedCallGuard {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            gauge.0.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}
