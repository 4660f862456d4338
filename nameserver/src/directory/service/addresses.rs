//! The addresses of name servers, to which no name may lead.

use super::{
    super::targets::{KnownNameServers, check_pyro_target},
    DirectoryService,
};
use pyroxene_common::{endpoint::Endpoint, interfaces::directory::DirectoryError};

impl DirectoryService {
    /// Sets the address at which the name server listens, and the advertised one: no static name may lead
    /// there.
    pub(crate) fn set_own_addresses(&self, own: &Endpoint, advertised: Option<Endpoint>) {
        // A name server listens once in its life.
        let _ = self.own_addresses.set((own.clone(), advertised));
    }

    /// The known addresses of name servers.
    pub(super) fn known_nameservers(&self) -> KnownNameServers {
        let (own, advertised) = match self.own_addresses.get() {
            Some((own, advertised)) => (Some(own.clone()), advertised.clone()),
            None => (None, None),
        };
        let shared = self.lock();
        let peers = shared.peers.iter();
        KnownNameServers {
            own,
            advertised,
            peers: peers.filter_map(|address| address.parse().ok()).collect(),
        }
    }

    /// Refuses the address of a Pyro object that is one of a name server.
    pub(crate) async fn check_pyro_target(&self, target: &Endpoint) -> Result<(), DirectoryError> {
        Box::pin(check_pyro_target(&self.known_nameservers(), target)).await
    }

    /// Sets the addresses of the name servers over the same store.
    pub(crate) fn know_peers(&self, addresses: Vec<String>) {
        self.lock().peers = addresses;
    }
}
