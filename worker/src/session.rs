//! The session of a worker with one name server. It is opened, renewed by heartbeats, and opened again
//! after the name server restarted or forgot it.

use crate::{
    session_context::SessionContext,
    session_state::{SessionState, call_context},
};
use pyroxene_client::{CallError, LoginState, NameServerClient, backoff::Backoff};
use pyroxene_common::interfaces::directory::{DirectoryError, Lease, PeerAddresses, SessionId};
use std::{future::pending, time::Duration};
use tarpc::context;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// The maximum heartbeat period of a worker that waits for an exclusive name.
const WAITING_HEARTBEAT: Duration = Duration::from_millis(250);

/// How often a session is checked that is open by another address.
const ELSEWHERE_POLL_INTERVAL: Duration = Duration::from_secs(5);

const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));

/// The session with one name server.
#[derive(Clone, Debug)]
pub(crate) struct NameServerSession {
    /// The name server's number.
    pub(crate) index: usize,
    pub(crate) nameserver: NameServerClient,
    pub(crate) common: SessionContext,
}

/// The state of a session after a call to its name server failed.
fn state_after_no_answer(error: CallError) -> SessionState {
    match error {
        error @ CallError::Refused(_) => {
            let sentence = error.last_reason();
            SessionState::Refused(match error.is_limited() {
                // The connections of the worker's predecessor may still be counted.
                true => DirectoryError::Limited { sentence },
                false => DirectoryError::Denied { sentence },
            })
        }
        error => SessionState::Lost(error.to_string()),
    }
}

impl NameServerSession {
    /// Keeps the session open until `stop`, and publishes its state in `standing`.
    pub(crate) async fn keep(self, standing: watch::Sender<SessionState>, stop: CancellationToken) {
        self.keep_open(standing, stop).await;
        // A name server that is gone has no say in who keeps the worker's name.
        self.common.successors.answered(self.index, None);
    }

