//! The store's time, and what must not follow it.
//!
//! The store's clock dates what is recorded; it can be set at any moment, by any amount. What has to
//! go on all the same is watched with time that only passes: whose lease is over (`lease_watch`), and
//! whether the clock was set (`step_watch`).

pub(super) mod lease_watch;
pub(super) mod step_watch;

use super::{
    model::{Fence, UnixMillis},
    options::Clock,
};
use lease_watch::{Ended, LeaseWatch, Renewals};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use step_watch::{Reading, Step, StepWatch};
use tokio::time::Instant;

/// Tells the time, and keeps what one process has seen of it and of leases.
#[derive(Debug)]
pub(super) struct Timekeeper {
    clock: Clock,
    begun: Instant,
    steps: Mutex<StepWatch>,
    leases: Mutex<LeaseWatch>,
}

impl Timekeeper {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            begun: Instant::now(),
            steps: Mutex::default(),
            leases: Mutex::default(),
        }
    }

    /// How much time has passed, whatever any clock shows.
    pub(super) fn elapsed(&self) -> Duration {
        match &self.clock {
            Clock::Database => self.begun.elapsed(),
            Clock::Manual(time) => time.elapsed(),
        }
    }

    /// What the clock shows, if it is not the database's server that tells.
    pub(super) fn manual(&self) -> Option<UnixMillis> {
        self.clock.manual()
    }

    /// Reads this machine's clock, or the manual one.
    pub(super) fn read(&self) -> Reading {
        let asked = self.elapsed();
        let shown = self.clock.here();
        self.reading(asked, shown)
    }

    /// A reading that was asked for at `asked`, and has just arrived.
    pub(super) fn reading(&self, asked: Duration, shown: UnixMillis) -> Reading {
        Reading {
            asked,
            answered: self.elapsed(),
            shown: self.manual().unwrap_or(shown),
        }
    }

    /// By how much the clock was set since the last reading that was [accepted](Self::accept).
    pub(super) fn step(&self, reading: &Reading) -> Option<Step> {
        lock(&self.steps).step(reading)
    }

    /// A transaction with this reading was committed: whatever step it showed is recorded.
    pub(super) fn accept(&self, reading: &Reading) {
        lock(&self.steps).accept(reading);
    }

    /// Takes in all leases as they are now. Gives those that are over.
    pub(super) fn look(&self, leases: &[(Fence, Renewals)]) -> Ended {
        let now = self.elapsed();
        lock(&self.leases).look(now, leases)
    }

    /// The store did not answer: who was silent may have been kept from speaking.
    pub(super) fn lost_sight(&self) {
        lock(&self.leases).lost_sight();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data: whole even if a holder panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
