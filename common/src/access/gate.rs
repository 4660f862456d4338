//! The gate of a host: whose tickets are good here, and whose connections have to end.
//!
//! A name server's gate knows its own key. A worker's gate learns the keys of the name servers that
//! it is registered with, reads every ticket by its issuer's clock, and so needs neither a question
//! for each connection nor a clock that is right.

use super::{Claims, Identity, KeyId, PublicKey, Revocation, TicketError, key_id};
use crate::{
    hello::{RefusalCode, Refused},
    steady_clock,
};
use arc_swap::ArcSwap;
use slab::Slab;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How much earlier or later than the issuer's clock says a ticket is still read, in milliseconds:
/// the time that a clock's reading may take to get here.
const TOLERANCE_MS: u64 = 2_000;

/// How often connections are looked through for tickets that have run out.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// The clock of whoever issues tickets.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// This process is the issuer. Setting the machine's clock does not end its tickets
    /// ([`steady_clock`]).
    Own,
    /// It showed `unix_ms` at a time.
    Read {
        /// What it showed, in milliseconds since 1970.
        unix_ms: u64,
        /// When.
        at: Instant,
    },
}

impl Clock {
    /// What the clock shows now, in milliseconds since 1970.
    pub fn now_ms(self) -> u64 {
        match self {
            Self::Own => steady_clock::now_ms(),
            Self::Read { unix_ms, at } => {
                let since = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
                unix_ms.saturating_add(since)
            }
        }
    }
}

/// So many keys are known at once, those of issuers that have got another one since included.
const MAX_KEYS: usize = 64;

/// Somebody who issues tickets that are good here.
#[derive(Clone, Debug)]
struct Issuer {
    /// The number of the name server.
    number: usize,
    id: KeyId,
    key: PublicKey,
    clock: Clock,
}

/// Whom the gate lets through.
#[derive(Clone, Debug)]
enum Trust {
    Nobody,
    Everybody,
    /// Those with a ticket of one of the issuers, the latest first.
    Bearers(Vec<Issuer>),
}

/// Decides who may connect. It starts closed.
#[derive(Debug)]
pub struct Gate {
    trust: ArcSwap<Trust>,
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
    claims: Claims,
    issuer: KeyId,
    end: CancellationToken,
}

/// Somebody who was let through, for as long as the connection lives.
#[derive(Debug)]
pub struct Admitted {
    gate: Arc<Gate>,
    place: usize,
    identity: Arc<Identity>,
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

impl Default for Gate {
    fn default() -> Self {
        Self {
            trust: ArcSwap::from_pointee(Trust::Nobody),
            guests: Mutex::default(),
        }
    }
}

impl Guests {
    fn is_void(&self, claims: &Claims) -> bool {
        self.void
            .get(&claims.identity.name)
            .is_some_and(|until| claims.issued_ms <= *until)
    }
}

impl Gate {
    fn guests(&self) -> MutexGuard<'_, Guests> {
        // Plain data: whole even if a holder panicked.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody through, unless somebody issues tickets: the name servers do not ask who
    /// anybody is.
    pub fn open(&self) {
        self.trust.rcu(|trust| match &**trust {
            Trust::Nobody | Trust::Everybody => Arc::new(Trust::Everybody),
            Trust::Bearers(_) => Arc::clone(trust),
        });
    }

    /// Takes tickets that are signed with `key` and read by `clock`. `number` is that of the name
    /// server that says so. If it had another key before, tickets of that one run to their end: a
    /// name server that was started again must not cut off those who have one.
    pub fn trust(&self, number: usize, key: PublicKey, clock: Clock) {
        let added = Issuer {
            number,
            id: key.id(),
            key,
            clock,
        };
        self.trust.rcu(|trust| {
            let mut issuers = match &**trust {
                Trust::Bearers(issuers) => issuers.clone(),
                Trust::Nobody | Trust::Everybody => Vec::new(),
            };
            issuers.retain(|known| (known.number, &known.id) != (number, &added.id));
            issuers.insert(0, added.clone());
            issuers.truncate(MAX_KEYS);
            Arc::new(Trust::Bearers(issuers))
        });
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

    /// Lets somebody through, or says why not. `None` is somebody whom nobody asks who it is. `end`
    /// is cancelled when the ticket runs out or is revoked.
    pub fn admit(
        self: &Arc<Self>,
        ticket: Option<&[u8]>,
        end: &CancellationToken,
    ) -> Result<Option<Admitted>, Refused> {
        let refused = |sentence: String| Refused::new(RefusalCode::BadCredential, sentence);
        let trust = self.trust.load();
        let issuers = match &**trust {
            Trust::Everybody => return Ok(None),
            // Not for long, and others may know already.
            Trust::Nobody => {
                let sentence = "it does not know yet whom it may trust";
                return Err(Refused::new(RefusalCode::Busy, sentence));
            }
            Trust::Bearers(issuers) => issuers,
        };
        let Some(ticket) = ticket else {
            return Err(refused("it wants to know who calls".to_owned()));
        };
        let (claims, issuer) =
            check(issuers, ticket).map_err(|error| refused(error.to_string()))?;
        let identity = Arc::new(claims.identity.clone());
        let mut guests = self.guests();
        if guests.is_void(&claims) {
            return Err(refused(format!(
                "the access of '{}' was revoked",
                identity.name
            )));
        }
        let place = guests.connected.insert(Guest {
            claims,
            issuer,
            end: end.clone(),
        });
        Ok(Some(Admitted {
            gate: Arc::clone(self),
            place,
            identity,
        }))
    }

    /// Ends connections when their tickets run out, for as long as it is polled.
    pub async fn sweep(self: Arc<Self>) {
        let mut sweeps = interval(SWEEP_EVERY);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            sweeps.tick().await;
            if let Trust::Bearers(issuers) = &**self.trust.load() {
                self.end_expired(issuers);
            }
        }
    }

