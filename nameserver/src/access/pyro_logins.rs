//! The logins of clients of Pyro's protocol at a name server.

use super::TicketAuthority;
use futures::future::BoxFuture;
use pyroxene_client::CallerCredentials;
use pyroxene_common::{access::IssuerClock, identity::HolderKey, interfaces::access::AccessError};
use pyroxene_pyro::login::{KnownClient, LoginFailure, Logins, PyroCredentials, PyroDoor};
use std::sync::Arc;

/// The door for Pyro's clients of a name server with this authority.
pub(crate) fn pyro_door(authority: Arc<TicketAuthority>) -> PyroDoor {
    let authenticator = Arc::clone(authority.authenticator());
    PyroDoor::new(authenticator, Arc::new(AuthorityLogins(authority)))
}

#[derive(Debug)]
struct AuthorityLogins(Arc<TicketAuthority>);

impl Logins for AuthorityLogins {
    fn identify(
        &self,
        credentials: PyroCredentials,
        peer: String,
    ) -> BoxFuture<'_, Result<KnownClient, LoginFailure>> {
        let credentials = match credentials {
            PyroCredentials::Token { user, token } => CallerCredentials::Token { user, token },
            PyroCredentials::Certificate(holder) => CallerCredentials::Certificate(holder),
        };
        Box::pin(async move {
            let as_of_ms = IssuerClock::Own.now_ms();
            let refused = |error: AccessError| LoginFailure::Refused(error.to_string());
            let holder = HolderKey::of_process()
                .map_err(|error| LoginFailure::Unavailable(error.to_string()))?;
            // The ticket itself is of no use: the client stays with this name server.
            let login = self.0.ticket_by(&credentials, &peer, holder.id());
            Ok(KnownClient {
                identity: login.map_err(refused)?.identity,
                as_of_ms,
            })
        })
    }
}
