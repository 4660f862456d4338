//! The login at one name server: a ticket that is requested when it is first needed, and renewed halfway
//! through its life.

use super::link::{Link, call_over, connected};
use crate::{
    attempt::SharedAttempt,
    backoff::Backoff,
    connect::ConnectOptions,
    deadline::context_within,
    security::{ClientSecurity, Credentials},
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, Unauthenticated},
    endpoint::Endpoint,
    identity::{CHALLENGE_LEN, HolderKey, KeyError, LoginProof, Ticket},
    interfaces::access::{
        self, Access, AccessError, ChallengeNonce, LoginTicket,
        access::{AccessRequest, AccessResponse},
    },
    message::{Refusal, RefusalReason},
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tarpc::context;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How long to remember that a name server has authentication off.
const AUTHENTICATION_OFF_TTL: Duration = Duration::from_secs(10);

/// The timeout of one login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// The state of the login at a name server.
#[derive(Clone, Debug)]
pub enum LoginState {
    /// There was no login yet.
    NotAskedYet,
    /// The name server had authentication off at the last login, at this time.
    AuthenticationOff(Instant),
    /// The client is logged in and has a ticket.
    LoggedIn(ReceivedAdmission),
}

/// An admission, and when it was received by the local clock.
#[derive(Clone, Debug)]
pub struct ReceivedAdmission {
    /// The answer of the name server.
    pub admission: Arc<LoginTicket>,
    /// When the answer was received.
    pub at: Instant,
}

impl ReceivedAdmission {
    fn ends(&self) -> Instant {
        self.at + Duration::from_millis(self.admission.life_ms)
    }

    /// The time when one `part`-th of its life has passed.
    fn after(&self, part: u32) -> Instant {
        self.at + Duration::from_millis(self.admission.life_ms) / part
    }
}

/// See [`Connection::renewer`](pyroxene_common::channel::Connection::renewer).
type CredentialSink = Box<dyn Fn(Option<&[u8]>) -> bool + Send + Sync>;

/// When the list has this length, or a greater power of two, closed connections are removed.
const SWEEP_THRESHOLD: usize = 64;

/// Connections that need fresh tickets.
#[derive(Default)]
pub(crate) struct CredentialSinks(Mutex<Vec<CredentialSink>>);

impl CredentialSinks {
    pub(crate) fn add(&self, renewer: impl Fn(Option<&[u8]>) -> bool + Send + Sync + 'static) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SWEEP_THRESHOLD && all.len().is_power_of_two() {
            all.retain(|renew| renew(None));
        }
        all.push(Box::new(renewer));
    }

    fn show(&self, ticket: &Ticket) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|renew| renew(Some(ticket.as_bytes())));
    }
}

/// The login of this client at one name server.
pub(crate) struct Login {
    endpoint: Endpoint,
    security: ClientSecurity,
    /// The name server's access object, over a connection without a ticket.
    access: Arc<Link<Access>>,
    login_state: watch::Sender<LoginState>,
    /// The login in progress. All callers that need a ticket share it, and share its failure.
    logging_in: SharedAttempt<Option<Ticket>>,
    own_sinks: CredentialSinks,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.endpoint)
    }
}

impl Login {
    pub(super) fn new(
        endpoint: Endpoint,
        security: ClientSecurity,
        options: ConnectOptions,
    ) -> Self {
        Self {
            access: Arc::new(Link::new(endpoint.clone(), access::OBJECT, options)),
            endpoint,
            security,
            login_state: watch::Sender::new(LoginState::NotAskedYet),
            logging_in: SharedAttempt::default(),
            own_sinks: CredentialSinks::default(),
        }
    }

    /// The current state of the login, and its later changes.
    pub(crate) fn subscribe_login_state(&self) -> watch::Receiver<LoginState> {
        self.login_state.subscribe()
    }

    /// The ticket and its expiry, if it has not expired.
    pub(crate) fn current_ticket(&self) -> Option<(Ticket, Instant)> {
        match &*self.login_state.borrow() {
            LoginState::LoggedIn(held) if Instant::now() < held.ends() => {
                Some((held.admission.ticket.clone(), held.ends()))
            }
            _ => None,
        }
    }

    /// The current ticket, or a new one. `None` if the name server has authentication off.
    pub(crate) async fn ticket(self: &Arc<Self>) -> Result<Option<Ticket>, AttemptError> {
        if let LoginState::AuthenticationOff(at) = &*self.login_state.borrow()
            && at.elapsed() < AUTHENTICATION_OFF_TTL
        {
            return Ok(None);
        }
        match self.current_ticket() {
            Some((ticket, _)) => Ok(Some(ticket)),
            None => self.renew(None).await,
        }
    }

