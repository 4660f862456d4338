//! Rate limits: token buckets. The time is passed in.

use pyroxene_common::limits::{Limit, LimitExceeded};
use std::collections::HashMap;
use tokio::time::Instant;

/// A full bucket holds the amount for this many seconds.
const BURST: f64 = 10.0;

/// The most buckets; beyond it, full buckets are dropped.
const KEPT: usize = 4096;

/// The buckets by limit and user.
#[derive(Debug, Default)]
pub(super) struct RateLimits(HashMap<Limit, HashMap<String, Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    full: f64,
    rate: f64,
}

impl Bucket {
    fn new(rate: u64, now: Instant) -> Self {
        let rate = rate as f64;
        let full = rate * BURST;
        Self {
            left: full,
            at: now,
            full,
            rate,
        }
    }

    /// The bucket at another time, at a rate that may have changed.
    fn at(self, rate: u64, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let fresh = Self::new(rate, now);
        Self {
            left: (self.left + passed * fresh.rate).min(fresh.full),
            ..fresh
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left + passed * self.rate >= self.full
    }
}

impl RateLimits {
    /// Takes the amounts from the buckets of the names, each at the rate that is its limit: from all of them,
    /// or from none, and then returns the limit that is exceeded. A full bucket once gives more than it
    /// holds: a larger amount could never be taken otherwise.
    pub(super) fn spend(
        &mut self,
        asked: Vec<(&str, u64, LimitExceeded)>,
        now: Instant,
    ) -> Result<(), LimitExceeded> {
        let mut taken = Vec::with_capacity(asked.len());
        for (name, amount, exceeded) in asked {
            let (limit, rate) = (exceeded.limit, exceeded.value);
            let known = self.0.get(&limit).and_then(|buckets| buckets.get(name));
            let mut bucket = match known {
                Some(bucket) => bucket.at(rate, now),
                None => Bucket::new(rate, now),
            };
            if bucket.left < (amount as f64).min(bucket.full) {
                return Err(exceeded);
            }
            bucket.left -= amount as f64;
            taken.push((limit, name, bucket));
        }
        for (limit, name, bucket) in taken {
            let buckets = self.0.entry(limit).or_default();
            if buckets.len() >= KEPT && !buckets.contains_key(name) {
                buckets.retain(|_, bucket| !bucket.is_full(now));
            }
            buckets.insert(name.to_owned(), bucket);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::limits::LimitOwner;
    use std::time::Duration;

    fn spend(rates: &mut RateLimits, name: &str, amount: u64, now: Instant) -> bool {
        let exceeded = LimitExceeded {
            limit: Limit::ChatBytes,
            value: 10,
            user: LimitOwner::User(name.to_owned()),
        };
        rates.spend(vec![(name, amount, exceeded)], now).is_ok()
    }

    #[test]
    fn ten_seconds_worth_can_be_used_at_once_and_comes_back_in_time() {
        let (mut rates, now) = (RateLimits::default(), Instant::now());
        assert!(spend(&mut rates, "ana", 60, now));
        assert!(spend(&mut rates, "ana", 40, now));
        assert!(!spend(&mut rates, "ana", 1, now));
        assert!(spend(&mut rates, "bob", 1, now));
        let later = now + Duration::from_secs(2);
        assert!(spend(&mut rates, "ana", 20, later));
        assert!(!spend(&mut rates, "ana", 1, later));
    }

    #[test]
    fn what_is_larger_than_a_bucket_waits_until_it_is_full_and_is_paid_for_afterwards() {
        let (mut rates, now) = (RateLimits::default(), Instant::now());
        assert!(spend(&mut rates, "ana", 300, now));
        let later = now + Duration::from_secs(20);
        assert!(!spend(&mut rates, "ana", 1, later));
        let later = now + Duration::from_secs(29);
        assert!(!spend(&mut rates, "ana", 300, later));
        let full = now + Duration::from_secs(30);
        assert!(spend(&mut rates, "ana", 300, full));
        assert!(!spend(&mut rates, "ana", 1, full));
    }

    #[test]
    fn of_two_limits_both_are_used_or_none() {
        let (mut rates, now) = (RateLimits::default(), Instant::now());
        let both = |messages| {
            let of = |limit, value| LimitExceeded {
                limit,
                value,
                user: LimitOwner::Anonymous,
            };
            vec![
                ("", messages, of(Limit::ChatMessages, 1)),
                ("", 50, of(Limit::ChatBytes, 10)),
            ]
        };
        assert!(rates.spend(both(1), now).is_ok());
        assert_eq!(
            rates.spend(both(10), now).unwrap_err().limit,
            Limit::ChatMessages
        );
        assert!(rates.spend(both(1), now).is_ok());
        assert_eq!(
            rates.spend(both(1), now).unwrap_err().limit,
            Limit::ChatBytes
        );
    }

    #[test]
    fn memory_is_bounded() {
        let (mut rates, mut now) = (RateLimits::default(), Instant::now());
        for number in 0..3 * KEPT {
            assert!(spend(&mut rates, &number.to_string(), 1, now));
            now += Duration::from_millis(10);
        }
        assert!(rates.0[&Limit::ChatBytes].len() <= KEPT);
    }
}
