//! The name servers over one store tell each other where they are reached, and everybody who asks.
//!
//! Several of them may stand behind one address, a balancer's for one. A worker that heard of one alone
//! would be known to that one alone, and every second question would go to another.

mod pulse;

use crate::directory::DirectoryService;
use pulse::Pulses;
use pyroxene_common::{endpoint::Endpoint, net::address_for_others};
use pyroxene_store::{Store, StoreError};
use std::{net::SocketAddr, time::Duration};
use tokio::time::{Instant, sleep};

/// How often a name server says that it lives, and looks who else does.
const BEAT: Duration = Duration::from_secs(2);

/// Where others reach a name server that listens at `listen`: at `advertise`, if that is given. One that
/// listens on every interface is reached at the address of the default route; one on a Unix socket
/// shares its machine with all who reach it, and they know the path.
pub(crate) fn own_address(listen: &Endpoint, advertise: Option<&Endpoint>) -> Option<Endpoint> {
    if let Some(advertise) = advertise {
        return Some(advertise.with_port_of(listen));
    }
    match listen {
        Endpoint::Unix(_) => None,
        Endpoint::Tcp { host, port } if listen.is_unspecified() => {
            let address = address_for_others(!host.contains(':'), []);
            Some(SocketAddr::new(address, *port).into())
        }
        Endpoint::Tcp { .. } => Some(listen.clone()),
    }
}

/// Says in the store where this name server is reached, and tells the directory who else is there, for as
/// long as it is polled.
pub(crate) async fn share_addresses(
    store: Store,
    own: Option<Endpoint>,
    directory: DirectoryService,
) {
    let own = own.map(|own| own.to_string());
    let mut pulses = Pulses::default();
    loop {
        match look(&store, own.as_deref(), &mut pulses).await {
            Ok(addresses) => directory.know_peers(addresses),
            // Those that were there are told on: they may well live.
            Err(error) => tracing::debug!(%error, "cannot look for other name servers"),
        }
        sleep(BEAT).await;
    }
}

async fn look(
    store: &Store,
    own: Option<&str>,
    pulses: &mut Pulses,
) -> Result<Vec<String>, StoreError> {
    if let Some(own) = own {
        store.peer_lives(own).await?;
    }
    let seen = pulses.look(store.peers().await?, Instant::now());
    store.peers_gone(seen.gone).await?;
    let is_alone = matches!(seen.alive.as_slice(), [only] if Some(only.as_str()) == own);
    Ok(if is_alone { Vec::new() } else { seen.alive })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(listen: &str, advertise: Option<&str>) -> Option<String> {
        let advertise = advertise.map(|address| address.parse().unwrap());
        let own = own_address(&listen.parse().unwrap(), advertise.as_ref());
        own.map(|own| own.to_string())
    }

    #[test]
    fn an_address_that_others_can_reach_is_told() {
        assert_eq!(own("10.0.0.7:1", None).unwrap(), "10.0.0.7:1");
        assert_eq!(own("10.0.0.7:1", Some("ns:2")).unwrap(), "ns:2");
        assert_eq!(own("10.0.0.7:1", Some("ns:0")).unwrap(), "ns:1");
        assert_eq!(own("unix:/x", None), None);
        let told: Endpoint = own("0.0.0.0:1", None).unwrap().parse().unwrap();
        assert!(!told.is_unspecified());
    }
}
