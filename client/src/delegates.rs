//! Calls on behalf of another identity, over separate connections. A name server makes such calls when
//! it runs tasks.
//!
//! Such a connection presents a ticket that is issued for it. The ticket has the identity on whose behalf
//! the call is made, is valid for one method of one object at one worker, and is bound to the key of this
//! process. Calls of the same method on behalf of the same identity share the connection.

use crate::{
    attempt::SharedAttempt,
    connect::{PresentedTicket, Route, connect},
    delegation::{DelegateTicketIssuer, DelegatedCall},
};
use arc_swap::ArcSwapOption;
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, Settings},
    identity::{Addressee, Audience, Identity},
};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::time::sleep;

/// The maximum number of idle connections to one instance.
const MAX_SLOTS: usize = 64;

/// The life of a ticket is divided into this many parts. After each part, a connection that was used in
/// it gets a fresh ticket; an unused one is closed.
const TICKET_LIFE_PARTS: u32 = 4;

/// An open connection and its slot. The caller holds the slot while its call is in flight.
pub(crate) type SlotConnection<R> = (Arc<ClientConnection<R>>, Arc<DelegateSlot<R>>);

/// The connections to one instance with the response type `R`.
pub(crate) struct DelegatedConnections<R> {
    /// The most recently used slot comes first.
    slots: Mutex<Vec<Arc<DelegateSlot<R>>>>,
    /// Whether [`keep`] runs.
    is_maintained: AtomicBool,
}

/// A slot for one connection, which may not be open. Each caller holds a clone of the pointer.
pub(crate) struct DelegateSlot<R> {
    identity: Identity,
    method: String,
    connection: ArcSwapOption<ClientConnection<R>>,
    connecting: SharedAttempt<Arc<ClientConnection<R>>>,
    /// The audience of its tickets, after the first attempt to connect.
    audience: OnceLock<Audience>,
    /// Whether a call has used it since the last maintenance.
    used: AtomicBool,
}

impl<R> Default for DelegatedConnections<R> {
    fn default() -> Self {
        Self {
            slots: Mutex::default(),
            is_maintained: AtomicBool::new(false),
        }
    }
}

impl<R> DelegateSlot<R> {
    fn new(DelegatedCall { identity, method }: DelegatedCall<'_>) -> Self {
        Self {
            identity: identity.clone(),
            method: method.to_owned(),
            connection: ArcSwapOption::empty(),
            connecting: SharedAttempt::default(),
            audience: OnceLock::new(),
            used: AtomicBool::new(true),
        }
    }

    fn is_for(&self, on_behalf: DelegatedCall<'_>) -> bool {
        self.method == on_behalf.method && self.identity == *on_behalf.identity
    }

    pub(crate) fn shared_attempt(&self) -> &SharedAttempt<Arc<ClientConnection<R>>> {
        &self.connecting
    }

    /// The connection, if it is open.
    pub(crate) fn open_connection(&self) -> Option<Arc<ClientConnection<R>>> {
        let connection = self.connection.load_full();
        connection.filter(|connection| connection.is_open())
    }

    /// Whether a call is in flight over it. The caller of this method must not hold a clone itself.
    fn is_in_use(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }
}

impl<R> DelegatedConnections<R> {
    fn slots(&self) -> MutexGuard<'_, Vec<Arc<DelegateSlot<R>>>> {
        // The data stays valid even if a lock holder panicked.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot for calls with this identity and method.
    pub(crate) fn slot(&self, on_behalf: DelegatedCall<'_>) -> Arc<DelegateSlot<R>> {
        let mut slots = self.slots();
        let slot = match slots.iter().position(|slot| slot.is_for(on_behalf)) {
            Some(0) => slots.first().cloned(),
            Some(at) => {
                let slot = slots.remove(at);
                slots.insert(0, Arc::clone(&slot));
                Some(slot)
            }
            None => None,
        };
        if let Some(slot) = slot {
            slot.used.store(true, Ordering::Relaxed);
            return slot;
        }
        if slots.len() >= MAX_SLOTS
            && let Some(idle) = slots.iter().rposition(|slot| !slot.is_in_use())
        {
            slots.remove(idle);
        }
        let slot = Arc::new(DelegateSlot::new(on_behalf));
        slots.insert(0, Arc::clone(&slot));
        slot
    }

    /// The open connection for calls with this identity and method, if there is one, and its slot.
    pub(crate) fn open_connection(
        &self,
        on_behalf: DelegatedCall<'_>,
    ) -> Option<SlotConnection<R>> {
        let slot = self.slot(on_behalf);
        let connection = slot.open_connection()?;
        Some((connection, slot))
    }

    /// The worker may be dead or frozen: every open connection checks whether it still answers.
    pub(crate) fn suspect_all(&self) {
        for slot in &*self.slots() {
            if let Some(connection) = slot.open_connection() {
                connection.suspect();
            }
        }
    }
}

