//! Authentication of connections: which tickets a host accepts, and which connections it has to end.
//!
//! The `Authenticator` of a name server has that name server's own key. The `Authenticator` of a worker receives the keys of
//! the name servers that the worker is registered with, and checks every ticket by its issuer's clock. So it
//! needs neither a request to a name server for each connection nor a correct clock.

mod issuers;
mod quota;
mod verified;

pub use issuers::IssuerClock;
pub use quota::{ConnectionQuota, CountedConnection};

use crate::{
    hello::{HelloRefusal, RefusalCode},
    identity::{
        Addressee, Audience, Challenge, Claims, Credential, HelloTarget, HolderId, Identity, KeyId,
        KeyLife, PublicKey, Revocation, TicketError, key_id,
    },
};
use arc_swap::ArcSwap;
use issuers::Issuers;
use slab::Slab;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use verified::VerifiedTickets;

/// How often connections are checked for expired tickets.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// Which connections are accepted.
#[derive(Clone, Debug)]
enum Trust {
    Nobody,
    Everybody,
    /// Connections whose peer holds a ticket of one of these issuers.
    Holders(Issuers),
}

/// Decides who may connect. At first it accepts nobody.
#[derive(Debug)]
pub struct Authenticator {
    /// The addressee that clients must have named.
    host: Addressee,
    trust: ArcSwap<Trust>,
    /// The limit of connections for each user, if there is one.
    quota: Option<Arc<dyn ConnectionQuota>>,
    verified: Mutex<VerifiedTickets>,
    /// The authenticated connections, and the revocations.
    connections: Mutex<AuthenticatedConnections>,
}

#[derive(Debug, Default)]
struct AuthenticatedConnections {
    connected: Slab<AuthenticatedConnection>,
    /// For each user name: tickets issued at or before this time, in milliseconds since 1970, are void.
    void: HashMap<String, u64>,
}

#[derive(Debug)]
struct AuthenticatedConnection {
    claims: Arc<Claims>,
    issuer: KeyId,
    end: CancellationToken,
}

/// The peer of an authenticated connection. It exists as long as the connection.
#[derive(Debug)]
pub struct AuthenticatedPeer {
    authenticator: Arc<Authenticator>,
    index: usize,
    identity: Arc<Identity>,
    holder: HolderId,
    audience: Audience,
    /// Counts against the user's limit until the connection ends.
    _counted: Option<CountedConnection>,
}

/// A ticket that is valid here. That its holder presents it is not proved yet.
#[derive(Debug)]
pub struct CheckedTicket<'a> {
    credential: &'a Credential,
    wanted: HelloTarget<'a>,
    claims: Arc<Claims>,
    issuer: KeyId,
}

/// A valid ticket that was presented by its holder.
#[derive(Debug)]
pub struct ProvenTicket {
    claims: Arc<Claims>,
    issuer: KeyId,
}

/// The effect of a new ticket on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The connection may continue until the new ticket expires.
    Extended,
    /// The rights of the user have changed: the client has to connect again.
    Changed,
    /// The new ticket is not valid here. The old one stays in force.
    Ignored,
}

impl AuthenticatedConnections {
    fn is_void(&self, claims: &Claims) -> bool {
        self.void
            .get(&claims.identity.name)
            .is_some_and(|until| claims.issued_ms <= *until)
    }
}

fn bad_credential(message: impl Into<String>) -> HelloRefusal {
    HelloRefusal::new(RefusalCode::BadCredential, message)
}

impl Authenticator {
    /// For a name server.
    pub fn of_nameserver() -> Self {
        Self::of(Addressee::NameServer)
    }

    /// For the worker of this name, which logs in to name servers with this key.
    pub fn of_worker(name: impl Into<String>, key: HolderId) -> Self {
        let name = name.into();
        Self::of(Addressee::Worker { name, key })
    }

    /// Limits how many connections each user may have at a time.
    #[must_use]
    pub fn quota(mut self, quota: Arc<dyn ConnectionQuota>) -> Self {
        self.quota = Some(quota);
        self
    }

    fn of(host: Addressee) -> Self {
        Self {
            host,
            trust: ArcSwap::from_pointee(Trust::Nobody),
            quota: None,
            verified: Mutex::default(),
            connections: Mutex::default(),
        }
    }

    fn connections(&self) -> MutexGuard<'_, AuthenticatedConnections> {
        // Plain data: valid even if a holder of the lock panicked.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn verified(&self) -> MutexGuard<'_, VerifiedTickets> {
        // Plain data: valid even if a holder of the lock panicked.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts every connection without authentication, unless an issuer is trusted already: the name servers
    /// have authentication off.
    pub fn open(&self) {
        self.trust.rcu(|trust| match &**trust {
            Trust::Nobody | Trust::Everybody => Arc::new(Trust::Everybody),
            Trust::Holders(_) => Arc::clone(trust),
        });
    }

