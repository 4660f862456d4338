//! Limits of connections: in total, for each address, and for unauthenticated connections.

use super::{HostConfig, files, unauthenticated::UnauthenticatedConnections};
use crate::net::Peer;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio_util::sync::CancellationToken;

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionBounds {
    /// The limit for all addresses together.
    pub(super) connections: usize,
    /// The limit for one address.
    pub(super) per_address: usize,
}

impl ConnectionBounds {
    /// The limits of a host, reduced if the process may not open enough files for them. In that case one
    /// address may still have at most three quarters.
    pub(super) fn of(config: &HostConfig) -> Self {
        let connections = files::connections(config.max_connections, files::limit());
        let per_address = match connections < config.max_connections {
            true => {
                tracing::warn!(
                    wanted = config.max_connections,
                    connections,
                    "the limit of open files allows fewer connections than configured"
                );
                let most = (connections * 3 / 4).max(1);
                config.max_connections_per_address.min(most)
            }
            false => config.max_connections_per_address,
        };
        Self {
            connections,
            per_address,
        }
    }
}

/// The connections of one listener, and their limits.
#[derive(Debug)]
pub(super) struct ConnectionLimits {
    /// Identifies this listener within the process.
    number: u64,
    bounds: ConnectionBounds,
    unauthenticated: Arc<UnauthenticatedConnections>,
    counts: Mutex<ConnectionCounts>,
}

#[derive(Debug, Default)]
struct ConnectionCounts {
    connections: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The slot of one connection. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    limits: Arc<ConnectionLimits>,
    address: Option<IpAddr>,
    /// Its number among the unauthenticated connections.
    unauthenticated_number: u64,
    /// Cancelled when the connection is evicted, or when the host stops.
    pub(super) end: CancellationToken,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectionLimitReached {
    #[error("the limit of connections is reached")]
    Total,
    #[error("the limit of connections from this address is reached")]
    Address,
}

impl ConnectionLimits {
    pub(super) fn new(
        bounds: ConnectionBounds,
        unauthenticated: Arc<UnauthenticatedConnections>,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            bounds,
            unauthenticated,
            counts: Mutex::default(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, ConnectionCounts> {
        // Plain data: valid even if a holder of the lock panicked.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot for a new, unauthenticated connection. The connection is ended when `stop` is cancelled.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: &Peer,
        stop: &CancellationToken,
    ) -> Result<ConnectionSlot, ConnectionLimitReached> {
        let address = peer.ip();
        let mut counts = self.counts();
        // The oldest unauthenticated connection is evicted in favour of a new one.
        if counts.connections >= self.bounds.connections
            && !self.unauthenticated.end_oldest_of(self.number)
        {
            return Err(ConnectionLimitReached::Total);
        }
        if let Some(address) = address {
            let count = counts.by_address.entry(address).or_default();
            if *count >= self.bounds.per_address {
                return Err(ConnectionLimitReached::Address);
            }
            *count += 1;
        }
        counts.connections += 1;
        let end = stop.child_token();
        Ok(ConnectionSlot {
            limits: Arc::clone(self),
            address,
            unauthenticated_number: self.unauthenticated.insert(self.number, end.clone()),
            end,
        })
    }
}

impl ConnectionSlot {
    /// Marks the connection as authenticated: it is not evicted any more.
    pub(super) fn authenticated(&self) {
        self.limits
            .unauthenticated
            .remove(self.unauthenticated_number);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.limits
            .unauthenticated
            .remove(self.unauthenticated_number);
        let mut counts = self.limits.counts();
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

    fn limits(
        connections: usize,
        per_address: usize,
        unauthenticated: usize,
    ) -> Arc<ConnectionLimits> {
        let bounds = ConnectionBounds {
            connections,
            per_address,
        };
        ConnectionLimits::new(bounds, UnauthenticatedConnections::new(unauthenticated))
    }

    fn from(address: &str) -> Peer {
        Peer::Ip(format!("{address}:1").parse().unwrap())
    }

    #[test]
    fn the_oldest_stranger_makes_way() {
        let (limits, stop) = (limits(10, 10, 2), CancellationToken::new());
        let enter = || limits.admit(&from("10.0.0.1"), &stop).unwrap();
        let (known, old, young) = (enter(), enter(), enter());
        assert!(known.end.is_cancelled());
        let known = {
            drop((known, old));
            enter()
        };
        known.authenticated();
        let last = [enter(), enter()];
        assert!(young.end.is_cancelled());
        assert!(!known.end.is_cancelled() && last.iter().all(|slot| !slot.end.is_cancelled()));
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let (limits, stop) = (limits(3, 2, 10), CancellationToken::new());
        let enter = |address| limits.admit(&from(address), &stop);
        let first = [enter("10.0.0.1").unwrap(), enter("10.0.0.1").unwrap()];
        assert_eq!(
            enter("10.0.0.1").unwrap_err(),
            ConnectionLimitReached::Address
        );
        let other = enter("10.0.0.2").unwrap();
        drop(first);
        let again = enter("10.0.0.1").unwrap();
        drop((other, again));
        assert!(limits.counts().by_address.is_empty());
        assert_eq!(limits.counts().connections, 0);
    }

    #[test]
    fn a_full_house_of_known_guests_refuses_and_one_of_strangers_does_not() {
        let (limits, stop) = (limits(2, 2, 2), CancellationToken::new());
        let enter = |address| limits.admit(&from(address), &stop);
        let (known, unknown) = (enter("10.0.0.1").unwrap(), enter("10.0.0.2").unwrap());
        known.authenticated();
        let third = enter("10.0.0.3").unwrap();
        assert!(unknown.end.is_cancelled());
        third.authenticated();
        drop(unknown);
        assert_eq!(
            enter("10.0.0.4").unwrap_err(),
            ConnectionLimitReached::Total
        );
    }
}
