//! Bounds on connections: in total, for each address, and for those that have not said hello yet.

use crate::net::Peer;
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In total.
    pub(super) connections: usize,
    /// From one address.
    pub(super) per_address: usize,
    /// That have not said hello yet, or have not proved who they are. Beyond it the oldest of them
    /// has to go, so that a flood of them keeps nobody out.
    pub(super) strangers: usize,
}

/// Everybody who is connected.
#[derive(Debug)]
pub(super) struct Crowd {
    bounds: Bounds,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    by_address: HashMap<IpAddr, usize>,
    /// In the order in which they came.
    strangers: BTreeMap<u64, CancellationToken>,
    next: u64,
}

/// A connection's place in the crowd.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    address: Option<IpAddr>,
    number: u64,
    /// Cancelled when the connection has to make way for others, or with the host.
    pub(super) end: CancellationToken,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("the server has as many connections as it may")]
    Total,
    #[error("the server has as many connections from this address as it may")]
    Address,
}

impl Crowd {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            counts: Mutex::default(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Numbers: whole even if a holder panicked.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in as a stranger. Its place ends with `stop` at the latest.
    pub(super) fn enter(
        self: &Arc<Self>,
        peer: &Peer,
        stop: &CancellationToken,
    ) -> Result<Place, Full> {
        let address = peer.ip();
        let mut counts = self.counts();
        if counts.connections >= self.bounds.connections {
            // One that has said nothing yet makes way for one that may have something to say.
            match counts.strangers.pop_first() {
                Some((_, oldest)) => oldest.cancel(),
                None => return Err(Full::Total),
            }
        }
        if let Some(address) = address {
            let count = counts.by_address.entry(address).or_default();
            if *count >= self.bounds.per_address {
                return Err(Full::Address);
            }
            *count += 1;
        }
        counts.connections += 1;
        let number = counts.next;
        counts.next += 1;
        let end = stop.child_token();
        counts.strangers.insert(number, end.clone());
        if counts.strangers.len() > self.bounds.strangers
            && let Some((_, oldest)) = counts.strangers.pop_first()
        {
            oldest.cancel();
        }
        Ok(Place {
            crowd: Arc::clone(self),
            address,
            number,
            end,
        })
    }
}

impl Place {
    /// The connection has said who it is: it makes way for nobody any more.
    pub(super) fn greeted(&self) {
        self.crowd.counts().strangers.remove(&self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts();
        counts.strangers.remove(&self.number);
        counts.connections -= 1;
        if let Some(address) = self.address
            && let Some(count) = counts.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(connections: usize, per_address: usize, strangers: usize) -> Arc<Crowd> {
        Crowd::new(Bounds {
            connections,
            per_address,
            strangers,
        })
    }

    fn from(address: &str) -> Peer {
        Peer::Ip(format!("{address}:1").parse().unwrap())
    }

    #[test]
    fn the_oldest_stranger_makes_way() {
        let (crowd, stop) = (crowd(10, 10, 2), CancellationToken::new());
        let enter = || crowd.enter(&from("10.0.0.1"), &stop).unwrap();
        let (known, old, young) = (enter(), enter(), enter());
        assert!(known.end.is_cancelled());
        let known = {
            drop((known, old));
            enter()
        };
        known.greeted();
        let last = [enter(), enter()];
        assert!(young.end.is_cancelled());
        assert!(!known.end.is_cancelled() && last.iter().all(|place| !place.end.is_cancelled()));
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let (crowd, stop) = (crowd(3, 2, 10), CancellationToken::new());
        let enter = |address| crowd.enter(&from(address), &stop);
        let first = [enter("10.0.0.1").unwrap(), enter("10.0.0.1").unwrap()];
        assert_eq!(enter("10.0.0.1").unwrap_err(), Full::Address);
        let other = enter("10.0.0.2").unwrap();
        drop(first);
        let again = enter("10.0.0.1").unwrap();
        drop((other, again));
        assert!(crowd.counts().by_address.is_empty());
        assert_eq!(crowd.counts().connections, 0);
    }

    #[test]
    fn a_full_house_of_known_guests_refuses_and_one_of_strangers_does_not() {
        let (crowd, stop) = (crowd(2, 2, 2), CancellationToken::new());
        let enter = |address| crowd.enter(&from(address), &stop);
        let (known, stranger) = (enter("10.0.0.1").unwrap(), enter("10.0.0.2").unwrap());
        known.greeted();
        let third = enter("10.0.0.3").unwrap();
        assert!(stranger.end.is_cancelled());
        third.greeted();
        drop(stranger);
        assert_eq!(enter("10.0.0.4").unwrap_err(), Full::Total);
    }
}