    /// Trusts tickets that are signed with `key`, and checks their validity by `clock`. `number` is the
    /// number of the name server that reported the key. If that name server had another key before, tickets
    /// of the former key are void from now on, including those of other name servers that have it, unless the
    /// former key was of a single process: see [`KeyLife`].
    ///
    /// Returns whether the key is trusted. A key that was replaced is not trusted again during the life of
    /// this `Authenticator`.
    pub fn trust_issuer(
        &self,
        number: usize,
        key: PublicKey,
        life: KeyLife,
        clock: IssuerClock,
    ) -> bool {
        let mut counts = false;
        self.trust.rcu(|trust| {
            let mut issuers = match &**trust {
                Trust::Holders(issuers) => issuers.clone(),
                Trust::Nobody | Trust::Everybody => Issuers::default(),
            };
            counts = issuers.trust(number, key.clone(), life, clock);
            Arc::new(Trust::Holders(issuers))
        });
        self.end_expired();
        counts
    }

    /// Makes tickets void, and ends the connections that were authenticated with them.
    pub fn revoke(&self, revocations: &[Revocation]) {
        let mut connections = self.connections();
        let AuthenticatedConnections { connected, void } = &mut *connections;
        for Revocation { name, until_ms } in revocations {
            let until = void.entry(name.clone()).or_default();
            *until = (*until).max(*until_ms);
        }
        for (_, connection) in &*connected {
            let name = &connection.claims.identity.name;
            let is_void = void
                .get(name)
                .is_some_and(|until| connection.claims.issued_ms <= *until);
            if is_void && !connection.end.is_cancelled() {
                tracing::warn!(user = name, "access revoked; ending the connection");
                connection.end.cancel();
            }
        }
    }

    /// Whether a ticket of this user, issued at this time (in Unix milliseconds), is void.
    pub fn is_void(&self, name: &str, issued_ms: u64) -> bool {
        let connections = self.connections();
        connections
            .void
            .get(name)
            .is_some_and(|until| issued_ms <= *until)
    }

    /// Checks the credential of a hello for `wanted`. `Ok(None)` means that authentication is off. `here` is
    /// the address at which the connection arrived; it is given only for a connection without TLS.
    pub fn check<'a>(
        &self,
        credential: Option<&'a Credential>,
        wanted: HelloTarget<'a>,
        here: Option<&str>,
    ) -> Result<Option<CheckedTicket<'a>>, HelloRefusal> {
        let trust = self.trust.load();
        let issuers = match &**trust {
            Trust::Everybody => return Ok(None),
            // This lasts only until a name server answers, and another worker may be ready already.
            Trust::Nobody => {
                let message = "it does not know yet which tickets to trust";
                return Err(HelloRefusal::new(RefusalCode::Busy, message));
            }
            Trust::Holders(issuers) => issuers,
        };
        let Some(credential) = credential else {
            return Err(bad_credential("it wants to know who calls"));
        };
        let (claims, issuer) = self
            .read(issuers, &credential.ticket)
            .map_err(|error| bad_credential(error.to_string()))?;
        self.check_addressee(&credential.addressee, here)?;
        if let Audience::Task {
            addressee,
            object: of_ticket,
            ..
        } = &claims.audience
            && (self.host == Addressee::NameServer
                || *addressee != credential.addressee
                || of_ticket != wanted.object)
        {
            return Err(bad_credential("the ticket is for another worker or object"));
        }
        Ok(Some(CheckedTicket {
            credential,
            wanted,
            claims,
            issuer,
        }))
    }

    /// Whether this host is the `addressee` that the client believes to be connected to.
    fn check_addressee(
        &self,
        addressee: &Addressee,
        here: Option<&str>,
    ) -> Result<(), HelloRefusal> {
        let is_here = match (addressee, &self.host) {
            // A static name never points to a name server: its calls would end at the wrong host.
            (Addressee::Endpoint(_), Addressee::NameServer) => false,
            // With TLS, the certificate and the channel binding prove that the client is connected to this
            // host. Behind port forwarding the client also has another address for it.
            (Addressee::Endpoint(address), _) => here.is_none_or(|here| here == address),
            (addressee, host) => addressee == host,
        };
        if is_here {
            return Ok(());
        }
        let host = match (&self.host, addressee) {
            (Addressee::NameServer, Addressee::NameServer) => self.host.to_string(),
            (Addressee::NameServer, _) => format!("{} and no worker", self.host),
            (host, _) => host.to_string(),
        };
        let message = format!("this is {host}, and the hello is for {addressee}");
        Err(HelloRefusal::new(RefusalCode::WrongServer, message))
    }

    /// Counts a connection of a user who has proved its identity in another way than by a ticket, until the
    /// result is dropped.
    pub fn count(&self, identity: &Identity) -> Result<Option<CountedConnection>, HelloRefusal> {
        let counted = self.quota.as_ref().map(|quota| quota.count(identity));
        Ok(counted.transpose()?)
    }

    /// Registers an authenticated connection. `end` is cancelled when the ticket expires or is revoked.
    pub fn admit(
        self: &Arc<Self>,
        ProvenTicket { claims, issuer }: ProvenTicket,
        end: &CancellationToken,
    ) -> Result<AuthenticatedPeer, HelloRefusal> {
        // Before the lock is taken, because foreign code counts.
        let counted = match &self.quota {
            Some(quota) => Some(quota.count(&claims.identity)?),
            None => None,
        };
        let mut connections = self.connections();
        if connections.is_void(&claims) {
            let name = &claims.identity.name;
            return Err(bad_credential(format!(
                "the access of '{name}' was revoked"
            )));
        }
        let identity = Arc::new(claims.identity.clone());
        let (holder, audience) = (claims.holder, claims.audience.clone());
        let index = connections.connected.insert(AuthenticatedConnection {
            claims,
            issuer,
            end: end.clone(),
        });
        Ok(AuthenticatedPeer {
            authenticator: Arc::clone(self),
            index,
            identity,
            holder,
            audience,
            _counted: counted,
        })
    }

    /// Ends connections whose tickets expire, as long as this future is polled.
    pub async fn sweep(self: Arc<Self>) {
        let mut sweeps = interval(SWEEP_EVERY);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            sweeps.tick().await;
            self.end_expired();
        }
    }

    fn end_expired(&self) {
        let trust = self.trust.load();
        let Trust::Holders(issuers) = &**trust else {
            return;
        };
        let connections = self.connections();
        for (_, connection) in &connections.connected {
            let expired = issuers
                .in_time(&connection.issuer, &connection.claims)
                .is_err();
            if expired && !connection.end.is_cancelled() {
                let user = &connection.claims.identity.name;
                tracing::info!(user, "the ticket has run out; ending the connection");
                connection.end.cancel();
            }
        }
    }

    /// Verifies a ticket of one of the issuers.
    fn read(&self, issuers: &Issuers, ticket: &[u8]) -> Result<(Arc<Claims>, KeyId), TicketError> {
        let hash = verified::hash(ticket);
        let known = self.verified().get(&hash);
        let (claims, id) = match known {
            Some(known) => known,
            None => {
                let id = key_id(ticket).ok_or(TicketError::Malformed)?;
                let key = issuers.key(&id).ok_or(TicketError::OtherDomain)?;
                let read = (Arc::new(key.verify(ticket)?), id);
                self.verified().put(hash, read.clone());
                read
            }
        };
        // The key may have been replaced since the ticket was verified.
        issuers.in_time(&id, &claims)?;
        Ok((claims, id))
    }
}