impl<R: DeserializeOwned + Send + 'static> DelegatedConnections<R> {
    /// Starts the maintenance, which renews the tickets of used connections and closes unused ones.
    pub(crate) fn start_maintenance(self: &Arc<Self>, delegate: &Arc<dyn DelegateTicketIssuer>) {
        if !self.is_maintained.swap(true, Ordering::AcqRel) {
            tokio::spawn(maintain_slots(Arc::downgrade(self), Arc::clone(delegate)));
        }
    }
}

impl<R: DeserializeOwned + Send + 'static> DelegateSlot<R> {
    /// Opens the connection.
    pub(crate) async fn connect(
        &self,
        way: Route<'_>,
        delegate: &dyn DelegateTicketIssuer,
    ) -> Result<Arc<ClientConnection<R>>, AttemptError> {
        let make = |addressee: &Addressee| {
            let audience = Audience::Task {
                addressee: addressee.clone(),
                object: way.object.to_owned(),
                method: self.method.clone(),
            };
            // The address of a static name may lead to another server the next time. The tickets stay
            // valid for the first server only, and the other one refuses them.
            let audience = self.audience.get_or_init(|| audience);
            delegate.ticket(&self.identity, audience.clone())
        };
        let connecting = connect(way, PresentedTicket::Delegated(&make), Settings::CLIENT);
        let connection = Arc::new(connecting.await?);
        self.connection.store(Some(Arc::clone(&connection)));
        Ok(connection)
    }
}

/// Maintains the connections until there are none.
async fn maintain_slots<R: Send + 'static>(
    delegates: Weak<DelegatedConnections<R>>,
    delegate: Arc<dyn DelegateTicketIssuer>,
) {
    loop {
        sleep(delegate.life() / TICKET_LIFE_PARTS).await;
        let Some(delegates) = delegates.upgrade() else {
            return;
        };
        let mut to_renew = Vec::new();
        {
            let mut slots = delegates.slots();
            slots.retain(|slot| slot.used.swap(false, Ordering::Relaxed) || slot.is_in_use());
            to_renew.extend(slots.iter().cloned());
            if slots.is_empty() {
                // This happens under the lock that also protects the creation of the next slot.
                delegates.is_maintained.store(false, Ordering::Release);
                return;
            }
        }
        for slot in to_renew {
            let (Some(audience), Some(connection)) = (slot.audience.get(), slot.open_connection())
            else {
                continue;
            };
            match delegate.ticket(&slot.identity, audience.clone()) {
                Ok(ticket) => {
                    connection.credential_sink()(Some(ticket.as_bytes()));
                }
                // The connection ends when its last ticket expires.
                Err(reason) => {
                    let user = slot.identity.name.as_str();
                    tracing::info!(user, reason, "no fresh ticket for its running tasks");
                }
            }
        }
    }
}

impl<R> fmt::Debug for DelegatedConnections<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delegates").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::identity::{Patterns, Role};

    fn identity(name: &str) -> Identity {
        Identity {
            name: name.to_owned(),
            role: Role::User,
            allow: Patterns::any(),
        }
    }

    fn of<'a>(identity: &'a Identity, method: &'a str) -> DelegatedCall<'a> {
        DelegatedCall { identity, method }
    }

    #[test]
    fn calls_share_a_slot_if_identity_and_method_are_the_same() {
        let delegates = DelegatedConnections::<()>::default();
        let ana = identity("ana");
        let first = delegates.slot(of(&ana, "echo"));
        assert!(Arc::ptr_eq(&first, &delegates.slot(of(&ana, "echo"))));
        assert!(!Arc::ptr_eq(&first, &delegates.slot(of(&ana, "sleep"))));
        let promoted = Identity {
            role: Role::Admin,
            ..ana
        };
        assert!(!Arc::ptr_eq(&first, &delegates.slot(of(&promoted, "echo"))));
    }

    #[test]
    fn the_idle_slot_that_was_used_longest_ago_makes_way() {
        let delegates = DelegatedConnections::<()>::default();
        let users: Vec<_> = (0..MAX_SLOTS)
            .map(|number| identity(&format!("u{number}")))
            .collect();
        let busy = delegates.slot(of(&users[0], "m"));
        for user in &users {
            delegates.slot(of(user, "m"));
        }
        let newcomer = identity("newcomer");
        delegates.slot(of(&newcomer, "m"));
        let slots = delegates.slots();
        assert_eq!(slots.len(), MAX_SLOTS);
        let has = |user: &Identity| slots.iter().any(|slot| slot.is_for(of(user, "m")));
        assert!(has(&users[0]) && has(&newcomer) && has(&users[2]));
        assert!(!has(&users[1]), "the idle one that was used longest ago");
        drop(busy);
    }
}
