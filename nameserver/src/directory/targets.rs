//! Checks the addresses of static names: they must lead to workers, and not to name servers.
//!
//! A client that follows a static name to a name server is refused there too, whatever other name or port
//! forwarding led to it: the hello says that it is meant for the server at an address, and a name server
//! accepts only hellos that are meant for a name server (`common/src/access/gate.rs`). This module refuses
//! the addresses that are known when the name is registered: those of this name server, and those that other
//! name servers over the same store advertise.

use super::names::invalid;
use futures::future::join_all;
use pyroxene_common::{endpoint::Endpoint, interfaces::directory::DirectoryError};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::Path,
    time::Duration,
};
use tokio::{net::lookup_host, time::timeout};

/// The timeout of a look-up of a host name.
const LOOKUP: Duration = Duration::from_secs(1);

/// The known addresses of name servers.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownNameServers {
    /// The address at which this one listens.
    pub(super) own: Option<Endpoint>,
    /// The address that this one advertises.
    pub(super) advertised: Option<Endpoint>,
    /// The addresses that the name servers over the same store advertise, perhaps including this one's.
    pub(super) peers: Vec<Endpoint>,
}

/// Refuses the address of a known name server, and an address that does not name one host.
pub(super) async fn check_target(
    known: &KnownNameServers,
    target: &Endpoint,
) -> Result<(), DirectoryError> {
    let addresses = match target {
        Endpoint::Unix(_) => Vec::new(),
        Endpoint::Tcp { host, .. } => addresses_of(host).await,
    };
    check_addresses(known, target, &addresses).await
}

/// The same for the daemon of a Pyro object, whose host is not looked up: Pyro does not do that either, and its
/// programs register names of hosts that only their clients know.
pub(super) async fn check_pyro_target(
    known: &KnownNameServers,
    target: &Endpoint,
) -> Result<(), DirectoryError> {
    let address = match target {
        Endpoint::Tcp { host, .. } if host.eq_ignore_ascii_case("localhost") => {
            Some(IpAddr::from(Ipv4Addr::LOCALHOST))
        }
        Endpoint::Tcp { host, .. } => literal(host),
        Endpoint::Unix(_) => None,
    };
    check_addresses(known, target, address.as_slice()).await
}

async fn check_addresses(
    known: &KnownNameServers,
    target: &Endpoint,
    addresses: &[IpAddr],
) -> Result<(), DirectoryError> {
    if addresses.iter().any(IpAddr::is_unspecified) {
        return Err(invalid(format!(
            "'{target}' is not the address of a host: a static name needs one that clients can \
             connect to"
        )));
    }
    let is_here = match target {
        Endpoint::Unix(path) => {
            matches!(&known.own, Some(Endpoint::Unix(own)) if is_same_file(path, own))
        }
        Endpoint::Tcp { port, .. } => addresses
            .iter()
            .any(|address| is_own_address(known.own.as_ref(), *address, *port)),
    };
    if is_here || leads_to(target, addresses, known.advertised.iter()).await {
        return Err(invalid(format!(
            "'{target}' is this name server: a static name leads to a worker"
        )));
    }
    if leads_to(target, addresses, known.peers.iter()).await {
        return Err(invalid(format!(
            "'{target}' is a name server over the same store: a static name leads to a worker"
        )));
    }
    Ok(())
}

/// Whether a target, whose host has these addresses, is one of these endpoints.
async fn leads_to(
    target: &Endpoint,
    addresses: &[IpAddr],
    places: impl Iterator<Item = &Endpoint>,
) -> bool {
    let Endpoint::Tcp { port, .. } = target else {
        return false;
    };
    // Another port is another server, whatever the host.
    let hosts = places.filter_map(|place| match place {
        Endpoint::Tcp { host, port: at } if at == port => Some(host),
        _ => None,
    });
    let compared = hosts.map(|host| async move {
        is_host(target, host)
            || addresses_of(host)
                .await
                .iter()
                .any(|address| addresses.contains(address))
    });
    join_all(compared).await.contains(&true)
}

/// Whether a target names this host.
fn is_host(target: &Endpoint, host: &str) -> bool {
    matches!(target, Endpoint::Tcp { host: of_target, .. } if of_target.eq_ignore_ascii_case(host))
}

