//! Lets in the callers of a program in this process, such as a gateway, and gives each the rights that it would
//! have over a connection of its own.

use super::{TicketAuthority, own_caller};
use crate::visitors::GATEWAY;
use futures::future::BoxFuture;
use pyroxene_client::{
    CallerAccess, CallerCredentials, CallerLogin, ClientConfig, SnapshotKeeper, TicketSource,
};
use pyroxene_common::{
    identity::{HolderId, HolderKey, Identity, LoginProof, Token},
    interfaces::access::{AccessError, LoginTicket},
    local::LocalLink,
    scope::Caller,
    tls::TlsClient,
};
use pyroxene_store::{NewSnapshot, Store};
use std::{sync::Arc, time::Duration};

/// The callers of one name server.
#[derive(Clone, Debug)]
pub(crate) struct LocalCallers {
    pub(crate) link: LocalLink,
    /// Keeps what the callers' program keeps beyond its life.
    pub(crate) store: Option<Store>,
    pub(crate) authority: Option<Arc<TicketAuthority>>,
    /// The settings for connections to workers that use TLS.
    pub(crate) workers: Option<TlsClient>,
}

impl LocalCallers {
    fn config(&self, caller: Caller, tickets: Option<TicketSource>) -> ClientConfig {
        let config = ClientConfig::for_caller(self.link.for_caller(caller), tickets);
        match &self.workers {
            Some(tls) => config.tls(tls.clone()),
            None => config,
        }
    }
}

impl LocalCallers {
    /// The settings of a client for a caller whom this name server has let in already. Its rights are those that the
    /// caller has whenever a ticket is issued.
    pub(crate) fn config_for(&self, caller: Caller) -> ClientConfig {
        let tickets = self.authority.clone().zip(caller.identity.clone());
        let tickets = tickets.map(|(authority, identity)| {
            TicketSource::new(move |holder| {
                let identity = authority.identity_of(&identity.name, Some(identity.role))?;
                authority.admission(identity, holder)
            })
        });
        self.config(caller, tickets)
    }
}

impl SnapshotKeeper for LocalCallers {
    fn load(&self, name: &'static str) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async move {
            match &self.store {
                Some(store) => store
                    .snapshot(name)
                    .await
                    .map_err(|error| error.to_string()),
                None => Ok(None),
            }
        })
    }

    fn save(
        &self,
        name: &'static str,
        content: Vec<u8>,
        min_age: Duration,
    ) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(async move {
            let Some(store) = &self.store else {
                return Ok(false);
            };
            let snapshot = NewSnapshot {
                name: name.to_owned(),
                content,
                min_age: i64::try_from(min_age.as_millis()).unwrap_or(i64::MAX),
            };
            let saved = store.save_snapshot(snapshot).await;
            saved.map_err(|error| error.to_string())
        })
    }
}

impl CallerAccess for LocalCallers {
    fn snapshots(&self) -> Option<&dyn SnapshotKeeper> {
        self.store.as_ref().map(|_| self as _)
    }

    fn requires_login(&self) -> bool {
        self.authority.is_some()
    }

    fn log_in(
        &self,
        credentials: Option<&CallerCredentials>,
        peer: &str,
    ) -> Result<CallerLogin, AccessError> {
        let caller = Caller {
            address: peer.to_owned(),
            name: GATEWAY.to_owned(),
            ..Caller::default()
        };
        let Some(authority) = self.authority.clone() else {
            let config = self.config(caller, None);
            return Ok(CallerLogin {
                identity: None,
                config,
            });
        };
        let credentials = credentials.ok_or(AccessError::WrongToken)?.clone();
        let peer = peer.to_owned();
        let holder = HolderKey::of_process()
            .map_err(|error| broken(&error))?
            .id();
        let identity = authority.ticket_by(&credentials, &peer, holder)?.identity;
        let tickets =
            TicketSource::new(move |holder| authority.ticket_by(&credentials, &peer, holder));
        let caller = Caller {
            identity: Some(Arc::new(identity.clone())),
            ..caller
        };
        Ok(CallerLogin {
            identity: Some(identity),
            config: self.config(caller, Some(tickets)),
        })
    }

    fn own(&self) -> ClientConfig {
        self.config(own_caller(), None)
    }

    fn identity(&self, credentials: &CallerCredentials) -> Option<Identity> {
        let authority = self.authority.as_ref()?;
        let identity = match credentials {
            CallerCredentials::Token { user, token } => {
                authority.user_with_token(user, token_key(token)?)
            }
            CallerCredentials::Session(session) => authority.identity_of_session(session),
            CallerCredentials::Certificate(holder) => {
                authority.identity_of(&holder.name, holder.role).ok()
            }
        }?;
        // It is checked while it makes requests, every two seconds.
        authority.visitors.saw_again(&identity);
        Some(identity)
    }

    fn begin_session(
        &self,
        credentials: &CallerCredentials,
        life: Duration,
    ) -> Result<String, AccessError> {
        let authority = self.authority.as_ref().ok_or(AccessError::Off)?;
        let CallerCredentials::Token { user, token } = credentials else {
            return Err(AccessError::WrongToken);
        };
        let token = token_key(token).ok_or(AccessError::WrongToken)?;
        authority.begin_session(user, token, life)
    }

    fn end_session<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<(), AccessError>> {
        let authority = self.authority.as_ref();
        // At once, whatever becomes of the future.
        let logout = authority.and_then(|authority| authority.end_session(session));
        Box::pin(async move {
            match (authority, logout, &self.store) {
                (Some(authority), Some(logout), Some(store)) => {
                    authority.tell_logout(logout, store).await
                }
                _ => Ok(()),
            }
        })
    }
}

impl TicketAuthority {
    /// Carries out the login of a caller whose credentials have reached this process, with the checks and the
    /// throttle of every login.
    pub(super) fn ticket_by(
        &self,
        credentials: &CallerCredentials,
        peer: &str,
        holder: HolderId,
    ) -> Result<LoginTicket, AccessError> {
        let caller = Caller {
            address: peer.to_owned(),
            ..Caller::default()
        };
        match credentials {
            CallerCredentials::Token { user, token } => {
                // A text that is no token fails as a wrong token does, and counts as one.
                let token = token.parse::<Token>().ok();
                let key = match token {
                    Some(token) => token.key(),
                    None => HolderKey::generate(),
                };
                let key = key.map_err(|error| broken(&error))?;
                let nonce = caller.login.issue().ok_or(AccessError::NoChallenge)?;
                let proof = LoginProof {
                    nonce: &nonce,
                    exporter: None,
                    holder: &holder,
                    user,
                };
                self.login(&caller, user, holder, &proof.sign(&key))
            }
            CallerCredentials::Certificate(certificate) => {
                let caller = Caller {
                    certificate: Some(certificate.clone()),
                    ..caller
                };
                self.login_by_certificate(&caller, holder)
            }
            CallerCredentials::Session(session) => {
                let identity = self.identity_of_session(session);
                let identity = identity.ok_or(AccessError::WrongToken)?;
                self.visitors.saw_login(&identity, caller.host());
                self.admission(identity, holder)
            }
        }
    }
}

/// The public key of a token.
fn token_key(token: &str) -> Option<HolderId> {
    Some(token.parse::<Token>().ok()?.key().ok()?.id())
}

fn broken(error: &dyn std::fmt::Display) -> AccessError {
    AccessError::Broken(error.to_string())
}
