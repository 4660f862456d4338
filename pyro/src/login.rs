//! Who a client is, where callers have to log in: Pyro has no tokens, so the data of its handshake carries one,
//! or its certificate says it.

use crate::PyValue;
use futures::future::BoxFuture;
use pyroxene_common::{
    access::{Authenticator, CountedConnection},
    hello::RefusalCode,
    identity::{HelloTarget, Identity},
    tls::CertificateHolder,
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How often a client is asked for again at a name server. A revocation is known earlier.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The same interval after no name server could say who the client is.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How long a client stays known while no name server can be asked: as long as a ticket is valid by default.
const KNOWN_FOR: Duration = Duration::from_secs(10 * 60);

/// Why a client without credentials is refused.
const SHOWS_NOTHING: &str = "it wants to know who calls: show a client certificate, or send {'user': …, \
                             'token': …} as the data of the handshake, over TLS";

/// What a client shows to prove who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum PyroCredentials {
    /// A user's name and token.
    Token {
        /// The user.
        user: String,
        /// The text of the token.
        token: String,
    },
    /// The certificate of its connection, which has been verified.
    Certificate(CertificateHolder),
}

impl fmt::Debug for PyroCredentials {
    /// Hides the token, and the name, which may be a token that was given in its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token { .. } => "Token(…)",
            Self::Certificate(_) => "Certificate(…)",
        })
    }
}

/// A client that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownClient {
    /// Its identity.
    pub identity: Identity,
    /// When that was so by the name server's clock, in milliseconds since 1970.
    pub as_of_ms: u64,
}

/// Why a client is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginFailure {
    /// Its credentials are wrong, or void by now.
    #[error("{0}")]
    Refused(String),
    /// No name server can say now who the client is.
    #[error("{0}")]
    Unavailable(String),
}

/// Tells who a client is.
pub trait Logins: fmt::Debug + Send + Sync + 'static {
    /// The client with these credentials. `peer` is its address: failed logins are counted for it.
    fn identify(
        &self,
        credentials: PyroCredentials,
        peer: String,
    ) -> BoxFuture<'_, Result<KnownClient, LoginFailure>>;
}

/// The door of a host for Pyro's clients.
#[derive(Clone, Debug)]
pub struct PyroDoor {
    authenticator: Arc<Authenticator>,
    logins: Arc<dyn Logins>,
}

/// What is known of a client's connection.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// The client's address.
    pub address: String,
    /// Whether a secret may be sent over it: it uses TLS, or stays within this machine.
    pub is_private: bool,
    /// The holder of the client's certificate, if it showed one that is valid.
    pub certificate: Option<CertificateHolder>,
}

/// A client that was let in. It counts as a connection of its user until it is dropped.
#[derive(Debug)]
pub(crate) struct LetIn {
    door: PyroDoor,
    credentials: PyroCredentials,
    address: String,
    identity: Arc<Identity>,
    as_of_ms: u64,
    known_at: Instant,
    /// When to ask for it again.
    check_at: Instant,
    _counted: Option<CountedConnection>,
}

impl PyroDoor {
    /// The door of a host with this authenticator.
    pub fn new(authenticator: Arc<Authenticator>, logins: Arc<dyn Logins>) -> Self {
        Self {
            authenticator,
            logins,
        }
    }

    /// Whether callers need not log in. The error says that this is not known yet.
    pub(crate) fn is_open(&self) -> Result<bool, String> {
        let anything = HelloTarget {
            object: "",
            interface: "",
            version: 0,
        };
        match self.authenticator.check(None, anything, None) {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.code == RefusalCode::BadCredential => Ok(false),
            Err(refusal) => Err(refusal.message),
        }
    }

    /// Lets a client in that sent this data with its handshake; `None` if callers need not log in.
    pub(crate) async fn let_in(
        &self,
        sent: &PyValue,
        arrival: &Arrival,
    ) -> Result<Option<LetIn>, String> {
        if self.is_open()? {
            return Ok(None);
        }
        let credentials = shown(sent, arrival)?;
        let address = arrival.address.clone();
        let known = self
            .logins
            .identify(credentials.clone(), address.clone())
            .await
            .map_err(|failure| failure.to_string())?;
        let counted = self.authenticator.count(&known.identity);
        let counted = counted.map_err(|refusal| refusal.message)?;
        Ok(Some(LetIn {
            door: self.clone(),
            credentials,
            address,
            identity: Arc::new(known.identity),
            as_of_ms: known.as_of_ms,
            known_at: Instant::now(),
            check_at: Instant::now() + CHECK_INTERVAL,
            _counted: counted,
        }))
    }
}

/// The credentials of a client: those in the data of its handshake, or else its certificate.
fn shown(sent: &PyValue, arrival: &Arrival) -> Result<PyroCredentials, String> {
    let text = |key: &str| sent.get(key).and_then(PyValue::as_str).map(str::to_owned);
    match (text("user"), text("token"), &arrival.certificate) {
        (Some(_), Some(_), _) if !arrival.is_private => Err(
            "a token in the clear is not accepted; TLS is needed, and the token should be replaced"
                .to_owned(),
        ),
        (Some(user), Some(token), _) => Ok(PyroCredentials::Token { user, token }),
        (_, _, Some(certificate)) => Ok(PyroCredentials::Certificate(certificate.clone())),
        (_, _, None) => Err(SHOWS_NOTHING.to_owned()),
    }
}

impl LetIn {
    /// The client's identity.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Whether it may go on now. From time to time it is asked for again, and its rights change with the
    /// answer.
    pub(crate) async fn may_go_on(&mut self) -> bool {
        if Instant::now() >= self.check_at && !self.is_known_again().await {
            return false;
        }
        let authenticator = &self.door.authenticator;
        !authenticator.is_void(&self.identity.name, self.as_of_ms)
            && self.known_at.elapsed() < KNOWN_FOR
    }

    async fn is_known_again(&mut self) -> bool {
        let asked = self
            .door
            .logins
            .identify(self.credentials.clone(), self.address.clone());
        match asked.await {
            Ok(known) if known.identity.name == self.identity.name => {
                self.identity = Arc::new(known.identity);
                self.as_of_ms = known.as_of_ms;
                self.known_at = Instant::now();
                self.check_at = self.known_at + CHECK_INTERVAL;
                true
            }
            Ok(_) | Err(LoginFailure::Refused(_)) => false,
            Err(LoginFailure::Unavailable(_)) => {
                self.check_at = Instant::now() + RETRY_INTERVAL;
                true
            }
        }
    }
}
