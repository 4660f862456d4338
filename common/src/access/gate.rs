//! The gate of a host: whose tickets are good here, and whose connections have to end.
//!
//! A name server's gate knows its own key. A worker's gate learns the keys of the name servers that
//! it is registered with, reads every ticket by its issuer's clock, and so needs neither a question
//! for each connection nor a clock that is right.

mod issuers;
mod quota;
mod verified;

pub use issuers::{Clock, KeyLife};
pub use quota::{ConnectionQuota, CountedConnection};

use super::{
    Addressee, Audience, Challenge, Claims, Credential, HolderId, Identity, KeyId, PublicKey,
    Revocation, TicketError, Wanted, key_id,
};
use crate::hello::{RefusalCode, Refused};
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

/// How often connections are looked through for tickets that have run out.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// Whom the gate lets through.
#[derive(Clone, Debug)]
enum Trust {
    Nobody,
    Everybody,
    /// Holders of tickets of these issuers.
    Holders(Issuers),
}

/// Decides who may connect. It starts closed.
#[derive(Debug)]
pub struct Gate {
    /// Whom clients must have meant.
    host: Addressee,
    trust: ArcSwap<Trust>,
    /// How many connections each may have, if that is bounded.
    quota: Option<Arc<dyn ConnectionQuota>>,
    verified: Mutex<VerifiedTickets>,
    /// Those who are connected, and whose tickets are void.
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    connected: Slab<Guest>,
    /// Up to when a name's tickets are void, in milliseconds since 1970.
    void: HashMap<String, u64>,
}

#[derive(Debug)]
struct Guest {
    claims: Arc<Claims>,
    issuer: KeyId,
    end: CancellationToken,
}

/// Somebody who was let through, for as long as the connection lives.
#[derive(Debug)]
pub struct Admitted {
    gate: Arc<Gate>,
    place: usize,
    identity: Arc<Identity>,
    holder: HolderId,
    audience: Audience,
    /// Given back when the connection ends.
    _counted: Option<CountedConnection>,
}

/// A ticket that is good here, if its holder shows it.
#[derive(Debug)]
pub struct Shown<'a> {
    credential: &'a Credential,
    wanted: Wanted<'a>,
    claims: Arc<Claims>,
    issuer: KeyId,
}

/// A ticket that its holder has shown.
#[derive(Debug)]
pub struct Proved {
    claims: Arc<Claims>,
    issuer: KeyId,
}

/// What a new ticket means for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The bearer may stay for longer.
    Extended,
    /// The bearer is now somebody who may do other things: the hello has to be said again.
    Changed,
    /// The ticket is not good here; the old one stands.
    Ignored,
}

impl Guests {
    fn is_void(&self, claims: &Claims) -> bool {
        self.void
            .get(&claims.identity.name)
            .is_some_and(|until| claims.issued_ms <= *until)
    }
}

fn bad_credential(sentence: impl Into<String>) -> Refused {
    Refused::new(RefusalCode::BadCredential, sentence)
}

impl Gate {
    /// The gate of a name server.
    pub fn of_nameserver() -> Self {
        Self::of(Addressee::NameServer)
    }

    /// The gate of the worker of this name, which logs in to name servers with this key.
    pub fn of_worker(name: impl Into<String>, key: HolderId) -> Self {
        let name = name.into();
        Self::of(Addressee::Worker { name, key })
    }