impl CheckedTicket<'_> {
    /// Checks that the ticket's holder has signed the challenge of this connection.
    pub fn prove(self, challenge: &Challenge, proof: &[u8]) -> Result<ProvenTicket, HelloRefusal> {
        let Self {
            credential,
            wanted,
            claims,
            issuer,
        } = self;
        if !credential.is_proved_by(&claims.holder, wanted, challenge, proof) {
            return Err(bad_credential(
                "the ticket was not shown by its holder: the proof is missing or wrong",
            ));
        }
        Ok(ProvenTicket { claims, issuer })
    }
}

impl AuthenticatedPeer {
    /// The identity of the peer.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The key that the ticket is bound to. The peer has signed its hello with it.
    pub fn holder(&self) -> HolderId {
        self.holder
    }

    /// The only method that the peer may call, if the ticket is for one method.
    pub fn only_method(&self) -> Option<&str> {
        match &self.audience {
            Audience::Domain => None,
            Audience::Task { method, .. } => Some(method),
        }
    }

    /// Accepts a new ticket of the same holder, for the same identity and audience. The holder has already
    /// proved on this connection that it has the key.
    pub fn renew(&self, ticket: &[u8]) -> Renewal {
        let trust = self.authenticator.trust.load();
        let Trust::Holders(issuers) = &**trust else {
            return Renewal::Ignored;
        };
        let Ok((claims, issuer)) = self.authenticator.read(issuers, ticket) else {
            return Renewal::Ignored;
        };
        let mut connections = self.authenticator.connections();
        let is_same = claims.identity.name == self.identity.name
            && claims.holder == self.holder
            && claims.audience == self.audience;
        if !is_same || connections.is_void(&claims) {
            return Renewal::Ignored;
        }
        if claims.identity != *self.identity {
            return Renewal::Changed;
        }
        if let Some(connection) = connections.connected.get_mut(self.index) {
            connection.claims = claims;
            connection.issuer = issuer;
        }
        Renewal::Extended
    }
}

impl Drop for AuthenticatedPeer {
    fn drop(&mut self) {
        self.authenticator
            .connections()
            .connected
            .try_remove(self.index);
    }
}

#[cfg(test)]
mod tests;
