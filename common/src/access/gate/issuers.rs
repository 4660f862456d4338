//! Who issues the tickets that are good here, and by which clock they are read.

use super::super::{Claims, KeyId, PublicKey, TicketError};
use crate::steady_clock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use tokio::time::Instant;

/// How much earlier or later than the issuer's clock says a ticket is still read, in milliseconds:
/// the time that a clock's reading may take to get here.
pub(super) const TOLERANCE_MS: u64 = 2_000;

/// This many keys are known at once.
const MAX_KEYS: usize = 64;

/// Of this many keys it is remembered that they were replaced; of more, those that were replaced last.
const MAX_REPLACED: usize = 1024;

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

/// How long the key of a name server counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyLife {
    /// It lies in a file. Once a name server that had it has another key, this one was replaced, perhaps
    /// because it was stolen: it counts no more, whichever other name servers had it too.
    Kept,
    /// It has never left the memory of a process, and is gone with it. Tickets that it signed run to
    /// their end, for a name server that was started again must not cut off those who have one.
    OfProcess,
}

/// Somebody who issues tickets that are good here.
#[derive(Clone, Debug)]
struct Issuer {
    /// The number of the name server.
    number: usize,
    id: KeyId,
    key: PublicKey,
    life: KeyLife,
    clock: Clock,
}

/// Those who issue tickets that are good here.
#[derive(Clone, Debug, Default)]
pub(super) struct Issuers {
    /// The latest first.
    known: Vec<Issuer>,
    /// Keys that were replaced, the latest last. They never count again, whoever has them: the dead
    /// cannot tell that theirs was replaced, and a name server may come back with the file of before.
    replaced: VecDeque<KeyId>,
}

impl Issuers {
    /// Takes in which key a name server has now. Gives whether that counts: not if it was replaced.
    pub(super) fn trust(
        &mut self,
        number: usize,
        key: PublicKey,
        life: KeyLife,
        clock: Clock,
    ) -> bool {
        let id = key.id();
        if matches!(clock, Clock::Own) {
            // The file is this process's own, and says which key is the one.
            self.replaced.retain(|replaced| *replaced != id);
        } else if self.replaced.contains(&id) {
            return false;
        }
        // Of its former keys only those stay that cannot be in other hands.
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
        let added = Issuer {
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

    /// The key of this name, if it is trusted.
    pub(super) fn key(&self, id: &KeyId) -> Option<&PublicKey> {
        let issuer = self.known.iter().find(|issuer| issuer.id == *id);
        issuer.map(|issuer| &issuer.key)
    }

    /// Whether a ticket is valid now by the clock of one of those who have its key.
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
