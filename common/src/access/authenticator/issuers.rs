//! The trusted issuers of tickets, and the clocks by which tickets are checked.

use crate::{
    identity::{Claims, KeyId, KeyLife, PublicKey, TicketError},
    steady_clock,
};
use std::collections::VecDeque;
use tokio::time::Instant;

/// The tolerance in milliseconds, in both directions, when a ticket is checked by its issuer's clock: the
/// time that a reading of the clock may take to get here.
pub(super) const TOLERANCE_MS: u64 = 2_000;

/// How many keys are trusted at once.
const MAX_KEYS: usize = 64;

/// How many replaced keys are remembered. If there are more, the oldest are forgotten.
const MAX_REPLACED: usize = 1024;

/// The clock of an issuer of tickets.
#[derive(Clone, Copy, Debug)]
pub enum IssuerClock {
    /// This process is the issuer. Setting the machine's clock does not end its tickets
    /// ([`steady_clock`]).
    Own,
    /// Another process is the issuer. Its clock showed `unix_ms` at the time `at`.
    Read {
        /// What the clock showed, in milliseconds since 1970.
        unix_ms: u64,
        /// When the clock showed that.
        at: Instant,
    },
}

impl IssuerClock {
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

/// A trusted issuer of tickets.
#[derive(Clone, Debug)]
struct TrustedIssuer {
    /// The number of the name server.
    number: usize,
    id: KeyId,
    key: PublicKey,
    life: KeyLife,
    clock: IssuerClock,
}

/// The trusted issuers of tickets.
#[derive(Clone, Debug, Default)]
pub(super) struct Issuers {
    /// The latest first.
    known: Vec<TrustedIssuer>,
    /// Keys that were replaced, the latest last. They are never trusted again, whichever name server has
    /// them: a name server that is down cannot learn that its key was replaced, and may come back with its
    /// old file.
    replaced: VecDeque<KeyId>,
}

impl Issuers {
    /// Records the current key of a name server. Returns whether the key is trusted: it is not if it was
    /// replaced before.
    pub(super) fn trust(
        &mut self,
        number: usize,
        key: PublicKey,
        life: KeyLife,
        clock: IssuerClock,
    ) -> bool {
        let id = key.id();
        if matches!(clock, IssuerClock::Own) {
            // The file belongs to this process, and decides which key is current.
            self.replaced.retain(|replaced| *replaced != id);
        } else if self.replaced.contains(&id) {
            return false;
        }
        // Its former keys stay trusted only if nobody else can have them.
        let had = self.known.iter().filter(|known| known.number == number);
        let had = had.filter(|known| known.id != id && known.life == KeyLife::Kept);
        let replaced: Vec<KeyId> = had.map(|known| known.id.clone()).collect();
        self.known.retain(|known| {
            let is_told_again = known.number == number && known.id == id;
            !is_told_again && !replaced.contains(&known.id)
        });
        self.replaced.extend(replaced);
        let surplus = self.replaced.len().saturating_sub(MAX_REPLACED);
        self.replaced.drain(..surplus);
        let added = TrustedIssuer {
            number,
            id,
            key,
            life,
            clock,
        };
        self.known.insert(0, added);
        self.known.truncate(MAX_KEYS);
        true
    }

    /// The key with this id, if it is trusted.
    pub(super) fn key(&self, id: &KeyId) -> Option<&PublicKey> {
        let issuer = self.known.iter().find(|issuer| issuer.id == *id);
        issuer.map(|issuer| &issuer.key)
    }

    /// Whether a ticket is valid now by the clock of at least one issuer that has its key.
    pub(super) fn in_time(&self, id: &KeyId, claims: &Claims) -> Result<(), TicketError> {
        let mut verdict = Err(TicketError::OtherDomain);
        for issuer in self.known.iter().filter(|issuer| issuer.id == *id) {
            verdict = claims.check(issuer.clock.now_ms(), TOLERANCE_MS);
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }
}
