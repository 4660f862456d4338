//! One object of one name server, with the login of the client there.

use super::{
    link::{Link, call_over, connected},
    login::Login,
};
use crate::{
    connect::ConnectOptions,
    error::{Attempt, CallError},
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection},
    endpoint::Endpoint,
    interface::{CallStub, Interface},
    message::RefusalReason,
};
use std::{fmt, sync::Arc};
use tarpc::context;
use tokio::time::Instant;

/// A stub for an object of the interface `I` that a name server hosts itself.
pub struct NameServerService<I: Interface> {
    link: Arc<Link<I>>,
    /// The login of the client, if it has credentials or a certificate.
    login: Option<Arc<Login>>,
}

impl<I: Interface> Clone for NameServerService<I> {
    fn clone(&self) -> Self {
        Self {
            link: Arc::clone(&self.link),
            login: self.login.clone(),
        }
    }
}

impl<I: Interface> fmt::Debug for NameServerService<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({} at {})", self.link.object, self.link.endpoint)
    }
}

impl<I: Interface> NameServerService<I> {
    pub(super) fn new(
        endpoint: Endpoint,
        object: &'static str,
        options: ConnectOptions,
        login: Option<Arc<Login>>,
    ) -> Self {
        Self {
            link: Arc::new(Link::new(endpoint, object, options)),
            login,
        }
    }

    async fn open(self) -> Result<ClientConnection<I::Response>, AttemptError> {
        let Some(login) = &self.login else {
            return self.link.open(None).await;
        };
        let ticket = login.ticket().await?;
        let connection = match self.link.open(ticket.as_ref()).await {
            // The name server may have been restarted with another key.
            Err(AttemptError::Refused(refusal))
                if refusal.reason == RefusalReason::Unauthenticated && ticket.is_some() =>
            {
                let fresh = login.renew(ticket.as_ref()).await?;
                self.link.open(fresh.as_ref()).await?
            }
            opened => opened?,
        };
        login.add_credential_sink(connection.credential_sink());
        Ok(connection)
    }

    async fn attempt(
        &self,
        context: &context::Context,
        request: &I::Request,
    ) -> Result<I::Response, AttemptError> {
        let service = self.clone();
        let connecting = self
            .link
            .connection(move || Box::pin(service.clone().open()));
        let connection = connected(context, connecting).await?;
        call_over::<I>(&connection, context, request).await
    }

    /// Calls a method once.
    pub async fn call(
        &self,
        context: &context::Context,
        request: &I::Request,
    ) -> Result<I::Response, CallError> {
        let started = Instant::now();
        self.attempt(context, request).await.map_err(|error| {
            let method = I::method(request).map_or("", |method| method.name);
            let attempt = Attempt {
                worker: format!("name server {}", self.link.endpoint),
                endpoint: self.link.endpoint.to_string(),
                ended_after: started.elapsed(),
                error,
            };
            CallError::of_one_attempt(self.link.object, method, attempt)
        })
    }
}

impl<I: Interface> CallStub for NameServerService<I> {
    type Request = I::Request;
    type Response = I::Response;
    type Error = CallError;

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, CallError> {
        Self::call(self, &context, &request).await
    }

    fn answered_another_method() -> CallError {
        CallError::other_method()
    }
}
