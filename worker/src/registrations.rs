//! The sessions of a worker: one with each name server that its client knows of.
//!
//! Several addresses may lead to one name server, and one address (a load balancer's) to several. The
//! incarnation that answers identifies the name server: the first session that reaches it claims it
//! ([`SessionClaims`]), and the sessions by other addresses wait until that session is lost.

use crate::{
    admission::WorkerAdmission, error::WorkerError, session::NameServerSession,
    session_context::SessionContext, session_state::SessionState,
};
use parking_lot::Mutex;
use pyroxene_common::{endpoint::Endpoint, interfaces::directory::SessionId};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a starting worker waits for the first answers of the name servers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The sessions of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Registrations {
    common: SessionContext,
    sessions: Arc<Mutex<BTreeMap<usize, KeptSession>>>,
    keepers: TaskTracker,
    runtime: Handle,
    stop: CancellationToken,
}

/// A session that is kept open.
#[derive(Debug)]
struct KeptSession {
    session: NameServerSession,
    state: watch::Receiver<SessionState>,
    stop: CancellationToken,
}

impl Registrations {
    /// Opens sessions with the name servers that the client knows, and with those that it discovers later,
    /// until `stop`. The sessions run on `runtime`.
    pub(crate) fn start(common: SessionContext, runtime: Handle, stop: CancellationToken) -> Self {
        let registrations = Self {
            common,
            sessions: Arc::default(),
            keepers: TaskTracker::new(),
            runtime,
            stop,
        };
        registrations.update_sessions();
        let following = registrations.clone();
        let keepers = registrations.keepers.clone();
        keepers.spawn_on(following.follow(), &registrations.runtime);
        registrations
    }

    async fn follow(self) {
        let mut found = self.common.client.find_nameservers();
        while let Some(Ok(())) = self.stop.run_until_cancelled(found.changed()).await {
            self.update_sessions();
        }
    }

    /// Starts sessions with new name servers, and ends those with name servers that are gone.
    pub(crate) fn update_sessions(&self) {
        let known = self.common.client.numbered_nameservers();
        let mut sessions = self.sessions.lock();
        sessions.retain(|number, kept| {
            let is_known = known.iter().any(|(known, _)| known == number);
            if !is_known {
                kept.stop.cancel();
                self.common.claims.release(*number);
            }
            is_known
        });
        for (number, nameserver) in known {
            sessions.entry(number).or_insert_with(|| {
                let session = NameServerSession {
                    index: number,
                    nameserver,
                    common: self.common.clone(),
                };
                let (sender, standing) = watch::channel(SessionState::Opening);
                let stop = self.stop.child_token();
                let keeping = session.clone().keep(sender, stop.clone());
                self.keepers.spawn_on(keeping, &self.runtime);
                KeptSession {
                    session,
                    state: standing,
                    stop,
                }
            });
        }
    }

    /// The states of all sessions. If `is_late`, a name server that has not answered counts as lost.
    fn session_states(&self, is_late: bool) -> Vec<(Endpoint, SessionState)> {
        self.update_sessions();
        let sessions = self.sessions.lock();
        let standings = sessions.values().map(|kept| {
            let endpoint = kept.session.nameserver.endpoint().clone();
            match &*kept.state.borrow() {
                SessionState::Opening if is_late => {
                    (endpoint, SessionState::Lost("no answer".to_owned()))
                }
                standing => (endpoint, standing.clone()),
            }
        });
        standings.collect()
    }

    /// Waits until the worker is admitted (see [`WorkerAdmission`]). It waits for an answer of every name server
    /// for at most [`ANSWER_TIMEOUT`], and for a temporary refusal to end for at most `start_timeout`, or
    /// without a timeout.
    pub(crate) async fn wait_until_admitted(
        &self,
        start_timeout: Option<Duration>,
    ) -> Result<(), WorkerError> {
        let began = Instant::now();
        let answers_until = began + ANSWER_TIMEOUT;
        let give_up = start_timeout.and_then(|timeout| began.checked_add(timeout));
        let mut changes = self.common.changes.subscribe();
        let mut told = false;
        loop {
            let standings = self.session_states(answers_until <= Instant::now());
            let until = match WorkerAdmission::of(&standings) {
                WorkerAdmission::Granted => return Ok(()),
                WorkerAdmission::Undecided => Some(answers_until),
                WorkerAdmission::Refused(nameserver, error) => {
                    return Err(WorkerError::Refused { nameserver, error });
                }
                WorkerAdmission::NotYet(nameserver, error) => {
                    if give_up.is_some_and(|give_up| give_up <= Instant::now()) {
                        return Err(WorkerError::Refused { nameserver, error });
                    }
                    if !std::mem::replace(&mut told, true) {
                        let worker = &self.common.registration.worker;
                        let limit = start_timeout.map_or_else(
                            || "without limit".to_owned(),
                            |limit| format!("for at most {:.1} s", limit.as_secs_f64()),
                        );
                        tracing::warn!(worker, limit, "waiting for this to end: {error}");
                    }
                    give_up
                }
            };
            match until {
                // After a change or the timeout, the states are checked again.
                Some(until) => drop(timeout_at(until, changes.changed()).await),
                None => drop(changes.changed().await),
            }
        }
    }

    /// The sessions that are open now.
    pub(crate) fn open_sessions(&self) -> Vec<(NameServerSession, SessionId)> {
        let sessions = self.sessions.lock();
        let open = sessions
            .values()
            .filter_map(|kept| match *kept.state.borrow() {
                SessionState::Open(id) => Some((kept.session.clone(), id)),
                _ => None,
            });
        open.collect()
    }

    /// Waits until all sessions have ended, after `stop`.
    pub(crate) async fn wait_until_ended(&self) {
        self.keepers.close();
        self.keepers.wait().await;
    }
}