    /// A ticket other than `old`. A login has its own timeout, and the caller bounds its own waiting.
    pub(crate) async fn renew(
        self: &Arc<Self>,
        old: Option<&Ticket>,
    ) -> Result<Option<Ticket>, AttemptError> {
        if let Some(ticket) = self.ticket_other_than(old) {
            return Ok(Some(ticket));
        }
        let (login, old) = (Arc::clone(self), old.cloned());
        let made = self
            .logging_in
            .outcome(|| async move { login.make_ticket(old.as_ref()).await });
        Box::pin(made).await
    }

    fn ticket_other_than(&self, old: Option<&Ticket>) -> Option<Ticket> {
        let (ticket, _) = self.current_ticket()?;
        (Some(&ticket) != old).then_some(ticket)
    }

    async fn make_ticket(&self, old: Option<&Ticket>) -> Result<Option<Ticket>, AttemptError> {
        // Another login may have finished since the caller checked.
        if let Some(ticket) = self.ticket_other_than(old) {
            return Ok(Some(ticket));
        }
        match self.log_in().await? {
            Ok(admission) => {
                let ticket = admission.ticket.clone();
                self.login_state
                    .send_replace(LoginState::LoggedIn(ReceivedAdmission {
                        admission: Arc::new(admission),
                        at: Instant::now(),
                    }));
                Ok(Some(ticket))
            }
            Err(AccessError::Off) => {
                self.login_state
                    .send_replace(LoginState::AuthenticationOff(Instant::now()));
                Ok(None)
            }
            Err(error) => Err(unauthenticated(&self.claimed_identity(), &error)),
        }
    }

    /// The identity that the client claims, for messages.
    fn claimed_identity(&self) -> String {
        match &self.security.credentials {
            Some(credentials) => format!("'{}'", credentials.shown_user()),
            None => "the certificate".to_owned(),
        }
    }

    async fn log_in(&self) -> Result<Result<LoginTicket, AccessError>, AttemptError> {
        let context = context_within(LOGIN_TIMEOUT);
        let holder = HolderKey::of_process().map_err(|error| self.cannot_log_in(&error))?;
        if let Some(source) = &self.security.ticket_source {
            return Ok(source.issue(holder.id()));
        }
        let answer = match &self.security.credentials {
            Some(credentials) => self.log_in_as(credentials, holder, &context).await?,
            None => {
                let holder = holder.id();
                let request = AccessRequest::LoginByCertificate { holder };
                let connection = self.access_connection(&context).await?;
                call_over::<Access>(&connection, &context, &request).await?
            }
        };
        match answer {
            AccessResponse::Login(answer) => Ok(answer),
            // A server that did not ask for the certificate has authentication off.
            AccessResponse::LoginByCertificate(Err(AccessError::NoCertificate)) => {
                Ok(Err(AccessError::Off))
            }
            AccessResponse::LoginByCertificate(answer) => Ok(answer),
            _ => Ok(Err(AccessError::Off)),
        }
    }

    /// Logs in with the key of a token. The token itself is never sent.
    async fn log_in_as(
        &self,
        credentials: &Credentials,
        holder: &HolderKey,
        context: &context::Context,
    ) -> Result<AccessResponse, AttemptError> {
        if !self.security.is_private(&self.endpoint) {
            let endpoint = &self.endpoint;
            let sentence =
                format!("a login at {endpoint} in the clear is not allowed; TLS is needed");
            return Err(AttemptError::Unauthenticated(Unauthenticated::InTheClear(
                sentence,
            )));
        }
        if credentials.has_token_as_user() {
            return Err(refused(
                "a token was given as the name of the user; give the name and the token separately"
                    .to_owned(),
            ));
        }
        let token = match &credentials.token {
            Ok(token) => token.key().map_err(|error| self.cannot_log_in(&error))?,
            Err(error) => {
                return Err(refused(format!(
                    "{} cannot log in: {error}",
                    self.claimed_identity()
                )));
            }
        };
        let connection = self.access_connection(context).await?;
        let request = AccessRequest::Challenge {};
        let nonce = match call_over::<Access>(&connection, context, &request).await? {
            AccessResponse::Challenge(Ok(ChallengeNonce { nonce })) => nonce,
            AccessResponse::Challenge(Err(error)) => return Ok(AccessResponse::Login(Err(error))),
            _ => return Ok(AccessResponse::Login(Err(AccessError::NoChallenge))),
        };
        let Ok(nonce) = <[u8; CHALLENGE_LEN]>::try_from(nonce) else {
            return Ok(AccessResponse::Login(Err(AccessError::NoChallenge)));
        };
        let proof = LoginProof {
            nonce: &nonce,
            exporter: connection.exporter(),
            holder: &holder.id(),
            user: &credentials.user,
        };
        let request = AccessRequest::Login {
            user: credentials.user.clone(),
            holder: holder.id(),
            signature: proof.sign(&token),
        };
        call_over::<Access>(&connection, context, &request).await
    }

