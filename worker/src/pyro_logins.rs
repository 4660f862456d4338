//! The logins of clients of Pyro's protocol at a worker, which asks its name servers who they are.

use crate::session_state::call_context;
use futures::future::BoxFuture;
use pyroxene_client::{Client, ClientConfig, Credentials, LoginState, NameServerClient};
use pyroxene_common::{
    access::Authenticator,
    interfaces::access::{AccessError, CertificateUser},
    tls::CertificateHolder,
};
use pyroxene_pyro::login::{KnownClient, LoginFailure, Logins, PyroCredentials, PyroDoor};
use std::sync::Arc;

/// The door for Pyro's clients of a worker. `client` is the worker's own, `config` its configuration.
pub(crate) fn pyro_door(
    authenticator: Arc<Authenticator>,
    client: Client,
    config: ClientConfig,
) -> PyroDoor {
    PyroDoor::new(authenticator, Arc::new(WorkerLogins { client, config }))
}

#[derive(Debug)]
struct WorkerLogins {
    client: Client,
    config: ClientConfig,
}

impl Logins for WorkerLogins {
    fn identify(
        &self,
        credentials: PyroCredentials,
        _: String,
    ) -> BoxFuture<'_, Result<KnownClient, LoginFailure>> {
        Box::pin(async move {
            let mut failure = LoginFailure::Unavailable("no name server answers".to_owned());
            for nameserver in self.client.nameservers() {
                let asked = match &credentials {
                    PyroCredentials::Token { user, token } => {
                        self.by_token(&nameserver, user, token).await
                    }
                    PyroCredentials::Certificate(holder) => {
                        by_certificate(&nameserver, holder).await
                    }
                };
                match asked {
                    Err(unavailable @ LoginFailure::Unavailable(_)) => failure = unavailable,
                    decided => return decided,
                }
            }
            Err(failure)
        })
    }
}

impl WorkerLogins {
    /// Logs in as the user would. The token itself goes no further than this process.
    async fn by_token(
        &self,
        nameserver: &NameServerClient,
        user: &str,
        token: &str,
    ) -> Result<KnownClient, LoginFailure> {
        let config = self
            .config
            .clone()
            .credentials(Credentials::new(user, token));
        let as_user = NameServerClient::new(nameserver.endpoint().clone(), &config);
        let login = as_user.watch_login().await.map_err(|error| {
            let refusal = error.refusal_of_caller();
            match refusal {
                Some(sentence) => LoginFailure::Refused(sentence),
                None => LoginFailure::Unavailable(error.to_string()),
            }
        })?;
        let state = login.as_ref().map(|login| login.borrow().clone());
        match state {
            Some(LoginState::LoggedIn(held)) => Ok(KnownClient {
                identity: held.admission.identity.clone(),
                as_of_ms: held.admission.issuer.now_ms,
            }),
            _ => Err(LoginFailure::Unavailable(
                "the name server has authentication off".to_owned(),
            )),
        }
    }
}

async fn by_certificate(
    nameserver: &NameServerClient,
    holder: &CertificateHolder,
) -> Result<KnownClient, LoginFailure> {
    let access = nameserver.access();
    let (name, role) = (holder.name.clone(), holder.role);
    let answered = access
        .holder_of_certificate(call_context(), name, role)
        .await;
    match answered {
        Ok(Ok(CertificateUser { identity, now_ms })) => Ok(KnownClient {
            identity,
            as_of_ms: now_ms,
        }),
        Ok(Err(
            error @ (AccessError::Off | AccessError::Unavailable(_) | AccessError::Broken(_)),
        )) => Err(LoginFailure::Unavailable(error.to_string())),
        Ok(Err(error)) => Err(LoginFailure::Refused(error.to_string())),
        Err(error) => Err(LoginFailure::Unavailable(error.to_string())),
    }
}
