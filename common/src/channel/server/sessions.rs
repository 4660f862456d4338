//! The sessions of a server's connection.

use crate::{
    channel::session_limits::SessionLimits,
    message::{Refusal, RefusalReason},
    scope::{CallSession, Caller, ObjectSession},
};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};
use tokio::time::Instant;

/// The sessions of a connection. They end with it.
#[derive(Debug)]
pub(super) struct Sessions {
    limits: SessionLimits,
    open: HashMap<u64, Arc<ObjectSession>>,
    /// When a session may have been idle for too long.
    next_check: Option<Instant>,
}

impl Sessions {
    pub(super) fn new(limits: SessionLimits) -> Self {
        Self {
            limits,
            open: HashMap::new(),
            next_check: None,
        }
    }

    /// Begins a session. A number that is in use is an error of the peer, which is a message.
    pub(super) fn begin(
        &mut self,
        session: u64,
        caller: &Caller,
        now: Instant,
    ) -> Result<Result<(), Refusal>, String> {
        let count = self.open.len();
        let Entry::Vacant(place) = self.open.entry(session) else {
            return Err(format!("session {session} was begun twice"));
        };
        if count >= self.limits.per_connection {
            return Ok(Err(refusal(
                RefusalReason::Overloaded,
                format!(
                    "the connection's limit of {} sessions is reached",
                    self.limits.per_connection
                ),
            )));
        }
        Ok(match self.limits.count(caller) {
            Ok(counted) => {
                place.insert(ObjectSession::new(now, counted));
                let check = now + self.limits.idle;
                self.next_check = Some(self.next_check.map_or(check, |at| at.min(check)));
                Ok(())
            }
            Err(sentence) => Err(refusal(RefusalReason::Limited, sentence)),
        })
    }

    /// Begins a call in a session.
    pub(super) fn begin_call(&self, session: u64) -> Result<Arc<CallSession>, Refusal> {
        match self.open.get(&session) {
            Some(session) => Ok(session.begin_call()),
            None => Err(refusal(
                RefusalReason::SessionLost,
                format!(
                    "the session has ended, because it was idle for {:?} (--session-idle)",
                    self.limits.idle
                ),
            )),
        }
    }

    /// Ends a session. It may have ended already.
    pub(super) fn end(&mut self, session: u64) {
        if let Some(session) = self.open.remove(&session) {
            session.end();
        }
    }

    /// When to call [`end_idle`](Self::end_idle) next.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.next_check
    }

    /// Ends the sessions that were idle for too long.
    pub(super) fn end_idle(&mut self, now: Instant) {
        if self.next_check.is_none_or(|at| at > now) {
            return;
        }
        let idle = self.limits.idle;
        let mut next: Option<Instant> = None;
        self.open.retain(|_, session| {
            // One that is in use cannot be idle for too long before this.
            let ends_at = session.idle_since().unwrap_or(now) + idle;
            if ends_at <= now {
                session.end();
                return false;
            }
            next = Some(next.map_or(ends_at, |at| at.min(ends_at)));
            true
        });
        self.next_check = next;
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        for session in self.open.values() {
            session.end();
        }
    }
}

fn refusal(reason: RefusalReason, message: String) -> Refusal {
    Refusal {
        reason,
        retry_after_ms: 0,
        message,
    }
}
