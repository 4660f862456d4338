//! The authentication of callers: the worker accepts the callers that its name servers authenticate.

use crate::session_state::{SessionState, call_context};
use pyroxene_client::{LoginState, NameServerClient, ReceivedAdmission, backoff::Backoff};
use pyroxene_common::{
    access::{Authenticator, IssuerClock},
    interfaces::{access::Issuer, directory::DirectoryError},
};
use std::{future::pending, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// The timeout of a long poll for revocations.
const LONG_POLL: Duration = Duration::from_secs(25);

const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// The worker's authenticator, which is kept up to date from the name servers.
#[derive(Clone, Debug)]
pub(crate) struct TicketTrust {
    pub(crate) authenticator: Arc<Authenticator>,
    /// Whether the worker refuses to register with a name server that has authentication off.
    pub(crate) authentication_required: bool,
}

impl TicketTrust {
    /// Fetches the key with which a name server signs tickets, before the worker registers there.
    pub(crate) async fn trust_nameserver(
        &self,
        index: usize,
        nameserver: &NameServerClient,
    ) -> Result<watch::Receiver<LoginState>, SessionState> {
        let denied = |sentence| SessionState::Refused(DirectoryError::Denied { sentence });
        let recognised = match nameserver.watch_login().await {
            Ok(Some(recognised)) => recognised,
            Ok(None) => {
                return Err(denied(
                    "callers have to authenticate, but the worker itself has neither a user nor a certificate".to_owned(),
                ));
            }
            Err(error) => {
                let lost = || SessionState::Lost(error.to_string());
                return Err(error.refusal_of_caller().map_or_else(lost, denied));
            }
        };
        match &*recognised.borrow() {
            // The result is ignored: the ticket may be an old one. The name server sees it with the next
            // request and replaces it.
            LoginState::LoggedIn(held) => _ = self.trust(index, held),
            LoginState::AuthenticationOff(_) | LoginState::NotAskedYet
                if self.authentication_required =>
            {
                return Err(denied("its authentication is off".to_owned()));
            }
            LoginState::AuthenticationOff(_) | LoginState::NotAskedYet => self.authenticator.open(),
        }
        Ok(recognised)
    }

    fn trust(&self, index: usize, held: &ReceivedAdmission) -> bool {
        self.trust_issuer(index, &held.admission.issuer, held.at)
    }

    /// Accepts tickets that are signed with the key that a name server had at `at`, and no longer those
    /// signed with its other keys from a file. Returns whether that key is accepted.
    fn trust_issuer(&self, index: usize, issuer: &Issuer, at: Instant) -> bool {
        let clock = IssuerClock::Read {
            unix_ms: issuer.now_ms,
            at,
        };
        let Ok(key) = issuer.key.parse() else {
            return false; // of a kind that this worker does not know
        };
        self.authenticator
            .trust_issuer(index, key, issuer.life, clock)
    }

    /// Applies later keys and revocations of a name server while this future is polled.
    pub(crate) async fn follow(
        &self,
        index: usize,
        nameserver: &NameServerClient,
        mut recognised: watch::Receiver<LoginState>,
    ) {
        let admissions = async {
            while recognised.changed().await.is_ok() {
                if let LoginState::LoggedIn(held) = &*recognised.borrow_and_update() {
                    self.trust(index, held);
                }
            }
        };
        tokio::join!(admissions, self.follow_revocations(index, nameserver));
    }

    async fn follow_revocations(&self, index: usize, nameserver: &NameServerClient) {
        let mut version = None;
        let mut failures = 0;
        loop {
            let mut context = call_context();
            context.deadline = (Instant::now() + LONG_POLL * 2).into_std();
            let wait = u64::try_from(LONG_POLL.as_millis()).unwrap_or(u64::MAX);
            let access = nameserver.access();
            match access.revocations(context, version, wait).await {
                Ok(Ok(revocations)) => {
                    failures = 0;
                    version = Some(revocations.version);
                    self.authenticator.revoke(&revocations.revoked);
                    if !self.trust_issuer(index, &revocations.issuer, Instant::now()) {
                        tracing::warn!(
                            nameserver = %nameserver.endpoint(),
                            "this name server signs with a domain key that was replaced: its users are \
                             refused here until it has the file of the new key"
                        );
                    }
                    continue;
                }
                // The name server has authentication off.
                Ok(Err(error)) => {
                    tracing::debug!(%error, "no revocations");
                    return pending().await;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot ask for revocations");
                }
            }
            sleep(RETRY.wait(failures, rand::random())).await;
            failures += 1;
        }
    }
}
