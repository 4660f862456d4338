//! How a client proves who it is, and whom it trusts.

use pyroxene_common::{endpoint::Endpoint, interfaces::access::Secret, tls::TlsClient};
use std::fmt;

/// A user and the token that proves it.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) user: String,
    pub(crate) token: Secret,
}

impl Credentials {
    /// The credentials of a user. White space around the token is not part of it.
    pub fn new(user: impl Into<String>, token: &str) -> Self {
        Self {
            user: user.into(),
            token: Secret(token.trim().to_owned()),
        }
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Debug for Credentials {
    /// Hides the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.user)
    }
}

/// What a client's connections have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    pub(crate) tls: Option<TlsClient>,
    pub(crate) credentials: Option<Credentials>,
}

impl Security {
    /// Whether there is anything that a name server could recognise us by.
    pub(crate) fn can_log_in(&self) -> bool {
        self.credentials.is_some() || self.tls.as_ref().is_some_and(TlsClient::has_certificate)
    }

    /// Whether a secret may travel to an endpoint: encrypted, or within this machine.
    pub(crate) fn is_private(&self, endpoint: &Endpoint) -> bool {
        self.tls.is_some() || endpoint.is_local()
    }
}
