//! Which leases are over, without a clock that could be set: a lease is over when its owner has not
//! renewed it for its time to live, watched by whoever is to take over.
//!
//! A renewal adds one to a number in the store. No process compares its clock with another one's;
//! each counts how long it has seen a number unchanged. What was not watched does not count: after a
//! gap between two looks, or when the store did not answer, every lease gets a fresh term.

use crate::model::Fence;
use std::{collections::HashMap, time::Duration};

/// The longest time between two looks that counts as silence. It is a little more than the usual
/// time between them: if watcher and owner stood still together, the owner gets to speak first.
const LONGEST_COUNTED: Duration = Duration::from_millis(600);

/// After a longer time between two looks nothing counts that was seen before.
const LONGEST_GAP: Duration = Duration::from_secs(2);

/// How much more than its time to live a lease gets after such a gap: its owner may have to connect
/// to the store anew.
const GRACE: Duration = Duration::from_millis(300);

/// How a lease is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewals {
    pub(crate) ttl: Duration,
    /// Another number whenever the owner has spoken.
    pub(crate) count: i64,
}

/// What one process has seen of all leases.
#[derive(Debug, Default)]
pub(super) struct LeaseWatch {
    /// When it last looked, unless it has lost sight since.
    looked: Option<Duration>,
    seen: HashMap<Fence, Sighting>,
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    renewals: i64,
    /// How much longer its owner may be silent.
    left: Duration,
}

/// What a look has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The leases that are over, with the number of renewals that was seen.
    pub(crate) leases: Vec<(Fence, i64)>,
    /// After which time the next one is over, if its owner says nothing.
    pub(crate) next: Option<Duration>,
}

impl LeaseWatch {
    /// Takes in all leases as they are at `now`.
    pub(super) fn look(&mut self, now: Duration, leases: &[(Fence, Renewals)]) -> Ended {
        let gap = self.looked.map(|looked| now.saturating_sub(looked));
        let gap = gap.filter(|gap| *gap <= LONGEST_GAP);
        self.looked = Some(now);
        let before = std::mem::take(&mut self.seen);
        let mut ended = Ended::default();
        for (fence, Renewals { ttl, count }) in leases {
            let left = match (gap, before.get(fence)) {
                (None, _) => *ttl + GRACE,
                (Some(gap), Some(seen)) if seen.renewals == *count => {
                    seen.left.saturating_sub(gap.min(LONGEST_COUNTED))
                }
                (Some(_), _) => *ttl,
            };
            if left.is_zero() {
                ended.leases.push((*fence, *count));
            } else {
                ended.next = Some(ended.next.map_or(left, |next| next.min(left)));
            }
            let renewals = *count;
            self.seen.insert(*fence, Sighting { renewals, left });
        }
        ended
    }

    /// Nothing that was seen counts any more.
    pub(super) fn lost_sight(&mut self) {
        self.looked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: u64 = 1500;

    fn lease(count: i64) -> [(Fence, Renewals); 1] {
        let ttl = Duration::from_millis(TTL);
        [(7, Renewals { ttl, count })]
    }

    /// Looks at these times in milliseconds, and gives those at which the lease is over.
    fn over(watch: &mut LeaseWatch, looks: impl IntoIterator<Item = (u64, i64)>) -> Vec<u64> {
        let mut over = Vec::new();
        for (at, count) in looks {
            let ended = watch.look(Duration::from_millis(at), &lease(count));
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
        // Last seen to speak at 9500.
        assert_eq!(over(&mut watch, silent), [11_000, 11_500]);
    }

    #[test]
    fn a_look_says_when_the_next_lease_may_be_over() {
        let mut watch = LeaseWatch::default();
        let left = |watch: &mut LeaseWatch, at| {
            let ended = watch.look(Duration::from_millis(at), &lease(1));
            ended.next.map(|next| next.as_millis())
        };
        assert_eq!(left(&mut watch, 0), Some(1800));
        assert_eq!(left(&mut watch, 500), Some(1300));
        assert_eq!(watch.look(Duration::from_secs(1), &[]), Ended::default());
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
        // All stood still for a while: the owner has another look's time to speak.
        assert_eq!(watched(1900)[0], 3400);
        assert_eq!(watched(5000), [8000]);
    }

    #[test]
    fn after_the_store_was_away_everybody_gets_a_fresh_term() {
        let mut watch = LeaseWatch::default();
        over(&mut watch, [(0, 1), (500, 1), (1000, 1)]);
        watch.lost_sight();
        let looks = (0..5).map(|look| (1500 + look * 500, 1));
        assert_eq!(over(&mut watch, looks), [3500]);
    }
}
