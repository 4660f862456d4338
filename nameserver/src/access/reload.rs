//! Changes that the name server takes over while it runs: of the users file, of the domain key, and the
//! revocations of other name servers.

use super::{TicketAuthority, VoidTickets};
use crate::users::{Users, domain_key, key_path};
use pyroxene_common::{
    access::IssuerClock,
    identity::{KeyLife, Revocation},
    reload::Reload,
};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::watch;

/// Reloads the users file and the domain key.
#[derive(Clone, Debug)]
pub(crate) struct UsersReload(pub(crate) Arc<TicketAuthority>);

impl Reload for UsersReload {
    fn files(&self) -> Vec<PathBuf> {
        let users = self.0.users.iter();
        users
            .flat_map(|(path, _)| [path.clone(), key_path(path)])
            .collect()
    }

    fn reload(&self) -> Result<(), String> {
        // First, so that a replaced key takes effect whatever the state of the users file.
        self.0.reload_key()?;
        self.0.reload_users()
    }
}

impl TicketAuthority {
    /// Takes over the domain key. Tickets under the previous key are void from now on. A missing key file
    /// means that the key is to be replaced: a new one is made.
    fn reload_key(&self) -> Result<(), String> {
        let Some((path, _)) = &self.users else {
            return Ok(());
        };
        let fresh = domain_key(path).map_err(|error| error.to_string())?;
        if fresh.public() == self.key.load().public() {
            return Ok(());
        }
        tracing::warn!(key = %fresh.public().id(), "the domain key was replaced");
        let public = fresh.public();
        self.key.store(Arc::new(fresh));
        self.authenticator
            .trust_issuer(0, public, KeyLife::Kept, IssuerClock::Own);
        self.void_tickets
            .send_modify(|void| void.version = void.version.wrapping_add(1));
        Ok(())
    }

    fn reload_users(&self) -> Result<(), String> {
        let Some((path, users)) = &self.users else {
            return Ok(());
        };
        let fresh = Users::read(path).map_err(|error| error.to_string())?;
        let now_ms = IssuerClock::Own.now_ms();
        let mut revoked = fresh.revocations(now_ms);
        for revocation in &mut revoked {
            let Revocation { name, until_ms } = revocation;
            let before = self.void_tickets.borrow();
            let known = before.revoked.iter().find(|known| known.name == *name);
            *until_ms = match known {
                Some(known) if known.until_ms >= *until_ms => known.until_ms,
                // The program that wrote the file may use another clock than this name server, which dates
                // the tickets. A new revocation is meant for all tickets until now.
                _ => now_ms.max(*until_ms),
            };
        }
        self.limiter.set_users(&fresh);
        users.store(Arc::new(fresh));
        // Revocations by other name servers stay, whatever this file says.
        for known in &self.void_tickets.borrow().revoked {
            if !revoked.iter().any(|one| one.name == known.name) {
                revoked.push(known.clone());
            }
        }
        self.authenticator.revoke(&revoked);
        publish(&self.void_tickets, revoked);
        Ok(())
    }

    /// Takes over the revocations of other name servers.
    pub(super) fn merge_revocations(&self, theirs: Vec<Revocation>) {
        let mut revoked = self.void_tickets.borrow().revoked.clone();
        for one in theirs {
            match revoked.iter_mut().find(|known| known.name == one.name) {
                Some(known) => known.until_ms = known.until_ms.max(one.until_ms),
                None => revoked.push(one),
            }
        }
        self.authenticator.revoke(&revoked);
        publish(&self.void_tickets, revoked);
    }
}

/// Publishes the revocations, if they have changed.
fn publish(void: &watch::Sender<VoidTickets>, mut revoked: Vec<Revocation>) {
    revoked.sort_by(|one, other| one.name.cmp(&other.name));
    void.send_if_modified(|before| {
        let changed = before.revoked != revoked;
        if changed {
            *before = VoidTickets {
                version: before.version.wrapping_add(1),
                revoked,
            };
        }
        changed
    });
}
