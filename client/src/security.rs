//! How a client proves who it is, and whom it trusts.

use pyroxene_common::{
    access::{InvalidToken, Token, looks_like_token, shown_user},
    endpoint::Endpoint,
    tls::TlsClient,
};
use std::{borrow::Cow, fmt};

/// A user and the token that proves it.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) user: String,
    /// What was given in the place of a token may be none.
    pub(crate) token: Result<Token, InvalidToken>,
}

impl Credentials {
    /// The credentials of a user. White space around the token is not part of it. Whether it is a
    /// token turns out at the first login.
    pub fn new(user: impl Into<String>, token: &str) -> Self {
        Self {
            user: user.into(),
            token: token.parse(),
        }
    }

    /// The user's name for a message: a token that was given in its place is not repeated.
    pub fn shown_user(&self) -> Cow<'_, str> {
        shown_user(&self.user)
    }

    /// Whether a token was given in the place of the name.
    pub(crate) fn are_mixed_up(&self) -> bool {
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
