//! Calls of a program in a name server's process on behalf of others, such as the clients of a gateway.
//!
//! The program asks [`CallerAccess`] who a caller is, and gets the settings of a client that has the rights of
//! that caller everywhere: at the name server by a link within the process, at workers by tickets.

use crate::config::ClientConfig;
use pyroxene_common::{
    identity::Identity, interfaces::access::AccessError, tls::CertificateHolder,
};
use std::fmt;

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
}

impl fmt::Debug for CallerCredentials {
    /// Hides the token, and the name, which may be a token that was given in its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token { .. } => "Token(…)",
            Self::Certificate(_) => "Certificate(…)",
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

    /// The present identity of a caller that was let in; `None` if it may not log in any more.
    fn identity(&self, credentials: &CallerCredentials) -> Option<Identity>;
}
