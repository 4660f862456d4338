//! What the sessions of a worker share.

use crate::{
    exclusive::HeldExclusiveNames, load::LoadGauge, successors::NameSuccessors,
    ticket_trust::TicketTrust,
};
use parking_lot::Mutex;
use pyroxene_client::Client;
use pyroxene_common::interfaces::directory::Registration;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::watch;

/// The session that has claimed each incarnation of a name server.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionClaims(Arc<Mutex<HashMap<u64, usize>>>);

impl SessionClaims {
    /// Claims an incarnation for the session with this number. Returns whether the session has it now.
    pub(crate) fn claim(&self, epoch: u64, number: usize) -> bool {
        let mut claims = self.0.lock();
        claims.retain(|known, by| *by != number || *known == epoch);
        *claims.entry(epoch).or_insert(number) == number
    }

    /// Releases the claims of the session with this number, which is lost.
    pub(crate) fn release(&self, number: usize) {
        self.0.lock().retain(|_, by| *by != number);
    }
}

/// The resources that the sessions share.
#[derive(Clone, Debug)]
pub(crate) struct SessionContext {
    pub(crate) client: Client,
    pub(crate) registration: Arc<Registration>,
    pub(crate) gauge: LoadGauge,
    pub(crate) held_names: HeldExclusiveNames,
    pub(crate) ticket_trust: Option<TicketTrust>,
    pub(crate) claims: SessionClaims,
    pub(crate) successors: NameSuccessors,
    /// Notified of every change of a session's state.
    pub(crate) changes: watch::Sender<()>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_has_an_incarnation_and_the_next_gets_it_when_that_is_lost() {
        let claims = SessionClaims::default();
        assert!(claims.claim(7, 0) && claims.claim(7, 0));
        assert!(!claims.claim(7, 1));
        assert!(claims.claim(8, 1));
        claims.release(0);
        assert!(claims.claim(7, 2));
    }

    #[test]
    fn an_address_that_leads_to_another_incarnation_gives_up_the_first() {
        let claims = SessionClaims::default();
        assert!(claims.claim(7, 0));
        assert!(claims.claim(8, 0));
        assert!(claims.claim(7, 1));
    }
}
