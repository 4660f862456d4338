//! The login at one name server: a ticket that is requested when it is first needed, and renewed halfway
//! through its life.

use super::service::Service;
use crate::{
    attempt::SharedAttempt,
    backoff::Backoff,
    security::{Credentials, Security},
};
use pyroxene_common::{
    access::{CHALLENGE_LEN, HolderKey, KeyError, LoginProof, Ticket},
    channel::AttemptError,
    endpoint::Endpoint,
    interfaces::access::{
        Access, AccessError, Admission, Challenge,
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
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// How long to remember that a name server has authentication off.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// The timeout of one login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// The state of the login at a name server.
#[derive(Clone, Debug)]
pub enum Recognised {
    /// There was no login yet.
    NotYet,
    /// The name server had authentication off at the last login, at this time.
    NotAsked(Instant),
    /// The client is logged in and has a ticket.
    As(Held),
}

/// An admission, and when it was received by the local clock.
#[derive(Clone, Debug)]
pub struct Held {
    /// The answer of the name server.
    pub admission: Arc<Admission>,
    /// When the answer was received.
    pub at: Instant,
}

impl Held {
    fn ends(&self) -> Instant {
        self.at + Duration::from_millis(self.admission.life_ms)
    }

    /// The time when one `part`-th of its life has passed.
    fn after(&self, part: u32) -> Instant {
        self.at + Duration::from_millis(self.admission.life_ms) / part
    }
}

/// See [`Connection::renewer`](pyroxene_common::channel::Connection::renewer).
type Renewer = Box<dyn Fn(Option<&[u8]>) -> bool + Send + Sync>;

/// When the list has this length, or a greater power of two, closed connections are removed.
const LOOK_THROUGH_AT: usize = 64;

/// Connections that need fresh tickets.
#[derive(Default)]
pub(crate) struct Renewers(Mutex<Vec<Renewer>>);

impl Renewers {
    pub(crate) fn add(&self, renewer: impl Fn(Option<&[u8]>) -> bool + Send + Sync + 'static) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= LOOK_THROUGH_AT && all.len().is_power_of_two() {
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
    security: Security,
    access: Service<Access>,
    recognised: watch::Sender<Recognised>,
    /// The login in progress. All callers that need a ticket share it, and share its failure.
    logging_in: SharedAttempt<Option<Ticket>>,
    own: Renewers,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.endpoint)
    }
}

impl Login {
    /// `access` is the name server's access object, over connections without a ticket.
    pub(super) fn new(endpoint: Endpoint, security: Security, access: Service<Access>) -> Self {
        Self {
            endpoint,
            security,
            access,
            recognised: watch::Sender::new(Recognised::NotYet),
            logging_in: SharedAttempt::default(),
            own: Renewers::default(),
        }
    }

    /// The current state of the login, and its later changes.
    pub(crate) fn recognised(&self) -> watch::Receiver<Recognised> {
        self.recognised.subscribe()
    }

    /// The ticket and its expiry, if it has not expired.
    pub(crate) fn ticket_in_hand(&self) -> Option<(Ticket, Instant)> {
        match &*self.recognised.borrow() {
            Recognised::As(held) if Instant::now() < held.ends() => {
                Some((held.admission.ticket.clone(), held.ends()))
            }
            _ => None,
        }
    }

    /// The current ticket, or a new one. `None` if the name server has authentication off.
    pub(crate) async fn ticket(self: &Arc<Self>) -> Result<Option<Ticket>, AttemptError> {
        if let Recognised::NotAsked(at) = &*self.recognised.borrow()
            && at.elapsed() < ASK_AGAIN
        {
            return Ok(None);
        }
        match self.ticket_in_hand() {
            Some((ticket, _)) => Ok(Some(ticket)),
            None => self.renew(None).await,
        }
    }

    /// A ticket other than `old`. A login has its own timeout, and the caller bounds its own waiting.
    pub(crate) async fn renew(
        self: &Arc<Self>,
        old: Option<&Ticket>,
    ) -> Result<Option<Ticket>, AttemptError> {
        if let Some(ticket) = self.other_ticket(old) {
            return Ok(Some(ticket));
        }
        let (login, old) = (Arc::clone(self), old.cloned());
        let made = self
            .logging_in
            .outcome(|| async move { login.make_ticket(old.as_ref()).await });
        Box::pin(made).await
    }

    fn other_ticket(&self, old: Option<&Ticket>) -> Option<Ticket> {
        let (ticket, _) = self.ticket_in_hand()?;
        (Some(&ticket) != old).then_some(ticket)
    }

    async fn make_ticket(&self, old: Option<&Ticket>) -> Result<Option<Ticket>, AttemptError> {
        // Another login may have finished since the caller checked.
        if let Some(ticket) = self.other_ticket(old) {
            return Ok(Some(ticket));
        }
        match self.log_in().await? {
            Ok(admission) => {
                let ticket = admission.ticket.clone();
                self.recognised.send_replace(Recognised::As(Held {
                    admission: Arc::new(admission),
                    at: Instant::now(),
                }));
                Ok(Some(ticket))
            }
            Err(AccessError::Off) => {
                self.recognised
                    .send_replace(Recognised::NotAsked(Instant::now()));
                Ok(None)
            }
            Err(error) => Err(unauthenticated(&self.who(), &error)),
        }
    }

    /// The identity that the client claims, for messages.
    fn who(&self) -> String {
        match &self.security.credentials {
            Some(credentials) => format!("'{}'", credentials.shown_user()),
            None => "the certificate".to_owned(),
        }
    }

    async fn log_in(&self) -> Result<Result<Admission, AccessError>, AttemptError> {
        let mut context = context::current();
        context.deadline = (Instant::now() + LOGIN_TIMEOUT).into_std();
        let holder = HolderKey::of_process().map_err(|error| self.unable(&error))?;
        let answer = match &self.security.credentials {
            Some(credentials) => self.log_in_as(credentials, holder, &context).await?,
            None => {
                let holder = holder.id();
                let request = AccessRequest::LoginByCertificate { holder };
                // Boxed, because the type of this future contains itself: connecting to the access object
                // can log in.
                Box::pin(self.access.attempt(&context, &request)).await?
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
            return Err(refused(format!(
                "a login at {} in the clear is not allowed; TLS is needed",
                self.endpoint
            )));
        }
        if credentials.are_mixed_up() {
            return Err(refused(
                "a token was given as the name of the user; give the name and the token separately"
                    .to_owned(),
            ));
        }
        let token = match &credentials.token {
            Ok(token) => token.key().map_err(|error| self.unable(&error))?,
            Err(error) => return Err(refused(format!("{} cannot log in: {error}", self.who()))),
        };
        // Boxed for the same reason as above.
        let deadline = Instant::from_std(context.deadline);
        let connection = timeout_at(deadline, Box::pin(self.access.connection()))
            .await
            .unwrap_or(Err(AttemptError::DeadlineExceeded { sent: false }))?;
        let request = AccessRequest::Challenge {};
        let nonce = match self
            .access
            .call_over(&connection, context, &request)
            .await?
        {
            AccessResponse::Challenge(Ok(Challenge { nonce })) => nonce,
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
        self.access.call_over(&connection, context, &request).await
    }

    /// The error if this process has no key.
    fn unable(&self, error: &KeyError) -> AttemptError {
        refused(format!("{} cannot log in: {error}", self.who()))
    }

    /// Adds a connection to this name server that will get every fresh ticket.
    pub(super) fn keep_renewed(
        &self,
        renewer: impl Fn(Option<&[u8]>) -> bool + Send + Sync + 'static,
    ) {
        self.own.add(renewer);
    }

    /// Renews the ticket halfway through its life until `stop`, and sends it over the connections to this
    /// name server and over those in `others`.
    pub(crate) async fn keep(self: Arc<Self>, others: Arc<Renewers>, stop: CancellationToken) {
        // The first ticket is requested by the first caller that needs it.
        let mut recognised = self.recognised.subscribe();
        let mut failures = 0;
        let renewing = async {
            loop {
                let Recognised::As(current) = recognised.borrow_and_update().clone() else {
                    // The channel stays open: `self` owns the sender.
                    let _ = recognised.changed().await;
                    continue;
                };
                // A worker may receive the ticket before it knows the key that signed it, so the ticket is
                // sent twice.
                let showing = async {
                    for part in [u32::MAX, 4] {
                        sleep_until(current.after(part)).await;
                        self.own.show(&current.admission.ticket);
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

fn refused(sentence: String) -> AttemptError {
    AttemptError::Refused(Refusal {
        reason: RefusalReason::Unauthenticated,
        retry_after_ms: 0,
        sentence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::ClientConfig, nameserver::NameServer};
    use futures::future::join_all;
    use pyroxene_common::access::Token;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    /// A name server that accepts connections and never answers, and the number of accepted connections.
    async fn silent() -> (NameServer, Arc<AtomicUsize>) {
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
        let nameserver = NameServer::new(config.endpoints()[0].clone(), &config);
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
