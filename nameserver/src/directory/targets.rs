//! Where static names may lead: to workers, and to no name server.
//!
//! A name server that is asked for a static name's address refuses as well, whatever name or forwarding
//! led there: the hello says that it is meant for what listens at an address, and a name server takes
//! none that is not meant for a name server (`common/src/access/gate.rs`). What is refused here is what
//! can be known when the name is registered.

use super::names::invalid;
use pyroxene_common::{endpoint::Endpoint, interfaces::directory::DirectoryError};
use std::{
    fs,
    net::{IpAddr, UdpSocket},
    path::Path,
    time::Duration,
};
use tokio::{net::lookup_host, time::timeout};

/// How long a host name may take to be looked up.
const LOOKUP: Duration = Duration::from_secs(1);

/// Refuses an address at which this name server listens, or that is none of a particular host. `own` is
/// where the name server listens.
pub(super) async fn check_target(
    own: Option<&Endpoint>,
    target: &Endpoint,
) -> Result<(), DirectoryError> {
    let is_own = match (target, own) {
        (Endpoint::Unix(path), Some(Endpoint::Unix(own))) => is_same_file(path, own),
        (Endpoint::Unix(_), _) => false,
        (Endpoint::Tcp { host, port }, own) => {
            let addresses = addresses_of(host).await;
            if addresses.iter().any(IpAddr::is_unspecified) {
                return Err(invalid(format!(
                    "'{target}' is not the address of a host: a static name needs one that clients can \
                     connect to"
                )));
            }
            addresses
                .into_iter()
                .any(|address| is_own_address(own, address, *port))
        }
    };
    if is_own {
        return Err(invalid(format!(
            "'{target}' is this name server: a static name leads to a worker"
        )));
    }
    Ok(())
}

/// The addresses of a host, as far as they are known here.
async fn addresses_of(host: &str) -> Vec<IpAddr> {
    let literal = host.split('%').next().unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return vec![address.to_canonical()];
    }
    match timeout(LOOKUP, lookup_host((host, 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip().to_canonical()).collect(),
        // It may be known where the clients are.
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

/// Whether an address is one of this machine: only then a socket can be bound to it.
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
        let (own, target) = (own.parse().unwrap(), target.parse().unwrap());
        let checked = check_target(Some(&own), &target).await;
        checked.map_err(|error| error.to_string())
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
        assert!(check_target(None, &target).await.is_ok());
    }
}
