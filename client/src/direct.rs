//! Calls to one instance at a known address, without a name server, balancing or retries.

use crate::{
    client::Client,
    config::ClientConfig,
    connect::expect_answer,
    connector::Connector,
    deadline::context_of_call,
    error::{Attempt, CallError},
    nameserver::NameServerClient,
    older::{encoded_for, is_older, needed_version},
    tickets::Tickets,
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, StreamInputs},
    codec,
    endpoint::Endpoint,
    identity::Addressee,
    interface::{CallStub, Interface},
    message::EncodedRequest,
    scope,
};
use std::{fmt, sync::Arc};
use tarpc::context;
use tokio::time::Instant;

/// A stub for one instance of an object of the interface `I`, over one connection. A call is attempted once.
pub struct DirectProxy<I: Interface> {
    connection: ClientConnection<I::Response>,
    object: Arc<str>,
    endpoint: Arc<str>,
}

impl<I: Interface> DirectProxy<I> {
    /// Connects to an object at an endpoint, without TLS and without authentication.
    pub async fn connect(endpoint: &Endpoint, object: &str) -> Result<Self, AttemptError> {
        Self::connect_with(endpoint, object, &ClientConfig::without_nameservers()).await
    }

    /// Connects to an object at an endpoint with these settings. If the client has credentials or a
    /// certificate, it asks the configured name servers for a ticket. The endpoint may be that of one of
    /// these name servers.
    pub async fn connect_with(
        endpoint: &Endpoint,
        object: &str,
        config: &ClientConfig,
    ) -> Result<Self, AttemptError> {
        let logins = config.endpoints().iter().filter_map(|nameserver| {
            NameServerClient::new(nameserver.clone(), config)
                .login()
                .cloned()
        });
        let logins: Vec<_> = logins.collect();
        let tickets = (!logins.is_empty()).then(|| Tickets::new(logins));
        let connector = Connector::new::<I>(config, tickets);
        let is_nameserver = config.endpoints().contains(endpoint);
        let addressee = is_nameserver.then_some(&Addressee::NameServer);
        let route = connector.route(endpoint, object, addressee);
        let connection = connector.connect(route).await?;
        Ok(Self::over(connection, endpoint, object))
    }

    /// Connects to an object at an endpoint with the tickets of `client`.
    pub async fn connect_as(
        client: &Client,
        endpoint: &Endpoint,
        object: &str,
    ) -> Result<Self, AttemptError> {
        let connector = client.connector::<I>();
        let route = connector.route(endpoint, object, None);
        let connection = connector.connect(route).await?;
        Ok(Self::over(connection, endpoint, object))
    }

    fn over(connection: ClientConnection<I::Response>, endpoint: &Endpoint, object: &str) -> Self {
        Self {
            connection,
            object: object.into(),
            endpoint: endpoint.to_string().into(),
        }
    }

    async fn attempt(
        &self,
        context: &context::Context,
        request_index: usize,
        request: I::Request,
    ) -> Result<I::Response, AttemptError> {
        let needs = needed_version::<I>(&request);
        let encode = || EncodedRequest::with_zero_copy_parts(request, I::request_parts);
        let (encoded, inputs) = match I::hands_over(request_index) {
            true => {
                let (encoded, inputs) = StreamInputs::collect(encode);
                (encoded, Some(inputs))
            }
            false => StreamInputs::collect_callbacks(encode),
        };
        let mut encoded = encoded.map_err(AttemptError::Encoding)?;
        let version = self.connection.interface_version();
        if is_older::<I>(version) {
            encoded = encoded_for::<I>(version, request_index, needs, &encoded)?;
        }
        let outer = scope::outer_call();
        let (outer, metadata) = outer.unwrap_or_default();
        let context = context_of_call(*context, outer.as_ref(), None, Instant::now());
        if let Some(metadata) = metadata {
            let metadata = codec::encode(&*metadata).map_err(AttemptError::Encoding)?;
            encoded = encoded.with_metadata(metadata.into());
        }
        let response = match &inputs {
            Some(inputs) => {
                let calling = self.connection.call_streaming(&context, &encoded, inputs);
                Box::pin(calling).await?
            }
            None => self.connection.call(&context, &encoded).await?,
        };
        expect_answer::<I>(request_index, response, &self.connection)
    }

    /// The interface's client over this stub.
    pub fn client(self) -> I::Client<Self> {
        self.into()
    }
}

impl<I: Interface> Clone for DirectProxy<I> {
    fn clone(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            object: Arc::clone(&self.object),
            endpoint: Arc::clone(&self.endpoint),
        }
    }
}

impl<I: Interface> fmt::Debug for DirectProxy<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Direct({} at {})", I::NAME, self.endpoint)
    }
}

impl<I: Interface> CallStub for DirectProxy<I> {
    type Request = I::Request;
    type Response = I::Response;
    type Error = CallError;

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, CallError> {
        let began = Instant::now();
        let index = I::request_index(&request);
        let attempt = self.attempt(&context, index, request);
        attempt.await.map_err(|error| {
            let method = I::METHODS.get(index).map_or("", |method| method.name);
            let attempt = Attempt {
                worker: self.endpoint.as_ref().to_owned(),
                endpoint: self.endpoint.as_ref().to_owned(),
                ended_after: began.elapsed(),
                error,
            };
            CallError::of_one_attempt(&self.object, method, attempt)
        })
    }

    fn answered_another_method() -> CallError {
        CallError::other_method()
    }
}
