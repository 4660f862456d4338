//! Which name servers are alive, by their heartbeat counters: a pure state machine.

use pyroxene_store::StorePeer;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// A name server whose counter has not changed for this long is dead.
const PEER_TIMEOUT: Duration = Duration::from_secs(10);

/// The last counters, and since when each has not changed.
#[derive(Debug, Default)]
pub(super) struct PeerHeartbeats(BTreeMap<String, (i64, Instant)>);

/// The result of an update.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PeerLiveness {
    pub(super) alive: Vec<String>,
    pub(super) gone: Vec<StorePeer>,
}

impl PeerHeartbeats {
    /// Takes the counters that the store lists.
    pub(super) fn update(&mut self, peers: Vec<StorePeer>, now: Instant) -> PeerLiveness {
        let mut seen = PeerLiveness::default();
        let mut pulses = BTreeMap::new();
        for peer in peers {
            let before = self.0.remove(&peer.address);
            let since = match before {
                Some((beats, since)) if beats == peer.heartbeats => since,
                _ => now,
            };
            pulses.insert(peer.address.clone(), (peer.heartbeats, since));
            if now.saturating_duration_since(since) < PEER_TIMEOUT {
                seen.alive.push(peer.address);
            } else {
                seen.gone.push(peer);
            }
        }
        self.0 = pulses;
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str, beats: i64) -> StorePeer {
        StorePeer {
            address: address.to_owned(),
            heartbeats: beats,
        }
    }

    #[test]
    fn one_whose_number_stands_still_is_gone_and_one_that_goes_on_is_back() {
        let mut pulses = PeerHeartbeats::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let both = |beats| vec![peer("a:1", beats), peer("b:1", 7)];
        assert_eq!(pulses.update(both(1), at(0)).alive, ["a:1", "b:1"]);
        assert_eq!(pulses.update(both(2), at(9)).alive, ["a:1", "b:1"]);
        let seen = pulses.update(both(3), at(10));
        assert_eq!(
            (seen.alive, seen.gone),
            (vec!["a:1".to_owned()], vec![peer("b:1", 7)])
        );
        let back = pulses.update(vec![peer("a:1", 4), peer("b:1", 8)], at(11));
        assert_eq!(back.alive, ["a:1", "b:1"]);
    }
}