    /// Lets nobody have more connections at a time than this.
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
            guests: Mutex::default(),
        }
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        // Plain data: whole even if a holder panicked.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verified(&self) -> MutexGuard<'_, VerifiedTickets> {
        // Likewise.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody through, unless somebody issues tickets: the name servers do not ask who
    /// anybody is.
    pub fn open(&self) {
        self.trust.rcu(|trust| match &**trust {
            Trust::Nobody | Trust::Everybody => Arc::new(Trust::Everybody),
            Trust::Holders(_) => Arc::clone(trust),
        });
    }

    /// Takes tickets that are signed with `key` and read by `clock`. `number` is that of the name
    /// server that says so. If it had another key before, tickets of that one are void from now on,
    /// also those of other name servers that have it, unless that key was of a process alone: see
    /// [`KeyLife`].
    ///
    /// Gives whether the key counts. One that was replaced does not, as long as this gate lives.
    pub fn trust(&self, number: usize, key: PublicKey, life: KeyLife, clock: Clock) -> bool {
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

    /// Makes tickets void, and ends the connections of those who bear them.
    pub fn revoke(&self, revocations: &[Revocation]) {
        let mut guests = self.guests();
        let Guests { connected, void } = &mut *guests;
        for Revocation { name, until_ms } in revocations {
            let until = void.entry(name.clone()).or_default();
            *until = (*until).max(*until_ms);
        }
        for (_, guest) in &*connected {
            let name = &guest.claims.identity.name;
            let is_void = void
                .get(name)
                .is_some_and(|until| guest.claims.issued_ms <= *until);
            if is_void && !guest.end.is_cancelled() {
                tracing::warn!(user = name, "access revoked; ending the connection");
                guest.end.cancel();
            }
        }
    }

    /// Whether tickets of this name are void that were issued at this time, in Unix milliseconds.
    pub fn is_void(&self, name: &str, issued_ms: u64) -> bool {
        let guests = self.guests();
        guests
            .void
            .get(name)
            .is_some_and(|until| issued_ms <= *until)
    }

    /// Reads what a hello for this shows, or says why it is not good. `None` is somebody whom
    /// nobody asks who it is. `here` is the address at which the connection arrived, for one without
    /// TLS.
    pub fn check<'a>(
        &self,
        credential: Option<&'a Credential>,
        wanted: Wanted<'a>,
        here: Option<&str>,
    ) -> Result<Option<Shown<'a>>, Refused> {
        let trust = self.trust.load();
        let issuers = match &**trust {
            Trust::Everybody => return Ok(None),
            // Not for long, and others may know already.
            Trust::Nobody => {
                let sentence = "it does not know yet whom it may trust";
                return Err(Refused::new(RefusalCode::Busy, sentence));
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
        Ok(Some(Shown {
            credential,
            wanted,
            claims,
            issuer,
        }))
    }

    /// Whether a client that believes to talk to `addressee` talks to this host.
    fn check_addressee(&self, addressee: &Addressee, here: Option<&str>) -> Result<(), Refused> {
        let is_here = match (addressee, &self.host) {
            // No address of a static name leads to a name server: calls for others would end there.
            (Addressee::Endpoint(_), Addressee::NameServer) => false,
            // With TLS the certificate and the channel binding say that the client is connected to
            // this host and no other; and behind a port forwarding it knows another address.
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
        let sentence = format!("this is {host}, and the hello is for {addressee}");
        Err(Refused::new(RefusalCode::WrongServer, sentence))
    }

    /// Lets the holder of a ticket in. `end` is cancelled when the ticket runs out or is revoked.
    pub fn admit(
        self: &Arc<Self>,
        Proved { claims, issuer }: Proved,
        end: &CancellationToken,
    ) -> Result<Admitted, Refused> {
        // Before the lock: others count.
        let counted = match &self.quota {
            Some(quota) => Some(quota.count(&claims.identity)?),
            None => None,
        };
        let mut guests = self.guests();
        if guests.is_void(&claims) {
            let name = &claims.identity.name;
            return Err(bad_credential(format!(
                "the access of '{name}' was revoked"
            )));
        }
        let identity = Arc::new(claims.identity.clone());
        let (holder, audience) = (claims.holder, claims.audience.clone());
        let place = guests.connected.insert(Guest {
            claims,
            issuer,
            end: end.clone(),
        });
        Ok(Admitted {
            gate: Arc::clone(self),
            place,
            identity,
            holder,
            audience,
            _counted: counted,
        })
    }

    /// Ends connections when their tickets run out, for as long as it is polled.
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
        let guests = self.guests();
        for (_, guest) in &guests.connected {
            let expired = issuers.in_time(&guest.issuer, &guest.claims).is_err();
            if expired && !guest.end.is_cancelled() {
                let user = &guest.claims.identity.name;
                tracing::info!(user, "the ticket has run out; ending the connection");
                guest.end.cancel();
            }
        }
    }

    /// Reads a ticket of one of the issuers.
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
        // A key may have lost its trust since.
        issuers.in_time(&id, &claims)?;
        Ok((claims, id))
    }
}

impl Shown<'_> {
    /// Whether its holder has signed the challenge of this connection.
    pub fn prove(self, challenge: &Challenge, proof: &[u8]) -> Result<Proved, Refused> {
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
        Ok(Proved { claims, issuer })
    }
}

impl Admitted {
    /// Who it is.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The key that its ticket is bound to, with which it has signed its hello.
    pub fn holder(&self) -> HolderId {
        self.holder
    }

    /// The one method that it may call, if the ticket is for that alone.
    pub fn only_method(&self) -> Option<&str> {
        match &self.audience {
            Audience::Domain => None,
            Audience::Task { method, .. } => Some(method),
        }
    }

    /// Takes a fresh ticket of the same holder, for the same identity and audience. The holder has
    /// proved itself on this connection already.
    pub fn renew(&self, ticket: &[u8]) -> Renewal {
        let trust = self.gate.trust.load();
        let Trust::Holders(issuers) = &**trust else {
            return Renewal::Ignored;
        };
        let Ok((claims, issuer)) = self.gate.read(issuers, ticket) else {
            return Renewal::Ignored;
        };
        let mut guests = self.gate.guests();
        let is_same = claims.identity.name == self.identity.name
            && claims.holder == self.holder
            && claims.audience == self.audience;
        if !is_same || guests.is_void(&claims) {
            return Renewal::Ignored;
        }
        if claims.identity != *self.identity {
            return Renewal::Changed;
        }
        if let Some(guest) = guests.connected.get_mut(self.place) {
            guest.claims = claims;
            guest.issuer = issuer;
        }
        Renewal::Extended
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.gate.guests().connected.try_remove(self.place);
    }
}

#[cfg(test)]
mod tests;
