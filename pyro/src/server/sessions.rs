//! The sessions of a connection: as in Pyro, an object that has a state for each session has one for each connection.

use pyroxene_common::scope::{CallSession, ForeignSession};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The sessions of a connection, by the ids of their objects. They end with it.
#[derive(Debug, Default)]
pub struct ConnectionSessions(Mutex<HashMap<String, ForeignSession>>);

impl ConnectionSessions {
    /// The session for a call of an object that exists.
    pub fn call(&self, object: &str) -> Arc<CallSession> {
        // Plain data: valid even if a holder of the lock panicked.
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match sessions.get(object) {
            Some(session) => session.call(),
            None => sessions.entry(object.to_owned()).or_default().call(),
        }
    }
}
