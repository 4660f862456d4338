//! Whether writes succeed. Changes are logged, not every write.

use super::error::StoreError;
use parking_lot::Mutex;
use std::mem::discriminant;

/// The state of the last writes.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Outage>>);

/// Consecutive writes that failed for reasons of one kind.
#[derive(Debug)]
struct Outage {
    error: StoreError,
    failed: u64,
}

impl Health {
    /// Records that a write failed. Returns whether the reason is new.
    pub(super) fn failed(&self, error: &StoreError) -> bool {
        let mut outage = self.0.lock();
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
        let outage = self.0.lock();
        outage.as_ref().map(|outage| outage.error.clone())
    }

    /// Records that a write succeeded. Returns how many failed just before.
    pub(super) fn succeeded(&self) -> u64 {
        let failed = self.0.lock().take().map_or(0, |outage| outage.failed);
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
    }
}
