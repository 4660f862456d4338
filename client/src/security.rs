//! How a client authenticates itself, and which servers it trusts.

use crate::ticket_source::TicketSource;
use pyroxene_common::{
    endpoint::Endpoint,
    identity::{Identity, InvalidToken, Token, looks_like_token, printable_user},
    tls::TlsClient,
};
use std::{borrow::Cow, fmt, sync::Arc};

/// A user and the token that authenticates the user.
///
/// ```
/// use pyroxene_client::Credentials;
///
/// let credentials = Credentials::new("ana", "not shown anywhere");
/// assert_eq!(format!("{credentials:?}"), "Credentials(ana)");
/// ```
#[derive(Clone)]
pub struct Credentials {
    pub(crate) user: String,
    /// The token, or the error if the given text is not a token.
    pub(crate) token: Result<Token, InvalidToken>,
}

impl Credentials {
    /// The credentials of a user. White space around the token is ignored. An invalid token is reported at
    /// the first login.
    pub fn new(user: impl Into<String>, token: &str) -> Self {
        Self {
            user: user.into(),
            token: token.parse(),
        }
    }

    /// The user's name for a message. If a token was given as the name, it is not shown.
    pub fn shown_user(&self) -> Cow<'_, str> {
        printable_user(&self.user)
    }

    /// Whether a token was given as the name of the user.
    pub(crate) fn has_token_as_user(&self) -> bool {
        looks_like_token(&self.user)
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Debug for Credentials {
    /// Hides the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.shown_user())
    }
}

/// The security settings of a client's connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientSecurity {
    pub(crate) tls: Option<TlsClient>,
    pub(crate) credentials: Option<Credentials>,
    /// Issues the tickets within this process, in the place of a login.
    pub(crate) ticket_source: Option<TicketSource>,
    /// Whose rights its calls have if that is another one than this process. Workers see them in its tickets.
    pub(crate) acts_for: Option<Arc<Identity>>,
}

impl ClientSecurity {
    /// Whether the client has credentials or a certificate for a login.
    pub(crate) fn can_log_in(&self) -> bool {
        self.ticket_source.is_some()
            || self.credentials.is_some()
            || self.tls.as_ref().is_some_and(TlsClient::has_certificate)
    }

    /// Whether secrets may be sent to an endpoint: it is encrypted or on this machine.
    pub(crate) fn is_private(&self, endpoint: &Endpoint) -> bool {
        self.tls.is_some() || endpoint.is_local()
    }
}
