//! The addresses of this machine, as other machines see them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses that are reserved for documentation: the route to them is the default route.
const DEFAULT_ROUTE_PROBES: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        9,
    ),
];

/// The local address of the route to the first of `peers` that is on another machine, or else of the default
/// route. It is a loopback address if there is no network.
pub fn address_for_others(only_v4: bool, peers: impl IntoIterator<Item = SocketAddr>) -> IpAddr {
    let peers = peers.into_iter().chain(DEFAULT_ROUTE_PROBES);
    choose(only_v4, peers.filter_map(address_towards))
}

/// The local address of the route to another machine, if there is a route. Nothing is sent.
fn address_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // For a datagram socket, connecting only looks up the route.
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The first of this machine's `own` addresses that other machines can reach.
fn choose(only_v4: bool, own: impl Iterator<Item = IpAddr>) -> IpAddr {
    let is_for_others = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_unspecified(),
        IpAddr::V6(address) => {
            // A link-local address is valid only on one interface.
            !only_v4
                && !address.is_loopback()
                && !address.is_unspecified()
                && !address.is_unicast_link_local()
        }
    };
    // Without a network there are no other machines.
    own.map(|address| address.to_canonical())
        .find(is_for_others)
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_that_others_reach_is_chosen() {
        let chosen = |only_v4, own: &[&str]| {
            let own = own.iter().map(|address| address.parse().unwrap());
            choose(only_v4, own).to_string()
        };
        assert_eq!(chosen(true, &["127.0.0.1", "10.0.0.7"]), "10.0.0.7");
        assert_eq!(chosen(true, &["2001:db8::7", "10.0.0.7"]), "10.0.0.7");
        assert_eq!(chosen(false, &["2001:db8::7", "10.0.0.7"]), "2001:db8::7");
        assert_eq!(chosen(false, &["::1", "fe80::7", "10.0.0.7"]), "10.0.0.7");
        assert_eq!(chosen(false, &["::ffff:10.0.0.7"]), "10.0.0.7");
        assert_eq!(chosen(true, &["127.0.0.1"]), "127.0.0.1");
    }
}
