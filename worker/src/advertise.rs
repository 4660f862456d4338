//! The address that the worker advertises to clients.

use crate::error::WorkerError;
use pyroxene_common::{endpoint::Endpoint, net::address_for_others};
use std::{net::SocketAddr, time::Duration};
use tokio::{net::lookup_host, time::timeout};

/// The timeout for resolving the host name of a name server.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The endpoint at which clients reach a worker that listens at `listen`. It is `wanted`, if that is given
/// (port 0 stands for the listening port). If the worker listens on every interface, it is the source
/// address of this machine towards a name server, or towards the internet if that is a loopback address.
pub(crate) async fn endpoint_for_clients(
    listen: &Endpoint,
    wanted: Option<&Endpoint>,
    nameservers: &[Endpoint],
) -> Result<Endpoint, WorkerError> {
    if let Some(wanted) = wanted {
        if wanted.is_unspecified() {
            return Err(WorkerError::Advertise(wanted.clone()));
        }
        return Ok(wanted.with_port_of(listen));
    }
    let (Endpoint::Tcp { host, port }, true) = (listen, listen.is_unspecified()) else {
        return Ok(listen.clone());
    };
    let peers = resolve(nameservers).await;
    // A socket that listens on every IPv6 address listens on every IPv4 address too.
    let only_v4 = !host.contains(':');
    let host = address_for_others(only_v4, peers);
    let endpoint = Endpoint::from(SocketAddr::new(host, *port));
    tracing::info!(%listen, told = %endpoint, "advertising an address of this machine; --advertise sets another one");
    Ok(endpoint)
}

async fn resolve(nameservers: &[Endpoint]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for nameserver in nameservers {
        let Endpoint::Tcp { host, port } = nameserver else {
            continue;
        };
        // A name that cannot be resolved now is skipped; the others suffice.
        let resolving = timeout(RESOLVE_TIMEOUT, lookup_host((host.as_str(), *port)));
        if let Ok(Ok(resolved)) = resolving.await {
            addresses.extend(resolved);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(listen: &str, wanted: Option<&str>) -> Result<String, String> {
        let wanted = wanted.map(|wanted| wanted.parse().unwrap());
        let nameservers = ["127.0.0.1:9090".parse().unwrap()];
        let listen = listen.parse().unwrap();
        let told = endpoint_for_clients(&listen, wanted.as_ref(), &nameservers).await;
        told.map(|endpoint| endpoint.to_string())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_is_given_or_listened_on_is_told_as_it_is() {
        assert_eq!(told("127.0.0.1:4", None).await.unwrap(), "127.0.0.1:4");
        assert_eq!(told("unix:/x", None).await.unwrap(), "unix:/x");
        let given = told("0.0.0.0:4", Some("far:5")).await;
        assert_eq!(given.unwrap(), "far:5");
        let same_port = told("0.0.0.0:4", Some("far:0")).await;
        assert_eq!(same_port.unwrap(), "far:4");
        let refused = told("0.0.0.0:4", Some("[::]:5")).await.unwrap_err();
        assert!(refused.contains("[::]:5"), "{refused}");
    }

    #[tokio::test]
    async fn nobody_is_told_the_address_of_every_interface() {
        for listen in ["0.0.0.0:4", "[::]:4"] {
            let told: Endpoint = told(listen, None).await.unwrap().parse().unwrap();
            assert!(!told.is_unspecified(), "{told}");
            assert!(told.to_string().ends_with(":4"), "{told}");
        }
    }
}
