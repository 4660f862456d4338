//! What a client shows to workers: the tickets that its name servers gave it.

use crate::nameserver::{Login, Renewers};
use arc_swap::ArcSwap;
use pyroxene_common::{access::Ticket, channel::AttemptError};
use std::sync::Arc;

/// The tickets of one client. A worker takes those of the name servers that it is registered with.
#[derive(Clone, Default)]
pub(crate) struct Passport {
    logins: Arc<ArcSwap<Vec<Arc<Login>>>>,
    renewers: Arc<Renewers>,
}

impl Passport {
    pub(crate) fn new(logins: Vec<Arc<Login>>) -> Self {
        let passport = Self::default();
        passport.set_logins(logins);
        passport
    }

    pub(crate) fn logins(&self) -> Arc<Vec<Arc<Login>>> {
        self.logins.load_full()
    }

    /// From now on the tickets are those of these name servers.
    pub(crate) fn set_logins(&self, logins: Vec<Arc<Login>>) {
        self.logins.store(Arc::new(logins));
    }

    /// The connections to workers, which want to be shown fresh tickets.
    pub(crate) fn renewers(&self) -> &Arc<Renewers> {
        &self.renewers
    }

    /// Other tickets than those that were `tried` in vain: every name server is asked for a new one.
    pub(crate) async fn others(&self, tried: &[Ticket]) -> Vec<Ticket> {
        let logins = self.logins();
        let asked = logins.iter().map(|login| async {
            let old = login.ticket_in_hand().map(|(ticket, _)| ticket);
            let old = old.filter(|ticket| tried.contains(ticket));
            login.renew(old.as_ref()).await.ok().flatten()
        });
        let tickets = futures::future::join_all(asked).await;
        let is_new = |ticket: &Ticket| !tried.contains(ticket);
        tickets.into_iter().flatten().filter(is_new).collect()
    }

    /// The tickets that there are, the one that lasts longest first. If there are none: one from
    /// the first name server that gives one. An empty answer means that nobody asks who we are.
    pub(crate) async fn tickets(&self) -> Result<Vec<Ticket>, AttemptError> {
        let in_hand = |login: &Arc<Login>| login.ticket_in_hand();
        let logins = self.logins();
        let mut tickets: Vec<_> = logins.iter().filter_map(in_hand).collect();
        if !tickets.is_empty() {
            tickets.sort_by_key(|(_, ends)| std::cmp::Reverse(*ends));
            return Ok(tickets.into_iter().map(|(ticket, _)| ticket).collect());
        }
        let asked = logins.iter().map(|login| Box::pin(login.ticket()));
        match futures::future::select_ok(asked).await {
            Ok((ticket, _)) => Ok(ticket.into_iter().collect()),
            Err(error) => Err(error),
        }
    }
}
