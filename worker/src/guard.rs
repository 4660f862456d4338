//! Who may call the worker: those whom its name servers recognise.

use crate::session::{Standing, deadline};
use pyroxene_client::{CallError, Held, NameServer, Recognised, backoff::Backoff};
use pyroxene_common::{
    access::{Clock, Gate},
    channel::AttemptError,
    interfaces::{access::Issuer, directory::DirectoryError},
};
use std::{future::pending, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// How long a name server may hold a question for revocations.
const LONG_POLL: Duration = Duration::from_secs(25);

const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// The worker's gate, and what it does with what the name servers say.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) gate: Arc<Gate>,
    /// Whether the worker is not to run where nobody is asked who they are.
    pub(crate) demanded: bool,
}

impl Guard {
    /// Learns from a name server whose tickets are good, before the worker registers there.
    pub(crate) async fn learn(
        &self,
        index: usize,
        nameserver: &NameServer,
    ) -> Result<watch::Receiver<Recognised>, Standing> {
        let denied = |sentence| Standing::Refused(DirectoryError::Denied { sentence });
        let recognised = match nameserver.recognise().await {
            Ok(Some(recognised)) => recognised,
            Ok(None) => {
                return Err(denied(
                    "callers have to say who they are, but the worker itself has neither a user nor a certificate".to_owned(),
                ));
            }
            Err(AttemptError::Refused(refusal)) if refusal.reason.is_about_the_caller() => {
                return Err(denied(refusal.sentence));
            }
            Err(error) => return Err(Standing::Lost(error.to_string())),
        };
        match &*recognised.borrow() {
            // A ticket of before that the name server is shown next, and replaces, counts for nothing.
            Recognised::As(held) => _ = self.trust(index, held),
            Recognised::NotAsked(_) | Recognised::NotYet if self.demanded => {
                return Err(denied("it does not ask who anybody is".to_owned()));
            }
            Recognised::NotAsked(_) | Recognised::NotYet => self.gate.open(),
        }
        Ok(recognised)
    }

    fn trust(&self, index: usize, held: &Held) -> bool {
        self.trust_issuer(index, &held.admission.issuer, held.at)
    }

    /// Takes tickets under the key that a name server had at a time, and under no other of its keys that
    /// lay in a file. Gives whether that key counts.
    fn trust_issuer(&self, index: usize, issuer: &Issuer, at: Instant) -> bool {
        let clock = Clock::Read {
            unix_ms: issuer.now_ms,
            at,
        };
        self.gate
            .trust(index, issuer.key.clone(), issuer.life, clock)
    }

    /// Takes in what a name server says later, and whom it revokes, for as long as it is polled.
    pub(crate) async fn follow(
        &self,
        index: usize,
        nameserver: &NameServer,
        mut recognised: watch::Receiver<Recognised>,
    ) {
        let admissions = async {
            while recognised.changed().await.is_ok() {
                if let Recognised::As(held) = &*recognised.borrow_and_update() {
                    self.trust(index, held);
                }
            }
        };
        tokio::join!(admissions, self.follow_revocations(index, nameserver));
    }

    async fn follow_revocations(&self, index: usize, nameserver: &NameServer) {
        let mut version = None;
        let mut failures = 0;
        loop {
            let mut context = deadline();
            context.deadline = (Instant::now() + LONG_POLL * 2).into_std();
            let wait = u64::try_from(LONG_POLL.as_millis()).unwrap_or(u64::MAX);
            let access = nameserver.access();
            match access.revocations(context, version, wait).await {
                Ok(Ok(revocations)) => {
                    failures = 0;
                    version = Some(revocations.version);
                    self.gate.revoke(&revocations.revoked);
                    if !self.trust_issuer(index, &revocations.issuer, Instant::now()) {
                        tracing::warn!(
                            nameserver = %nameserver.endpoint(),
                            "this name server signs with a domain key that was replaced: nobody whom it \
                             recognises is let in here until it has the file of the new one"
                        );
                    }
                    continue;
                }
                // It asks nobody who they are.
                Ok(Err(error)) => {
                    tracing::debug!(%error, "no revocations");
                    return pending().await;
                }
                Err(error) => {
                    let error = CallError::from(error);
                    tracing::debug!(%error, "cannot ask for revocations");
                }
            }
            sleep(RETRY.wait(failures, rand::random())).await;
            failures += 1;
        }
    }
}
