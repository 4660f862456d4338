//! Two live workers of one name: the one that started later keeps it.
//!
//! A name server refuses a second live worker of a name. But a worker may get in at one name server while the
//! first one is frozen or cut off, and the first one may come back while another name server still lists it.
//! Each would be registered at one name server for ever. So the worker that started first gives the name up
//! everywhere as soon as a name server refuses it in favour of the other one, and waits until the name is
//! free. The worker that started later only waits: the first one may be its dead predecessor.

use pyroxene_common::interfaces::directory::DirectoryError;
use std::{collections::BTreeMap, time::UNIX_EPOCH};
use tokio::sync::watch;

/// The incarnation of a worker that starts now: the milliseconds since 1970, and 20 random bits. Of two
/// workers on one machine, the one that starts later has the greater one.
pub(crate) fn incarnation_now() -> u64 {
    const RANDOM_BITS: u32 = 20;
    let ms = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
    let random = rand::random_range(0..1 << RANDOM_BITS);
    u64::try_from(ms).unwrap_or(0) << RANDOM_BITS | random
}

/// The name servers that refuse this worker because one that started later has its name.
#[derive(Clone, Debug)]
pub(crate) struct NameSuccessors {
    incarnation: u64,
    refusals: watch::Sender<BTreeMap<usize, DirectoryError>>,
}

impl NameSuccessors {
    /// Of the worker with this incarnation.
    pub(crate) fn of(incarnation: u64) -> Self {
        let refusals = watch::Sender::default();
        Self {
            incarnation,
            refusals,
        }
    }

    /// Records the answer of a name server to the worker's registration.
    pub(crate) fn answered(&self, nameserver: usize, refusal: Option<&DirectoryError>) {
        let is_successor = |error: &&DirectoryError| {
            matches!(error, DirectoryError::NameTaken { incarnation: Some(other), .. }
                if *other > self.incarnation)
        };
        let refusal = refusal.filter(is_successor);
        self.refusals.send_if_modified(|refusals| {
            let before = match refusal {
                Some(error) => refusals.insert(nameserver, error.clone()),
                None => refusals.remove(&nameserver),
            };
            before.as_ref() != refusal
        });
    }

    /// The refusal of another name server, if this one does not refuse the worker in the same way: then the
    /// worker must not be registered here.
    pub(crate) fn elsewhere(&self, nameserver: usize) -> Option<DirectoryError> {
        let refusals = self.refusals.borrow();
        match refusals.contains_key(&nameserver) {
            true => None,
            false => refusals.values().next().cloned(),
        }
    }

    /// Waits until there is such a refusal.
    pub(crate) async fn refused_elsewhere(&self, nameserver: usize) -> DirectoryError {
        let mut changes = self.refusals.subscribe();
        loop {
            if let Some(error) = self.elsewhere(nameserver) {
                return error;
            }
            // The sender is in `self`.
            let _ = changes.changed().await;
        }
    }

    /// Waits until there is none.
    pub(crate) async fn none_elsewhere(&self, nameserver: usize) {
        let mut changes = self.refusals.subscribe();
        while self.elsewhere(nameserver).is_some() {
            // The sender is in `self`.
            let _ = changes.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_by(incarnation: Option<u64>) -> DirectoryError {
        DirectoryError::NameTaken {
            worker: "w1".to_owned(),
            endpoint: "w1.example:4000".to_owned(),
            incarnation,
        }
    }

    #[test]
    fn the_worker_that_started_first_gives_its_name_up_and_the_other_one_keeps_it() {
        let (first, later) = (NameSuccessors::of(1), NameSuccessors::of(2));
        first.answered(0, Some(&taken_by(Some(2))));
        later.answered(1, Some(&taken_by(Some(1))));
        assert_eq!(first.elsewhere(1), Some(taken_by(Some(2))));
        assert_eq!(later.elsewhere(0), None);
        // The name server that refuses it is asked again.
        assert_eq!(first.elsewhere(0), None);
        first.answered(0, None);
        assert_eq!(first.elsewhere(1), None);
    }

    #[test]
    fn other_refusals_and_those_for_the_worker_of_another_user_change_nothing() {
        let worker = NameSuccessors::of(1);
        worker.answered(0, Some(&taken_by(None)));
        worker.answered(0, Some(&DirectoryError::UnknownSession));
        assert_eq!(worker.elsewhere(1), None);
    }

    #[tokio::test]
    async fn a_session_waits_until_no_other_name_server_has_the_successor() {
        let worker = NameSuccessors::of(1);
        worker.none_elsewhere(1).await;
        worker.answered(0, Some(&taken_by(Some(2))));
        assert_eq!(worker.refused_elsewhere(1).await, taken_by(Some(2)));
        let waiting = tokio::spawn({
            let worker = worker.clone();
            async move { worker.none_elsewhere(1).await }
        });
        worker.answered(0, None);
        waiting.await.unwrap();
    }

    #[test]
    fn a_worker_that_starts_later_has_a_greater_incarnation() {
        let first = incarnation_now();
        let mut later = (0..100_000_000).map(|_| incarnation_now());
        assert!(later.any(|later| later > first));
    }
}
