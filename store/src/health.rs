//! Whether writes succeed, and how long they take. Changes are logged, not every write.

use super::error::StoreError;
use parking_lot::Mutex;
use std::{
    mem::discriminant,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The state of the last writes, and counts of all of them.
#[derive(Debug, Default)]
pub(super) struct Health {
    outage: Mutex<Option<Outage>>,
    written: AtomicU64,
    failed: AtomicU64,
    time_us: AtomicU64,
}

/// The transactions of a store that wrote, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteFigures {
    /// How many were committed.
    pub written: u64,
    /// How many failed.
    pub failed: u64,
    /// The sum of the time that all of them took.
    pub time: Duration,
    /// Whether the last one failed.
    pub is_failing: bool,
}

/// Consecutive writes that failed for reasons of one kind.
#[derive(Debug)]
struct Outage {
    error: StoreError,
    failed: u64,
}

impl Health {
    pub(super) fn figures(&self) -> WriteFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriteFigures {
            written: read(&self.written),
            failed: read(&self.failed),
            time: Duration::from_micros(read(&self.time_us)),
            is_failing: self.outage.lock().is_some(),
        }
    }

    /// Adds the time that a write took.
    pub(super) fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.time_us.fetch_add(time, Ordering::Relaxed);
    }

    /// Records that a write failed. Returns whether the reason is new.
    pub(super) fn failed(&self, error: &StoreError) -> bool {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut outage = self.outage.lock();
        if let Some(known) = &mut *outage
            && discriminant(&known.error) == discriminant(error)
        {
            known.failed += 1;
            known.error = error.clone();
            tracing::debug!(%error, "a write to the store failed");
            return false;
        }
        tracing::warn!(%error, "writes to the store fail");
        let failed = outage.as_ref().map_or(0, |known| known.failed) + 1;
        *outage = Some(Outage {
            error: error.clone(),
            failed,
        });
        true
    }

    /// Why writes fail now, if they do.
    pub(super) fn reason(&self) -> Option<StoreError> {
        let outage = self.outage.lock();
        outage.as_ref().map(|outage| outage.error.clone())
    }

    /// Records that a write succeeded. Returns how many failed just before.
    pub(super) fn succeeded(&self) -> u64 {
        self.written.fetch_add(1, Ordering::Relaxed);
        let failed = self.outage.lock().take().map_or(0, |outage| outage.failed);
        if failed > 0 {
            tracing::info!(failed, "writes to the store succeed again");
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_said_once_for_every_kind_of_reason() {
        let health = Health::default();
        let away = |why: &str| StoreError::Unavailable(why.to_owned());
        assert!(health.failed(&away("refused")));
        assert!(!health.failed(&away("no answer")));
        assert!(health.failed(&StoreError::ReadOnly("a standby".to_owned())));
        assert!(!health.failed(&StoreError::ReadOnly("a standby".to_owned())));
        let standby = StoreError::ReadOnly("a standby".to_owned());
        assert_eq!(health.reason(), Some(standby));
        assert_eq!(health.succeeded(), 4);
        assert_eq!(health.reason(), None);
        assert_eq!(health.succeeded(), 0);
        assert!(health.failed(&away("refused")));
        health.took(Duration::from_millis(2));
        let expected = WriteFigures {
            written: 2,
            failed: 5,
            time: Duration::from_millis(2),
            is_failing: true,
        };
        assert_eq!(health.figures(), expected);
    }
}
