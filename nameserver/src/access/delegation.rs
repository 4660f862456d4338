//! The rights of tasks: a task runs with the rights that its submitter has when it runs.

use super::TicketAuthority;
use pyroxene_client::DelegateTicketIssuer;
use pyroxene_common::identity::{Audience, HolderKey, Identity, Role, Ticket};
use std::time::Duration;

/// The longest life of a ticket for a task. The connection of a running task gets fresh tickets.
const LIFE: Duration = Duration::from_secs(60);

/// The submitter of a task, as the store has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskSubmitter<'a> {
    /// Its name; empty for a task that was submitted without authentication.
    pub(crate) name: &'a str,
    /// The role in its certificate, if the users file did not list it.
    pub(crate) certificate_role: Option<&'a str>,
    /// When the task was submitted, in Unix milliseconds.
    pub(crate) submitted_ms: u64,
}

impl TicketAuthority {
    /// The role to store with a task of this caller: the role in its certificate, if the users file does not
    /// list the caller.
    pub(crate) fn certificate_role(&self, caller: &Identity) -> Option<Role> {
        let is_listed = self
            .users
            .as_ref()
            .is_some_and(|(_, users)| users.load().contains(&caller.name));
        (!is_listed).then_some(caller.role)
    }

    /// The identity with whose rights a task may run now, or why it may not run.
    pub(crate) fn submitter(
        &self,
        submitter: TaskSubmitter<'_>,
        object: &str,
        method: &str,
    ) -> Result<Identity, String> {
        let TaskSubmitter {
            name,
            certificate_role,
            submitted_ms,
        } = submitter;
        if name.is_empty() {
            return Err("it was submitted without authentication".to_owned());
        }
        let role: Option<Role> = certificate_role.and_then(|role| role.parse().ok());
        let is_listed = self
            .users
            .as_ref()
            .is_some_and(|(_, users)| users.load().contains(name));
        if !is_listed && self.authenticator.is_void(name, submitted_ms) {
            return Err(format!("the access of '{name}' was revoked"));
        }
        let identity = match (self.identity_of(name, role), role) {
            (Ok(identity), _) => identity,
            (Err(_), None) if !is_listed => {
                return Err(format!("'{name}' is not a user any more"));
            }
            (Err(error), _) => return Err(error.to_string()),
        };
        let role = identity.role;
        match identity.may_call(object, method) {
            true => Ok(identity),
            false => Err(format!("'{name}' ({role}) may not call {object}.{method}")),
        }
    }
}

impl DelegateTicketIssuer for TicketAuthority {
    fn ticket(&self, identity: &Identity, audience: Audience) -> Result<Ticket, String> {
        let now = self
            .identity_of(&identity.name, Some(identity.role))
            .map_err(|error| error.to_string())?;
        // A certificate's rights have no patterns, and never change.
        if now != *identity {
            return Err(format!("the rights of '{}' have changed", identity.name));
        }
        let holder = HolderKey::of_process().map_err(|error| error.to_string())?;
        self.ticket_for(identity, holder.id(), audience, self.life())
    }

    fn life(&self) -> Duration {
        self.ticket_life.min(LIFE)
    }
}