    async fn keep_open(&self, standing: watch::Sender<SessionState>, stop: CancellationToken) {
        let mut failures = 0;
        let mut changes = self.common.changes.subscribe();
        let successors = &self.common.successors;
        while !stop.is_cancelled() {
            if let Some(error) = successors.elsewhere(self.index) {
                self.publish(&standing, SessionState::Refused(error));
                let free = successors.none_elsewhere(self.index);
                if stop.run_until_cancelled(free).await.is_none() {
                    return;
                }
            }
            let Some(opened) = stop.run_until_cancelled(self.open()).await else {
                return;
            };
            let refusal = match &opened {
                Err(SessionState::Refused(error)) => Some(error),
                _ => None,
            };
            successors.answered(self.index, refusal);
            match opened {
                Ok((lease, recognised)) => {
                    failures = 0;
                    self.publish(&standing, SessionState::Open(lease.session));
                    let renewing = async {
                        tokio::select! {
                            reason = self.renew(&lease) => SessionState::Lost(reason),
                            never = self.follow(recognised) => never,
                            error = successors.refused_elsewhere(self.index) => {
                                self.give_up(lease.session).await;
                                SessionState::Refused(error)
                            }
                        }
                    };
                    match stop.run_until_cancelled(renewing).await {
                        None => return,
                        Some(ended) => self.publish(&standing, ended),
                    }
                }
                Err(SessionState::OpenElsewhere) => {
                    failures = 0;
                    self.publish(&standing, SessionState::OpenElsewhere);
                    // Later the other session may be lost, or this address may lead to another name server.
                    let changed = timeout(ELSEWHERE_POLL_INTERVAL, changes.changed());
                    if stop.run_until_cancelled(changed).await.is_none() {
                        return;
                    }
                }
                Err(refused_or_lost) => self.publish(&standing, refused_or_lost),
            }
            let wait = RETRY.wait(failures, rand::random());
            failures += 1;
            if stop.run_until_cancelled(sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Publishes the state of the session, and logs it if it has changed.
    fn publish(&self, standing: &watch::Sender<SessionState>, now: SessionState) {
        if !matches!(now, SessionState::Open(_)) {
            self.common.claims.release(self.index);
        }
        let nameserver = self.nameserver.endpoint();
        let worker = &self.common.registration.worker;
        let is_news = standing.send_if_modified(|before| {
            if *before == now {
                return false;
            }
            match &now {
                SessionState::Open(_) => tracing::info!(worker, %nameserver, "registered"),
                SessionState::Lost(reason) => {
                    tracing::warn!(worker, %nameserver, reason, "not registered; trying again");
                }
                SessionState::Refused(error) => {
                    tracing::warn!(worker, %nameserver, %error, "registration refused; trying again");
                }
                SessionState::OpenElsewhere => {
                    tracing::debug!(worker, %nameserver, "registered by another address");
                }
                SessionState::Opening => {}
            }
            *before = now;
            true
        });
        if is_news {
            self.common.changes.send_replace(());
        }
    }

    async fn open(&self) -> Result<(Lease, Option<watch::Receiver<LoginState>>), SessionState> {
        let recognised = match &self.common.ticket_trust {
            Some(guard) => Some(guard.trust_nameserver(self.index, &self.nameserver).await?),
            None => None,
        };
        self.claim().await?;
        let asked = Instant::now();
        let registration = (*self.common.registration).clone();
        let opening = self.nameserver.open_session(call_context(), registration);
        match opening.await {
            // Meanwhile the address leads to another name server.
            Ok(Ok(lease)) if !self.common.claims.claim(lease.epoch, self.index) => {
                self.close(lease.session).await;
                Err(SessionState::OpenElsewhere)
            }
            Ok(Ok(lease)) => {
                // A name server that checks exclusive names with other name servers does not list them
                // here, but in its answer to the first heartbeat, which follows at once.
                if !lease.fences.is_empty() {
                    self.record_lease(&lease, asked);
                }
                Ok((lease, recognised))
            }
            Ok(Err(error)) => Err(SessionState::Refused(error)),
            Err(error) => Err(state_after_no_answer(error)),
        }
    }

    /// Asks for the incarnation of the name server at this address, and for the addresses of the others.
    /// Only one session is opened with each name server: a second session would replace the first, and
    /// then the first the second, endlessly.
    async fn claim(&self) -> Result<(), SessionState> {
        let told = self.nameserver.directory().peers(call_context()).await;
        let PeerAddresses { epoch, addresses } = told.map_err(state_after_no_answer)?;
        let common = &self.common;
        common.client.add_found_nameservers(self.index, &addresses);
        match common.claims.claim(epoch, self.index) {
            true => Ok(()),
            false => Err(SessionState::OpenElsewhere),
        }
    }

    /// Applies the name server's keys and revocations while the session is open.
    async fn follow<T>(&self, recognised: Option<watch::Receiver<LoginState>>) -> T {
        if let (Some(guard), Some(recognised)) = (&self.common.ticket_trust, recognised) {
            guard.follow(self.index, &self.nameserver, recognised).await;
        }
        pending().await
    }

    /// Records a lease. Its time counts from before the request was sent, because the answer may have
    /// taken long.
    fn record_lease(&self, lease: &Lease, asked: Instant) {
        let until = asked + Duration::from_millis(lease.ttl_ms);
        self.common
            .held_names
            .record_grants(self.index, &lease.fences, until);
    }

    /// Renews the lease until a renewal fails, and returns the reason.
    async fn renew(&self, lease: &Lease) -> String {
        let session = lease.session;
        let mut next = Instant::now();
        let mut hold = std::pin::pin!(self.hold(session));
        loop {
            tokio::select! {
                () = sleep_until(next) => {}
                reason = &mut hold => return reason,
            }
            let asked = Instant::now();
            let directory = self.nameserver.directory();
            match directory
                .renew(call_context(), session, self.common.gauge.load())
                .await
            {
                Ok(Ok(lease)) => {
                    self.record_lease(&lease, asked);
                    next = Instant::now() + self.heartbeat_period(&lease);
                }
                Ok(Err(error)) => return error.to_string(),
                Err(error) => return error.to_string(),
            }
        }
    }

    /// The time between an answer and the next heartbeat. It is shorter while the worker waits for an
    /// exclusive name, because only a heartbeat's answer grants the name.
    fn heartbeat_period(&self, lease: &Lease) -> Duration {
        let period = (Duration::from_millis(lease.ttl_ms) / 3).max(Duration::from_millis(50));
        let offers = self.common.registration.objects.iter();
        let exclusive = offers.filter(|offer| offer.exclusive).count();
        match lease.fences.len() < exclusive {
            true => period.min(WAITING_HEARTBEAT),
            false => period,
        }
    }

    /// Keeps a call to the name server open. If the call ends, the name server suspects that this worker
    /// is dead, and the worker suspects that the name server is dead.
    async fn hold(&self, session: SessionId) -> String {
        loop {
            let mut context = context::current();
            context.deadline = (Instant::now() + Duration::from_secs(24 * 60 * 60)).into_std();
            match self.nameserver.directory().hold(context, session).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(CallError::DeadlineExceeded(_)) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    /// Tells the name server that the worker accepts no new calls. If the name server is unreachable,
    /// clients learn it from the refusals of the worker.
    pub(crate) async fn drain(&self, session: SessionId) {
        if let Err(error) = self
            .nameserver
            .directory()
            .drain(call_context(), session)
            .await
        {
            tracing::debug!(%error, "cannot announce the drain");
        }
    }

    /// Ends the session, because another worker has the name. It must not serve exclusive objects from the
    /// moment at which the name server may give them to another worker.
    async fn give_up(&self, session: SessionId) {
        let held = &self.common.held_names;
        held.record_grants(self.index, &[], Instant::now());
        let worker = &self.common.registration.worker;
        let nameserver = self.nameserver.endpoint();
        tracing::warn!(
            worker,
            %nameserver,
            "a worker that started later has this name; giving it up here too"
        );
        self.close(session).await;
    }

    /// Ends the session. If the name server is unreachable, the lease expires by itself.
    pub(crate) async fn close(&self, session: SessionId) {
        if let Err(error) = self
            .nameserver
            .directory()
            .close(call_context(), session)
            .await
        {
            tracing::debug!(%error, "cannot close the session");
        }
    }
}
