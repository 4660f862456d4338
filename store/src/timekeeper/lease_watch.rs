//! Which leases are over, without a clock that could be set: a lease is over when the process that is to take
//! over has seen no renewal for the lease's time to live.
//!
//! A renewal adds one to a number in the store. No process compares its clock with that of another one; each
//! measures how long it has seen a number unchanged. Time without observation does not count: after a gap
//! between two observations, or when the store did not answer, every lease gets a new term.

use crate::model::Fence;
use std::{collections::HashMap, time::Duration};

/// The longest time between two observations that counts as silence. It is a little more than the usual
/// interval: if observer and owner were stopped together, the owner can renew first.
const MAX_COUNTED_GAP: Duration = Duration::from_millis(600);

/// After a longer time between two observations, earlier ones do not count.
const MAX_GAP: Duration = Duration::from_secs(2);

/// How much more than its time to live a lease gets after such a gap: its owner may have to reconnect to the
/// store.
const GRACE: Duration = Duration::from_millis(300);

/// The state of a lease in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseRenewals {
    pub(crate) ttl: Duration,
    /// A number that changes with every renewal.
    pub(crate) count: i64,
}

/// The observations of all leases by one process.
#[derive(Debug, Default)]
pub(super) struct LeaseWatch {
    /// The time of the last observation, unless it was reset since.
    last_observed: Option<Duration>,
    observations: HashMap<Fence, LeaseObservation>,
}

#[derive(Clone, Copy, Debug)]
struct LeaseObservation {
    renewals: i64,
    /// How much longer its owner may be silent.
    left: Duration,
}

/// The result of an observation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndedLeases {
    /// The leases that are over, with the observed number of renewals.
    pub(crate) leases: Vec<(Fence, i64)>,
    /// The time after which the next lease is over, if it is not renewed.
    pub(crate) next: Option<Duration>,
}

impl LeaseWatch {
    /// Observes all leases as they are at `now`.
    pub(super) fn observe(
        &mut self,
        now: Duration,
        leases: &[(Fence, LeaseRenewals)],
    ) -> EndedLeases {
        let gap = self.last_observed.map(|looked| now.saturating_sub(looked));
        let gap = gap.filter(|gap| *gap <= MAX_GAP);
        self.last_observed = Some(now);
        let before = std::mem::take(&mut self.observations);
        let mut ended = EndedLeases::default();
        for (fence, LeaseRenewals { ttl, count }) in leases {
            let left = match (gap, before.get(fence)) {
                (None, _) => *ttl + GRACE,
                (Some(gap), Some(seen)) if seen.renewals == *count => {
                    seen.left.saturating_sub(gap.min(MAX_COUNTED_GAP))
                }
                (Some(_), _) => *ttl,
            };
            if left.is_zero() {
                ended.leases.push((*fence, *count));
            } else {
                ended.next = Some(ended.next.map_or(left, |next| next.min(left)));
            }
            let renewals = *count;
            self.observations
                .insert(*fence, LeaseObservation { renewals, left });
        }
        ended
    }

    /// Earlier observations no longer count.
    pub(super) fn reset(&mut self) {
        self.last_observed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: u64 = 1500;

    fn lease(count: i64) -> [(Fence, LeaseRenewals); 1] {
        let ttl = Duration::from_millis(TTL);
        [(7, LeaseRenewals { ttl, count })]
    }

    /// Observes at these times in milliseconds, and returns the times at which the lease is over.
    fn over(watch: &mut LeaseWatch, looks: impl IntoIterator<Item = (u64, i64)>) -> Vec<u64> {
        let mut over = Vec::new();
        for (at, count) in looks {
            let ended = watch.observe(Duration::from_millis(at), &lease(count));
            if !ended.leases.is_empty() {
                assert_eq!(ended.leases, [(7, count)]);
                over.push(at);
            }
        }
        over
    }

    #[test]
    fn a_lease_is_over_when_its_owner_is_silent_for_its_time_to_live() {
        let mut watch = LeaseWatch::default();
        let spoken = (0..20).map(|look| (look * 500, look as i64));
        assert_eq!(over(&mut watch, spoken), [0; 0]);
        let silent = (20..24).map(|look| (look * 500, 19));
        // The last renewal was seen at 9500.
        assert_eq!(over(&mut watch, silent), [11_000, 11_500]);
    }

    #[test]
    fn a_look_says_when_the_next_lease_may_be_over() {
        let mut watch = LeaseWatch::default();
        let left = |watch: &mut LeaseWatch, at| {
            let ended = watch.observe(Duration::from_millis(at), &lease(1));
            ended.next.map(|next| next.as_millis())
        };
        assert_eq!(left(&mut watch, 0), Some(1800));
        assert_eq!(left(&mut watch, 500), Some(1300));
        assert_eq!(
            watch.observe(Duration::from_secs(1), &[]),
            EndedLeases::default()
        );
    }

    #[test]
    fn one_who_has_just_come_watches_for_a_whole_term_first() {
        let looks = (0..5).map(|look| (look * 500, 3));
        assert_eq!(over(&mut LeaseWatch::default(), looks), [2000]);
    }

    #[test]
    fn what_was_not_watched_does_not_count() {
        let watched = |gap: u64| {
            let mut watch = LeaseWatch::default();
            over(&mut watch, [(0, 1), (500, 2), (1000, 2)]);
            over(&mut watch, (0..5).map(|look| (1000 + gap + look * 500, 2)))
        };
        assert_eq!(watched(500), [2000, 2500, 3000, 3500]);
        // All processes were stopped for a while: the owner has one more interval to renew.
        assert_eq!(watched(1900)[0], 3400);
        assert_eq!(watched(5000), [8000]);
    }

    #[test]
    fn after_the_store_was_away_everybody_gets_a_fresh_term() {
        let mut watch = LeaseWatch::default();
        over(&mut watch, [(0, 1), (500, 1), (1000, 1)]);
        watch.reset();
        let looks = (0..5).map(|look| (1500 + look * 500, 1));
        assert_eq!(over(&mut watch, looks), [3500]);
    }
}