/// The address that a host is written as.
fn literal(host: &str) -> Option<IpAddr> {
    let host = host.split('%').next().unwrap_or(host);
    host.parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

/// The addresses of a host, as far as this machine can resolve it.
async fn addresses_of(host: &str) -> Vec<IpAddr> {
    if let Some(address) = literal(host) {
        return vec![address];
    }
    match timeout(LOOKUP, lookup_host((host, 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip().to_canonical()).collect(),
        // The clients' machines may be able to resolve it.
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn is_own_address(own: Option<&Endpoint>, address: IpAddr, port: u16) -> bool {
    let Some(Endpoint::Tcp {
        host,
        port: own_port,
    }) = own
    else {
        return false;
    };
    if port != *own_port {
        return false;
    }
    match host.parse::<IpAddr>().map(|own| own.to_canonical()) {
        Ok(own) if own.is_unspecified() => is_of_this_machine(address),
        Ok(own) => own == address,
        Err(_) => false,
    }
}

/// Whether an address belongs to this machine: only then can a socket be bound to it.
fn is_of_this_machine(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(own: &str, target: &str) -> Result<(), String> {
        let known = KnownNameServers {
            own: Some(own.parse().unwrap()),
            ..KnownNameServers::default()
        };
        let checked = check_target(&known, &target.parse().unwrap()).await;
        checked.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_name_leads_to_no_other_name_server_that_is_known() {
        let endpoint = |address: &str| address.parse::<Endpoint>().unwrap();
        let known = KnownNameServers {
            own: Some(endpoint("127.0.0.1:9090")),
            advertised: Some(endpoint("ns1.invalid:9090")),
            peers: ["192.0.2.2:9090", "NS2.invalid:9090", "localhost:9191"]
                .map(endpoint)
                .to_vec(),
        };
        for (target, what) in [
            ("ns1.invalid:9090", "is this name server"),
            ("192.0.2.2:9090", "over the same store"),
            ("[::ffff:192.0.2.2]:9090", "over the same store"),
            ("ns2.INVALID:9090", "over the same store"),
            ("127.0.0.1:9191", "over the same store"),
        ] {
            let refused = check_target(&known, &endpoint(target)).await;
            let why = refused.unwrap_err().to_string();
            assert!(why.contains(what), "{target}: {why}");
        }
        for target in ["192.0.2.2:9091", "192.0.2.3:9090", "unix:/run/ns"] {
            let checked = check_target(&known, &endpoint(target)).await;
            assert_eq!(checked, Ok(()), "{target}");
        }
    }

    #[tokio::test]
    async fn the_name_of_a_pyro_object_leads_to_no_name_server_and_its_host_is_not_looked_up() {
        let known = KnownNameServers {
            own: Some("127.0.0.1:9090".parse().unwrap()),
            ..KnownNameServers::default()
        };
        for (target, is_allowed) in [
            ("127.0.0.1:9090", false),
            ("LocalHost:9090", false),
            ("[::ffff:127.0.0.1]:9090", false),
            ("0.0.0.0:4000", false),
            ("127.0.0.1:9091", true),
            ("host.example:9090", true),
        ] {
            let checked = check_pyro_target(&known, &target.parse().unwrap()).await;
            assert_eq!(checked.is_ok(), is_allowed, "{target}: {checked:?}");
        }
    }

    #[tokio::test]
    async fn a_name_leads_neither_to_the_name_server_nor_to_no_host() {
        for (own, target) in [
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            ("127.0.0.1:9090", "localhost:9090"),
            ("127.0.0.1:9090", "[::ffff:127.0.0.1]:9090"),
            ("0.0.0.0:9090", "127.0.0.9:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("unix:/run/x/../ns", "unix:/run/x/../ns"),
        ] {
            let why = check(own, target).await.unwrap_err();
            assert!(why.contains("is this name server"), "{own} {target}: {why}");
        }
        for target in ["0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1"] {
            let why = check("127.0.0.1:9090", target).await.unwrap_err();
            assert!(why.contains("not the address of a host"), "{target}: {why}");
        }
    }

    #[tokio::test]
    async fn other_addresses_are_accepted() {
        for (own, target) in [
            ("127.0.0.1:9090", "127.0.0.1:9091"),
            ("127.0.0.1:9090", "192.0.2.1:9090"),
            ("0.0.0.0:9090", "192.0.2.1:9090"),
            ("unix:/run/ns", "127.0.0.1:9090"),
            ("127.0.0.1:9090", "unix:/run/ns"),
            ("127.0.0.1:9090", "no-such-host.invalid:9090"),
        ] {
            assert_eq!(check(own, target).await, Ok(()), "{own} {target}");
        }
        let target = "127.0.0.1:1".parse().unwrap();
        assert!(
            check_target(&KnownNameServers::default(), &target)
                .await
                .is_ok()
        );
    }
}
