//! The tickets that a client presents to workers. Its name servers issued them.

use crate::{
    failover::{Failover, Next, NoAnswer, Repeat},
    nameserver::{CredentialSinks, Login},
};
use arc_swap::ArcSwap;
use pyroxene_common::{channel::AttemptError, identity::Ticket};
use std::sync::Arc;

/// The tickets of one client. A worker accepts tickets of the name servers with which it is registered.
#[derive(Clone, Default)]
pub(crate) struct Tickets {
    logins: Arc<ArcSwap<Vec<Arc<Login>>>>,
    credential_sinks: Arc<CredentialSinks>,
}

impl Tickets {
    pub(crate) fn new(logins: Vec<Arc<Login>>) -> Self {
        let passport = Self::default();
        passport.set_logins(logins);
        passport
    }

    pub(crate) fn logins(&self) -> Arc<Vec<Arc<Login>>> {
        self.logins.load_full()
    }

    /// Replaces the logins, whose tickets are used from now on.
    pub(crate) fn set_logins(&self, logins: Vec<Arc<Login>>) {
        self.logins.store(Arc::new(logins));
    }

    /// The connections to workers, which need fresh tickets.
    pub(crate) fn credential_sinks(&self) -> &Arc<CredentialSinks> {
        &self.credential_sinks
    }

    /// New tickets, after all those in `tried` were refused. Every name server is asked for a new one.
    pub(crate) async fn request_new_tickets(&self, tried: &[Ticket]) -> Vec<Ticket> {
        let logins = self.logins();
        let asked = logins.iter().map(|login| async {
            let old = login.current_ticket().map(|(ticket, _)| ticket);
            let old = old.filter(|ticket| tried.contains(ticket));
            login.renew(old.as_ref()).await.ok().flatten()
        });
        let tickets = futures::future::join_all(asked).await;
        let is_new = |ticket: &Ticket| !tried.contains(ticket);
        tickets.into_iter().flatten().filter(is_new).collect()
    }

    /// The current tickets, the one that expires last first. If there are none, a ticket of the first name
    /// server that issues one. An empty list means that authentication is off.
    pub(crate) async fn tickets(&self) -> Result<Vec<Ticket>, AttemptError> {
        let in_hand = |login: &Arc<Login>| login.current_ticket();
        let logins = self.logins();
        let mut tickets: Vec<_> = logins.iter().filter_map(in_hand).collect();
        if !tickets.is_empty() {
            tickets.sort_by_key(|(_, ends)| std::cmp::Reverse(*ends));
            return Ok(tickets.into_iter().map(|(ticket, _)| ticket).collect());
        }
        let asked = Failover::race(&logins, Repeat::Never);
        let issued = asked.first(|login| async {
            let issued = login.ticket().await;
            issued.map_err(|error| NoAnswer::new(Next::Unable, error))
        });
        let unanswered = match issued.await {
            Ok(ticket) => return Ok(ticket.into_iter().collect()),
            Err(unanswered) => unanswered,
        };
        // The user can do something about a refused login, also if another name server is down.
        let error = unanswered.weightiest(|failure| failure.error.refusal_of_caller().is_some());
        error.map_or_else(|| Ok(Vec::new()), Err)
    }
}
