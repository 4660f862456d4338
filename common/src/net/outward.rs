//! The addresses of this machine, as others see them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses that are reserved for documentation: the way to them is the default route.
const BEYOND: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        9,
    ),
];

/// The address of this machine from which it reaches the first of `peers` that is not on this machine
/// itself, or else the rest of the world. A loopback address, if there is no network.
pub fn address_for_others(only_v4: bool, peers: impl IntoIterator<Item = SocketAddr>) -> IpAddr {
    let peers = peers.into_iter().chain(BEYOND);
    choose(only_v4, peers.filter_map(address_towards))
}

/// The address from which this machine reaches another one, if there is a way there. Nothing is sent.
fn address_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // For a datagram socket this only looks up the route.
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The first of this machine's `own` addresses that others can reach.
fn choose(only_v4: bool, own: impl Iterator<Item = IpAddr>) -> IpAddr {
    let is_for_others = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_unspecified(),
        IpAddr::V6(address) => {
            // A link-local address means something on one interface only.
            !only_v4
                && !address.is_loopback()
                && !address.is_unspecified()
                && !address.is_unicast_link_local()
        }
    };
    // Without a network there are no others.
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
