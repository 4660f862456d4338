//! The session of a worker with one name server: opened, renewed by heartbeats, opened again after
//! the name server restarted or forgot it.

use crate::registrations::Common;
use pyroxene_client::{CallError, NameServer, Recognised, backoff::Backoff};
use pyroxene_common::interfaces::directory::{DirectoryError, Lease, Peers, SessionId};
use std::{future::pending, time::Duration};
use tarpc::{client::RpcError, context};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long one call to a name server may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a worker that waits for an exclusive name says that it is there.
const WAITING: Duration = Duration::from_millis(250);

/// How often a session that is open by another address is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));

/// How a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not been opened yet.
    Opening,
    /// It is open.
    Open(SessionId),
    /// The name server does not answer, or has forgotten it; it is being opened again.
    Lost(String),
    /// The name server refuses it.
    Refused(DirectoryError),
    /// Another session is open with the name server that this address leads to.
    Elsewhere,
}

/// What one session needs.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The name server's number.
    pub(crate) index: usize,
    pub(crate) nameserver: NameServer,
    pub(crate) common: Common,
}

pub(crate) fn deadline() -> context::Context {
    let mut context = context::current();
    context.deadline = (Instant::now() + CALL_TIMEOUT).into_std();
    context
}

/// How a session stands whose name server has not answered.
fn no_answer(error: RpcError) -> Standing {
    match CallError::from(error) {
        error @ CallError::Refused(_) => {
            let sentence = error.last_reason();
            Standing::Refused(match error.is_limited() {
                // Its predecessor's connections may still be counted.
                true => DirectoryError::Limited { sentence },
                false => DirectoryError::Denied { sentence },
            })
        }
        error => Standing::Lost(error.to_string()),
    }
}