    fn end_expired(&self, issuers: &[Issuer]) {
        let guests = self.guests();
        for (_, guest) in &guests.connected {
            let expired = in_time(issuers, &guest.issuer, &guest.claims).is_err();
            if expired && !guest.end.is_cancelled() {
                let user = &guest.claims.identity.name;
                tracing::info!(user, "the ticket has run out; ending the connection");
                guest.end.cancel();
            }
        }
    }
}

/// Reads a ticket of one of the issuers.
fn check(issuers: &[Issuer], ticket: &[u8]) -> Result<(Claims, KeyId), TicketError> {
    let id = key_id(ticket).ok_or(TicketError::Malformed)?;
    let issuer = issuers.iter().find(|issuer| issuer.id == id);
    let claims = issuer.ok_or(TicketError::OtherDomain)?.key.verify(ticket)?;
    in_time(issuers, &id, &claims)?;
    Ok((claims, id))
}

/// Whether a ticket is valid now by the clock of one of those who have its key.
fn in_time(issuers: &[Issuer], id: &KeyId, claims: &Claims) -> Result<(), TicketError> {
    let mut verdict = Err(TicketError::OtherDomain);
    for issuer in issuers.iter().filter(|issuer| issuer.id == *id) {
        verdict = claims.check(issuer.clock.now_ms(), TOLERANCE_MS);
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

impl Admitted {
    /// Who it is.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Takes a fresh ticket of the same bearer.
    pub fn renew(&self, ticket: &[u8]) -> Renewal {
        let trust = self.gate.trust.load();
        let Trust::Bearers(issuers) = &**trust else {
            return Renewal::Ignored;
        };
        let Ok((claims, issuer)) = check(issuers, ticket) else {
            return Renewal::Ignored;
        };
        let mut guests = self.gate.guests();
        if claims.identity.name != self.identity.name || guests.is_void(&claims) {
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
mod tests {
    use super::*;
    use crate::access::{DomainKey, Patterns, Role, Ticket};
    use tokio::time::advance;

    const LIFE_MS: u64 = 10_000;

    fn ticket(key: &DomainKey, name: &str, role: Role, issued_ms: u64) -> Ticket {
        let claims = Claims {
            identity: Identity {
                name: name.to_owned(),
                role,
                allow: Patterns::any(),
            },
            issued_ms,
            expires_ms: issued_ms + LIFE_MS,
        };
        key.sign(&claims).unwrap()
    }

    /// A gate that trusts one issuer, whose clock shows 1,000,000 now, whatever ours does.
    fn gate() -> (Arc<Gate>, DomainKey) {
        let (gate, key) = (Arc::new(Gate::default()), DomainKey::generate().unwrap());
        gate.trust(0, key.public(), clock(1_000_000));
        (gate, key)
    }

    fn clock(unix_ms: u64) -> Clock {
        Clock::Read {
            unix_ms,
            at: Instant::now(),
        }
    }

    fn admit(gate: &Arc<Gate>, ticket: &Ticket) -> Result<(Admitted, CancellationToken), String> {
        let end = CancellationToken::new();
        match gate.admit(Some(ticket.as_bytes()), &end) {
            Ok(admitted) => Ok((admitted.unwrap(), end)),
            Err(refused) => Err(refused.sentence),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_is_closed_until_it_knows_whom_to_trust() {
        let gate = Arc::new(Gate::default());
        let end = CancellationToken::new();
        let refused = gate.admit(None, &end).unwrap_err();
        assert_eq!(refused.code, RefusalCode::Busy);
        gate.open();
        assert!(gate.admit(None, &end).unwrap().is_none());
        // One name server that asks is enough, whatever another one says later.
        gate.trust(1, DomainKey::generate().unwrap().public(), clock(0));
        gate.open();
        assert!(gate.admit(None, &end).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_are_read_by_the_clock_of_their_issuer() {
        let (gate, key) = gate();
        let now = ticket(&key, "ana", Role::User, 1_000_000);
        assert!(admit(&gate, &now).is_ok());
        let old = ticket(&key, "ana", Role::User, 1_000_000 - LIFE_MS - TOLERANCE_MS);
        assert_eq!(admit(&gate, &old).unwrap_err(), "the ticket has expired");
        let early = ticket(&key, "ana", Role::User, 1_000_001 + TOLERANCE_MS);
        assert!(admit(&gate, &early).unwrap_err().contains("not valid yet"));
        advance(Duration::from_millis(LIFE_MS + TOLERANCE_MS)).await;
        assert_eq!(admit(&gate, &now).unwrap_err(), "the ticket has expired");
        // A second name server of the same domain whose clock is a minute behind.
        gate.trust(1, key.public(), clock(1_000_000 + LIFE_MS - 60_000));
        assert!(admit(&gate, &early).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_s_ticket_is_of_another_domain() {
        let (gate, _) = gate();
        let other = DomainKey::generate().unwrap();
        let foreign = ticket(&other, "ana", Role::Admin, 1_000_000);
        assert!(
            admit(&gate, &foreign)
                .unwrap_err()
                .contains("another domain")
        );
        gate.trust(1, other.public(), clock(1_000_000));
        assert!(admit(&gate, &foreign).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_outlive_the_restart_of_a_name_server_with_another_key() {
        let (gate, old) = gate();
        let (_ana, end) = admit(&gate, &ticket(&old, "ana", Role::User, 1_000_000)).unwrap();
        let new = DomainKey::generate().unwrap();
        gate.trust(0, new.public(), clock(1_000_000));
        let trust = gate.trust.load();
        let Trust::Bearers(issuers) = &**trust else {
            panic!("nobody is trusted");
        };
        gate.end_expired(issuers);
        assert!(!end.is_cancelled());
        assert!(admit(&gate, &ticket(&new, "ana", Role::User, 1_000_000)).is_ok());
        assert_eq!(issuers.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_with_its_ticket_unless_it_is_shown_a_fresh_one() {
        let (gate, key) = gate();
        tokio::spawn(Arc::clone(&gate).sweep());
        let first = ticket(&key, "ana", Role::User, 1_000_000);
        let (renewed, renewed_end) = admit(&gate, &first).unwrap();
        let (_left, left_end) = admit(&gate, &first).unwrap();
        let half = Duration::from_millis(LIFE_MS / 2);
        tokio::time::sleep(half).await;
        let fresh = ticket(&key, "ana", Role::User, 1_000_000 + LIFE_MS / 2);
        assert_eq!(renewed.renew(fresh.as_bytes()), Renewal::Extended);
        tokio::time::sleep(half + Duration::from_millis(TOLERANCE_MS) + SWEEP_EVERY).await;
        assert!(left_end.is_cancelled() && !renewed_end.is_cancelled());
        tokio::time::sleep(half).await;
        assert!(renewed_end.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_same_bearer_can_renew() {
        let (gate, key) = gate();
        let (ana, _end) = admit(&gate, &ticket(&key, "ana", Role::User, 1_000_000)).unwrap();
        let renew = |ticket: Ticket| ana.renew(ticket.as_bytes());
        let bob = ticket(&key, "bob", Role::User, 1_000_000);
        assert_eq!(renew(bob), Renewal::Ignored);
        let stranger = DomainKey::generate().unwrap();
        assert_eq!(
            renew(ticket(&stranger, "ana", Role::User, 1_000_000)),
            Renewal::Ignored
        );
        let promoted = ticket(&key, "ana", Role::Admin, 1_000_000);
        assert_eq!(renew(promoted), Renewal::Changed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_revocation_ends_connections_and_voids_tickets_until_its_time() {
        let (gate, key) = gate();
        let old = ticket(&key, "ana", Role::User, 999_999);
        let (ana, ana_end) = admit(&gate, &old).unwrap();
        let (_bob, bob_end) = admit(&gate, &ticket(&key, "bob", Role::User, 999_999)).unwrap();
        gate.revoke(&[Revocation {
            name: "ana".to_owned(),
            until_ms: 1_000_000,
        }]);
        assert!(ana_end.is_cancelled() && !bob_end.is_cancelled());
        assert_eq!(
            admit(&gate, &old).unwrap_err(),
            "the access of 'ana' was revoked"
        );
        let void = ticket(&key, "ana", Role::User, 1_000_000);
        assert_eq!(ana.renew(void.as_bytes()), Renewal::Ignored);
        assert!(admit(&gate, &ticket(&key, "ana", Role::User, 1_000_001)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_remembered_who_has_left() {
        let (gate, key) = gate();
        let admitted = admit(&gate, &ticket(&key, "ana", Role::User, 1_000_000)).unwrap();
        assert_eq!(gate.guests().connected.len(), 1);
        drop(admitted);
        assert!(gate.guests().connected.is_empty());
    }
}
