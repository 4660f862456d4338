//! A lease as its owner sees it: when to renew it, and until when other processes take nothing over.

use super::model::Fence;
use std::{future::Future, time::Duration};
use tokio::time::{Instant, timeout};

/// How often a lease is renewed.
pub const RENEW_EVERY: Duration = Duration::from_millis(500);

/// A lease that this process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLease {
    /// The fence, which is written with everything that is done under the lease.
    pub fence: Fence,
    /// No other process takes anything over before then.
    pub until: Instant,
    /// Since when the lease has been valid without a gap.
    pub since: Instant,
}

impl HeldLease {
    /// Whether no other process can have taken anything over.
    pub fn is_valid(&self, now: Instant) -> bool {
        now < self.until
    }
}

/// The result of a renewal.
#[derive(Debug)]
pub enum LeaseRenewal<E> {
    /// The lease is held.
    Held(HeldLease),
    /// The lease that was held is over; everything under it may belong to others. The next renewal begins
    /// another one.
    Lost,
    /// It is not known. The lease stays as it was.
    Failed(E),
    /// As `Failed`: there was no answer in time.
    TimedOut,
}

/// Begins a lease and renews it.
#[derive(Debug)]
pub struct LeaseKeeper {
    ttl: Duration,
    timeout: Duration,
    held: Option<HeldLease>,
    next: Option<Instant>,
}

impl LeaseKeeper {
    /// A keeper without a lease. `timeout` is that of one renewal.
    pub fn new(ttl: Duration, timeout: Duration) -> Self {
        Self {
            ttl,
            timeout,
            held: None,
            next: None,
        }
    }

    /// The lease, valid or not, unless it is lost.
    pub fn held(&self) -> Option<HeldLease> {
        self.held
    }

    /// When the lease has to be renewed, or the failed renewal repeated; `None` for at once.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Asks for another term of the lease, or for a lease if there is none, with
    /// [`Store::renew_or_begin`](super::Store::renew_or_begin).
    pub async fn renew<E, F>(
        &mut self,
        ask: impl FnOnce(Option<Fence>, Duration) -> F,
    ) -> LeaseRenewal<E>
    where
        F: Future<Output = Result<Option<Fence>, E>>,
    {
        // The term counts from before the request: other processes count it from later.
        let asked = Instant::now();
        let fence = self.held.map(|held| held.fence);
        let answer = timeout(self.timeout, ask(fence, self.ttl)).await;
        self.next = Some(asked + RENEW_EVERY);
        match answer {
            Ok(Ok(Some(fence))) => {
                let now = Instant::now();
                let unbroken = self.held.filter(|held| held.is_valid(now));
                let held = HeldLease {
                    fence,
                    until: asked + self.ttl,
                    since: unbroken.map_or(asked, |held| held.since),
                };
                self.held = Some(held);
                LeaseRenewal::Held(held)
            }
            Ok(Ok(None)) => {
                self.drop_lease();
                LeaseRenewal::Lost
            }
            Ok(Err(error)) => LeaseRenewal::Failed(error),
            Err(_) => LeaseRenewal::TimedOut,
        }
    }

    /// Counts a valid lease as valid for another term although it was not renewed. Returns its new end.
    pub fn extend_unrenewed(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let held = self.held.as_mut().filter(|held| held.is_valid(now))?;
        held.until = now + self.ttl;
        Some(held.until)
    }

    /// Forgets the lease: it is over.
    pub fn drop_lease(&mut self) {
        self.held = None;
        self.next = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const TTL: Duration = Duration::from_millis(1500);

    fn keeper() -> LeaseKeeper {
        LeaseKeeper::new(TTL, Duration::from_secs(3))
    }

    async fn renew(
        keeper: &mut LeaseKeeper,
        answer: Result<Option<Fence>, &'static str>,
    ) -> LeaseRenewal<&'static str> {
        keeper.renew(|_, _| std::future::ready(answer)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_counts_from_the_request_and_has_no_gap_while_it_is_renewed_in_time() {
        let (mut keeper, begun) = (keeper(), Instant::now());
        assert_eq!(keeper.next(), None);
        assert!(matches!(
            renew(&mut keeper, Ok(Some(7))).await,
            LeaseRenewal::Held(_)
        ));
        advance(TTL - Duration::from_millis(1)).await;
        assert!(matches!(
            renew(&mut keeper, Err("away")).await,
            LeaseRenewal::Failed("away")
        ));
        let held = keeper.held().unwrap();
        assert_eq!((held.until, held.since), (begun + TTL, begun));
        renew(&mut keeper, Ok(Some(7))).await;
        let held = keeper.held().unwrap();
        assert_eq!((held.until, held.since), (Instant::now() + TTL, begun));
        advance(TTL).await;
        renew(&mut keeper, Ok(Some(7))).await;
        assert_eq!(keeper.held().unwrap().since, Instant::now());
        assert_eq!(keeper.next(), Some(Instant::now() + RENEW_EVERY));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_lost_is_begun_again_at_once() {
        let mut keeper = keeper();
        renew(&mut keeper, Ok(Some(7))).await;
        assert!(matches!(
            renew(&mut keeper, Ok(None)).await,
            LeaseRenewal::Lost
        ));
        assert_eq!((keeper.held(), keeper.next()), (None, None));
        let asked = keeper.renew(|fence, ttl| async move {
            assert_eq!((fence, ttl), (None, TTL));
            Ok::<_, ()>(Some(8))
        });
        assert!(matches!(asked.await, LeaseRenewal::Held(held) if held.fence == 8));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_valid_lease_is_extended_without_an_answer() {
        let mut keeper = keeper();
        assert_eq!(keeper.extend_unrenewed(), None);
        renew(&mut keeper, Ok(Some(7))).await;
        advance(TTL / 2).await;
        assert_eq!(keeper.extend_unrenewed(), Some(Instant::now() + TTL));
        advance(TTL).await;
        assert_eq!(keeper.extend_unrenewed(), None);
        let silent = keeper.renew(|_, _| std::future::pending::<Result<Option<Fence>, ()>>());
        assert!(matches!(silent.await, LeaseRenewal::TimedOut));
    }
}