impl Session {
    /// Keeps the session open until `stop`, telling `standing` how it goes.
    pub(crate) async fn keep(self, standing: watch::Sender<Standing>, stop: CancellationToken) {
        let mut failures = 0;
        let mut changes = self.common.changes.subscribe();
        while !stop.is_cancelled() {
            match stop.run_until_cancelled(self.open()).await {
                None => return,
                Some(Ok((lease, recognised))) => {
                    failures = 0;
                    self.note(&standing, Standing::Open(lease.session));
                    let renewing = async {
                        tokio::select! {
                            reason = self.renew(&lease) => reason,
                            never = self.follow(recognised) => never,
                        }
                    };
                    match stop.run_until_cancelled(renewing).await {
                        None => return,
                        Some(reason) => self.note(&standing, Standing::Lost(reason)),
                    }
                }
                Some(Err(Standing::Elsewhere)) => {
                    failures = 0;
                    self.note(&standing, Standing::Elsewhere);
                    // The other one may be lost, or this address lead to another name server.
                    let changed = timeout(LOOK_AGAIN, changes.changed());
                    if stop.run_until_cancelled(changed).await.is_none() {
                        return;
                    }
                }
                Some(Err(refused_or_lost)) => self.note(&standing, refused_or_lost),
            }
            let wait = RETRY.wait(failures, rand::random());
            failures += 1;
            if stop.run_until_cancelled(sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Publishes how the session stands, and logs it if that is news.
    fn note(&self, standing: &watch::Sender<Standing>, now: Standing) {
        if !matches!(now, Standing::Open(_)) {
            self.common.claims.release(self.index);
        }
        let nameserver = self.nameserver.endpoint();
        let worker = &self.common.registration.worker;
        let is_news = standing.send_if_modified(|before| {
            if *before == now {
                return false;
            }
            match &now {
                Standing::Open(_) => tracing::info!(worker, %nameserver, "registered"),
                Standing::Lost(reason) => {
                    tracing::warn!(worker, %nameserver, reason, "not registered; trying again");
                }
                Standing::Refused(error) => {
                    tracing::warn!(worker, %nameserver, %error, "registration refused; trying again");
                }
                Standing::Elsewhere => {
                    tracing::debug!(worker, %nameserver, "registered by another address");
                }
                Standing::Opening => {}
            }
            *before = now;
            true
        });
        if is_news {
            self.common.changes.send_replace(());
        }
    }

    async fn open(&self) -> Result<(Lease, Option<watch::Receiver<Recognised>>), Standing> {
        let recognised = match &self.common.guard {
            Some(guard) => Some(guard.learn(self.index, &self.nameserver).await?),
            None => None,
        };
        self.claim().await?;
        let asked = Instant::now();
        let directory = self.nameserver.directory();
        match directory
            .open(deadline(), (*self.common.registration).clone())
            .await
        {
            // The address leads to another name server by now.
            Ok(Ok(lease)) if !self.common.claims.claim(lease.epoch, self.index) => {
                self.close(lease.session).await;
                Err(Standing::Elsewhere)
            }
            Ok(Ok(lease)) => {
                // A name server that asks others which names are held does not say so here, but with
                // the first heartbeat, which follows at once.
                if !lease.fences.is_empty() {
                    self.take(&lease, asked);
                }
                Ok((lease, recognised))
            }
            Ok(Err(error)) => Err(Standing::Refused(error)),
            Err(error) => Err(no_answer(error)),
        }
    }

    /// Asks which name server this address leads to, and which others there are. Only one session is
    /// opened with each: a second one would take the place of the first, again and again.
    async fn claim(&self) -> Result<(), Standing> {
        let told = self.nameserver.directory().peers(deadline()).await;
        let Peers { epoch, addresses } = told.map_err(no_answer)?;
        let common = &self.common;
        common.client.found_nameservers(self.index, &addresses);
        match common.claims.claim(epoch, self.index) {
            true => Ok(()),
            false => Err(Standing::Elsewhere),
        }
    }

    /// Takes in what the name server says of who may call, while the session lives.
    async fn follow<T>(&self, recognised: Option<watch::Receiver<Recognised>>) -> T {
        if let (Some(guard), Some(recognised)) = (&self.common.guard, recognised) {
            guard.follow(self.index, &self.nameserver, recognised).await;
        }
        pending().await
    }

    /// Takes a lease in. It runs from before it was asked for: the answer may have been on its way
    /// for long.
    fn take(&self, lease: &Lease, asked: Instant) {
        let until = asked + Duration::from_millis(lease.ttl_ms);
        self.common
            .holdings
            .granted(self.index, &lease.fences, until);
    }

    /// Renews the lease until that fails for good, and says why it did.
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
                .renew(deadline(), session, self.common.gauge.load())
                .await
            {
                Ok(Ok(lease)) => {
                    self.take(&lease, asked);
                    next = Instant::now() + self.period(&lease);
                }
                Ok(Err(error)) => return error.to_string(),
                Err(error) => return CallError::from(error).to_string(),
            }
        }
    }

    /// How long after an answer the next heartbeat is due. Only heartbeats tell a worker that it has
    /// got an exclusive name.
    fn period(&self, lease: &Lease) -> Duration {
        let period = (Duration::from_millis(lease.ttl_ms) / 3).max(Duration::from_millis(50));
        let offers = self.common.registration.objects.iter();
        let exclusive = offers.filter(|offer| offer.exclusive).count();
        match lease.fences.len() < exclusive {
            true => period.min(WAITING),
            false => period,
        }
    }

    /// Keeps the call open whose end tells the name server that this worker may be dead, and us
    /// that the name server may be.
    async fn hold(&self, session: SessionId) -> String {
        loop {
            let mut context = context::current();
            context.deadline = (Instant::now() + Duration::from_secs(24 * 60 * 60)).into_std();
            match self.nameserver.directory().hold(context, session).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(error) => match CallError::from(error) {
                    CallError::DeadlineExceeded(_) => {}
                    error => return error.to_string(),
                },
            }
        }
    }

    /// Tells the name server that the worker takes no new calls. It may be unreachable: then the
    /// workers' refusals tell the clients.
    pub(crate) async fn drain(&self, session: SessionId) {
        if let Err(error) = self.nameserver.directory().drain(deadline(), session).await {
            tracing::debug!(%error, "cannot announce the drain");
        }
    }

    /// Ends the session. If the name server cannot be reached, the lease runs out by itself.
    pub(crate) async fn close(&self, session: SessionId) {
        if let Err(error) = self.nameserver.directory().close(deadline(), session).await {
            tracing::debug!(%error, "cannot close the session");
        }
    }
}
