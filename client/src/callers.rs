//! Calls of a program in a name server's process on behalf of others, such as the clients of a gateway.
//!
//! The program asks [`CallerAccess`] who a caller is, and gets the settings of a client that has the rights of
//! that caller everywhere: at the name server by a link within the process, at workers by tickets.

use crate::config::ClientConfig;
use futures::future::BoxFuture;
use pyroxene_common::{
    identity::Identity, interfaces::access::AccessError, tls::CertificateHolder,
};
use std::{fmt, time::Duration};

/// What a caller shows to prove who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum CallerCredentials {
    /// A user's name and token.
    Token {
        /// The user.
        user: String,
        /// The text of the token.
        token: String,
    },
    /// The certificate of its connection, which has been verified.
    Certificate(CertificateHolder),
    /// The text of a session that was begun with a token.
    Session(String),
}

impl fmt::Debug for CallerCredentials {
    /// Hides the token, the session, and the name, which may be a token that was given in its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token { .. } => "Token(…)",
            Self::Certificate(_) => "Certificate(…)",
            Self::Session(_) => "Session(…)",
        })
    }
}

/// A caller that is let in.
#[derive(Clone, Debug)]
pub struct CallerLogin {
    /// Its identity; `None` where authentication is off.
    pub identity: Option<Identity>,
    /// The settings of a client with its rights.
    pub config: ClientConfig,
}

/// Keeps bytes under a name, for all name servers over one store.
pub trait SnapshotKeeper: Send + Sync {
    /// The bytes that are kept.
    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>>;

    /// Keeps bytes, at most 16 MiB, unless those that are kept are younger than `min_age`. Answers whether it did.
    fn save(
        &self,
        name: &'static str,
        content: Vec<u8>,
        min_age: Duration,
    ) -> BoxFuture<'_, Result<bool, String>>;
}

/// Decides who the callers of a program in a name server's process are.
pub trait CallerAccess: fmt::Debug + Send + Sync {
    /// Whether callers have to log in.
    fn requires_login(&self) -> bool;

    /// Lets a caller in. Without credentials that is possible only where authentication is off. `peer` is the
    /// caller's address: failed logins are counted for it.
    fn log_in(
        &self,
        credentials: Option<&CallerCredentials>,
        peer: &str,
    ) -> Result<CallerLogin, AccessError>;

    /// The settings of a client with all rights at the name server, for what the program itself observes. It
    /// cannot call workers where authentication is on.
    fn own(&self) -> ClientConfig;

    /// Keeps what the program wants to know again in its next life; `None` where there is no store.
    fn snapshots(&self) -> Option<&dyn SnapshotKeeper> {
        None
    }

    /// The present identity of a caller that was let in; `None` if it may not log in any more.
    fn identity(&self, credentials: &CallerCredentials) -> Option<Identity>;

    /// Begins a session of a user that was let in by a token: a secret text, with which the user is let in wherever
    /// the end of the session is known, until `life` is over.
    fn begin_session(
        &self,
        credentials: &CallerCredentials,
        life: Duration,
    ) -> Result<String, AccessError>;

    /// Ends a session: here before it returns, and elsewhere within a second or two, also if the future is dropped. A text
    /// that is no session has ended.
    ///
    /// # Errors
    ///
    /// [`AccessError::Unavailable`] if others do not know it yet, because the store is away or the user logs out too
    /// often. They are told later.
    fn end_session<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<(), AccessError>>;
}
