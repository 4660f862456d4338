//! The store's time, and the decisions that must not depend on it.
//!
//! The store's clock dates what is recorded; it can be set at any moment, by any amount. Two decisions use
//! elapsed time instead: which lease is over (`lease_watch`), and whether the clock was set (`step_watch`).

pub(super) mod lease_watch;
pub(super) mod step_watch;

use super::{
    model::{Fence, UnixMillis},
    options::StoreClock,
};
use lease_watch::{EndedLeases, LeaseRenewals, LeaseWatch};
use parking_lot::Mutex;
use std::time::Duration;
use step_watch::{ClockReading, ClockStep, StepWatch};
use tokio::time::Instant;

/// Provides the time, and keeps what one process has observed of the clock and of leases.
#[derive(Debug)]
pub(super) struct Timekeeper {
    clock: StoreClock,
    started_at: Instant,
    steps: Mutex<StepWatch>,
    leases: Mutex<LeaseWatch>,
}

impl Timekeeper {
    pub(super) fn new(clock: StoreClock) -> Self {
        Self {
            clock,
            started_at: Instant::now(),
            steps: Mutex::default(),
            leases: Mutex::default(),
        }
    }

    /// The elapsed time, whatever any clock shows.
    pub(super) fn elapsed(&self) -> Duration {
        match &self.clock {
            StoreClock::Database => self.started_at.elapsed(),
            StoreClock::Manual(time) => time.elapsed(),
        }
    }

    /// The manual time, if the clock is manual.
    pub(super) fn manual(&self) -> Option<UnixMillis> {
        self.clock.manual()
    }

    /// Reads this machine's clock, or the manual one.
    pub(super) fn read(&self) -> ClockReading {
        let asked = self.elapsed();
        let shown = self.clock.here();
        self.reading(asked, shown)
    }

    /// A reading that was requested at `asked`, and has just arrived.
    pub(super) fn reading(&self, asked: Duration, shown: UnixMillis) -> ClockReading {
        ClockReading {
            asked_at: asked,
            answered_at: self.elapsed(),
            clock_time: self.manual().unwrap_or(shown),
        }
    }

    /// By how much the clock was set since the last reading that was [accepted](Self::accept).
    pub(super) fn step(&self, reading: &ClockReading) -> Option<ClockStep> {
        self.steps.lock().step(reading)
    }

    /// A transaction with this reading was committed, and with it any step that the reading shows.
    pub(super) fn accept(&self, reading: &ClockReading) {
        self.steps.lock().accept(reading);
    }

    /// Observes all leases as they are now. Returns those that are over.
    pub(super) fn observe_leases(&self, leases: &[(Fence, LeaseRenewals)]) -> EndedLeases {
        let now = self.elapsed();
        self.leases.lock().observe(now, leases)
    }

    /// The store did not answer: owners may have been unable to renew their leases.
    pub(super) fn reset_lease_watch(&self) {
        self.leases.lock().reset();
    }
}
