//! The name servers over one store share their addresses, and tell them to clients and workers.
//!
//! Several name servers may be behind one address, such as a load balancer's. A worker that knew only one of
//! them would be listed only there, and every second look-up would reach another.

mod heartbeats;

use crate::directory::DirectoryService;
use heartbeats::PeerHeartbeats;
use pyroxene_common::{endpoint::Endpoint, net::address_for_others};
use pyroxene_store::{Store, StoreError, StorePeer};
use std::{net::SocketAddr, time::Duration};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// How often a name server writes its heartbeat to the store, and reads those of the others.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);

/// How long a name server that ends waits until it is removed from the store.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(500);

/// The address at which others reach a name server that listens at `listen`: `advertise`, if it is given. A
/// name server that listens on every interface is reached at the address of the default route. One on a Unix
/// socket has no such address: its clients are on the same machine, and know the path.
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

/// Writes this name server's address to the store, and tells the directory the addresses of the others, until
/// `stop`. Returns the last heartbeat that it wrote.
pub(crate) async fn share_addresses(
    store: Store,
    own: Option<String>,
    directory: DirectoryService,
    stop: CancellationToken,
) -> Option<StorePeer> {
    let mut pulses = PeerHeartbeats::default();
    let mut written = None;
    loop {
        match poll_peers(&store, own.as_deref(), &mut written, &mut pulses).await {
            Ok(addresses) => directory.know_peers(addresses),
            // The last known addresses stay: those name servers may well be alive.
            Err(error) => tracing::debug!(%error, "cannot read addresses of other name servers"),
        }
        match store.drained_workers().await {
            Ok(workers) => directory.know_drained(workers),
            Err(error) => tracing::debug!(%error, "cannot read which workers get no new calls"),
        }
        let pause = sleep(HEARTBEAT_INTERVAL);
        if stop.run_until_cancelled(pause).await.is_none() {
            return written;
        }
    }
}

/// Removes the address of this name server, which ends: `sharing` is its stopped [`share_addresses`]. The
/// others need not wait until its heartbeat is missed. The address stays if another name server has renewed it:
/// a successor, or one that shares a balanced address.
pub(crate) async fn leave_peers(store: &Store, sharing: AbortOnDropHandle<Option<StorePeer>>) {
    let leaving = async {
        // Its heartbeat may still be being written; it must not be taken for that of another name server.
        let written = sharing.await.ok().flatten();
        store.remove_peers(written.into_iter().collect()).await
    };
    let left = timeout(LEAVE_TIMEOUT, leaving).await;
    if !matches!(left, Ok(Ok(()))) {
        tracing::debug!("other name servers will miss the heartbeat of this one");
    }
}

async fn poll_peers(
    store: &Store,
    own: Option<&str>,
    written: &mut Option<StorePeer>,
    pulses: &mut PeerHeartbeats,
) -> Result<Vec<String>, StoreError> {
    if let Some(own) = own {
        *written = Some(store.peer_heartbeat(own).await?);
    }
    let seen = pulses.update(store.peers().await?, Instant::now());
    store.remove_peers(seen.gone).await?;
    let is_alone = matches!(seen.alive.as_slice(), [only] if Some(only.as_str()) == own);
    Ok(if is_alone { Vec::new() } else { seen.alive })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{DirectoryLimits, InstanceDirectory};
    use pyroxene_store::{StoreOptions, StoreUrl};

    #[tokio::test]
    async fn one_that_ends_removes_its_address_unless_another_has_renewed_it() {
        for is_renewed in [false, true] {
            let options = StoreOptions::default();
            let store = Store::open(&StoreUrl::Memory, options).await.unwrap();
            let directory =
                InstanceDirectory::new(DirectoryLimits::default(), 1, 1, Instant::now());
            let directory = DirectoryService::new(directory);
            let (own, stop) = (Some("ns:1".to_owned()), CancellationToken::new());
            let sharing = share_addresses(store.clone(), own, directory, stop.clone());
            let sharing = AbortOnDropHandle::new(tokio::spawn(sharing));
            while store.peers().await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            stop.cancel();
            let mut left = Vec::new();
            if is_renewed {
                left.push(store.peer_heartbeat("ns:1").await.unwrap());
            }
            leave_peers(&store, sharing).await;
            assert_eq!(store.peers().await.unwrap(), left);
        }
    }

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