    async fn access_connection(
        &self,
        context: &context::Context,
    ) -> Result<ClientConnection<AccessResponse>, AttemptError> {
        let link = Arc::clone(&self.access);
        let connecting = self.access.connection(move || {
            let link = Arc::clone(&link);
            Box::pin(async move { link.open(None).await })
        });
        connected(context, connecting).await
    }

    /// The error if this process has no key.
    fn cannot_log_in(&self, error: &KeyError) -> AttemptError {
        refused(format!(
            "{} cannot log in: {error}",
            self.claimed_identity()
        ))
    }

    /// Adds a connection to this name server that will get every fresh ticket.
    pub(super) fn add_credential_sink(
        &self,
        renewer: impl Fn(Option<&[u8]>) -> bool + Send + Sync + 'static,
    ) {
        self.own_sinks.add(renewer);
    }

    /// Renews the ticket halfway through its life until `stop`, and sends it over the connections to this
    /// name server and over those in `others`.
    pub(crate) async fn keep_ticket_fresh(
        self: Arc<Self>,
        others: Arc<CredentialSinks>,
        stop: CancellationToken,
    ) {
        // The first ticket is requested by the first caller that needs it.
        let mut recognised = self.login_state.subscribe();
        let mut failures = 0;
        let renewing = async {
            loop {
                let LoginState::LoggedIn(current) = recognised.borrow_and_update().clone() else {
                    // The channel stays open: `self` owns the sender.
                    let _ = recognised.changed().await;
                    continue;
                };
                // A worker may receive the ticket before it knows the key that signed it, so the ticket is
                // sent twice.
                let showing = async {
                    for part in [u32::MAX, 4] {
                        sleep_until(current.after(part)).await;
                        self.own_sinks.show(&current.admission.ticket);
                        others.show(&current.admission.ticket);
                    }
                    sleep_until(current.after(2)).await;
                };
                tokio::select! {
                    _ = recognised.changed() => continue,
                    () = showing => {}
                }
                match self.renew(Some(&current.admission.ticket)).await {
                    Ok(_) => failures = 0,
                    Err(error) => {
                        tracing::warn!(nameserver = %self.endpoint, %error, "cannot renew the ticket");
                        sleep(RETRY.wait(failures, rand::random())).await;
                        failures += 1;
                    }
                }
            }
        };
        let _: Option<()> = stop.run_until_cancelled(renewing).await;
    }
}

fn unauthenticated(who: &str, error: &AccessError) -> AttemptError {
    refused(format!("{who} cannot log in: {error}"))
}

fn refused(message: String) -> AttemptError {
    AttemptError::Refused(Refusal {
        reason: RefusalReason::Unauthenticated,
        retry_after_ms: 0,
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::ClientConfig, nameserver::NameServerClient};
    use futures::future::join_all;
    use pyroxene_common::identity::Token;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    /// A name server that accepts connections and never answers, and the number of accepted connections.
    async fn silent() -> (NameServerClient, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accepted = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((socket, _)) = listener.accept().await {
                open.push(socket);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let token = Token::generate().unwrap().expose();
        let config = ClientConfig::new(&address).unwrap();
        let config = config.credentials(Credentials::new("ana", &token));
        let nameserver = NameServerClient::new(config.endpoints()[0].clone(), &config);
        (nameserver, accepted)
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_for_a_login_share_its_failure() {
        let (nameserver, accepted) = silent().await;
        let login = nameserver.login().unwrap();
        let began = Instant::now();
        let asked = (0..100).map(|_| login.ticket());
        let outcomes = join_all(asked).await;
        assert!(outcomes.iter().all(Result::is_err));
        let took = began.elapsed();
        assert!(took <= LOGIN_TIMEOUT + SECOND, "{took:?}");
        assert_eq!(accepted.load(Ordering::Relaxed), 1);
        // A later caller tries again.
        login.ticket().await.unwrap_err();
        assert_eq!(accepted.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_a_login_until_its_own_deadline_alone() {
        let (nameserver, _) = silent().await;
        let login = Arc::clone(nameserver.login().unwrap());
        tokio::spawn(async move { login.ticket().await });
        let mut context = context::current();
        let began = Instant::now();
        context.deadline = (began + SECOND).into_std();
        nameserver.directory().status(context).await.unwrap_err();
        let took = began.elapsed();
        assert!(took <= SECOND + SECOND / 10, "{took:?}");
    }
}
