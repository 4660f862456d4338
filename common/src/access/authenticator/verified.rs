//! A cache of tickets whose signature was verified, so that the signature is verified once for all
//! connections of a client.

use crate::identity::{Claims, KeyId};
use ring::digest::{SHA256, digest};
use std::{collections::HashMap, sync::Arc};

/// How many tickets each of the two generations holds. A ticket has at most 8 KiB. The cache keeps only its
/// claims, which take a few hundred bytes for most tickets.
const GENERATION: usize = 512;

type TicketHash = [u8; 32];

/// The tickets that were presented most recently: at least the last 512 different ones, and at most twice as
/// many.
#[derive(Debug, Default)]
pub(super) struct VerifiedTickets {
    young: HashMap<TicketHash, (Arc<Claims>, KeyId)>,
    old: HashMap<TicketHash, (Arc<Claims>, KeyId)>,
}

pub(super) fn hash(ticket: &[u8]) -> TicketHash {
    let mut hash = [0; 32];
    for (byte, of_digest) in hash.iter_mut().zip(digest(&SHA256, ticket).as_ref()) {
        *byte = *of_digest;
    }
    hash
}

impl VerifiedTickets {
    pub(super) fn get(&mut self, hash: &TicketHash) -> Option<(Arc<Claims>, KeyId)> {
        if let Some(known) = self.young.get(hash) {
            return Some(known.clone());
        }
        let known = self.old.remove(hash)?;
        self.put(*hash, known.clone());
        Some(known)
    }

    pub(super) fn put(&mut self, hash: TicketHash, known: (Arc<Claims>, KeyId)) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Audience, DomainKey, HolderKey, Identity, Patterns, Role};

    #[test]
    fn what_is_shown_again_stays_and_the_number_is_bounded() {
        let claims = Arc::new(Claims {
            identity: Identity {
                name: "ana".to_owned(),
                role: Role::User,
                allow: Patterns::any(),
            },
            holder: HolderKey::generate().unwrap().id(),
            audience: Audience::Domain,
            issued_ms: 0,
            expires_ms: 1,
        });
        let id = DomainKey::generate().unwrap().public().id();
        let mut tickets = VerifiedTickets::default();
        let favourite = hash(b"favourite");
        tickets.put(favourite, (Arc::clone(&claims), id.clone()));
        for number in 0..10 * GENERATION {
            tickets.put(
                hash(number.to_string().as_bytes()),
                (Arc::clone(&claims), id.clone()),
            );
            assert!(tickets.get(&favourite).is_some());
        }
        assert!(tickets.young.len() + tickets.old.len() <= 2 * GENERATION);
        assert!(tickets.get(&hash(b"0")).is_none());
    }
}
