//! Calls to one instance at a known address, without a name server, balancing or retries.

use crate::{
    client::Client, config::ClientConfig, connect::expect_answer, connector::Connector,
    nameserver::NameServerClient, tickets::Tickets,
};
use pyroxene_common::{
    channel::{AttemptError, ClientConnection, StreamInputs},
    endpoint::Endpoint,
    identity::Addressee,
    interface::Interface,
    message::EncodedRequest,
};
use std::fmt;
use tarpc::{
    client::{RpcError, stub::Stub},
    context,
};

/// A stub for one instance of an object of the interface `I`, over one connection. Except for errors of
/// the method itself, a failed call returns its [`AttemptError`] in [`RpcError::Send`].
pub struct DirectProxy<I: Interface>(ClientConnection<I::Response>);

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
        connector.connect(route).await.map(Self)
    }

    /// Connects to an object at an endpoint with the tickets of `client`.
    pub async fn connect_as(
        client: &Client,
        endpoint: &Endpoint,
        object: &str,
    ) -> Result<Self, AttemptError> {
        let connector = client.connector::<I>();
        let route = connector.route(endpoint, object, None);
        connector.connect(route).await.map(Self)
    }

    /// tarpc's client over this stub.
    pub fn client(self) -> I::Client<Self> {
        self.into()
    }
}

impl<I: Interface> Clone for DirectProxy<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I: Interface> fmt::Debug for DirectProxy<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Direct({})", I::NAME)
    }
}

impl<I: Interface> Stub for DirectProxy<I> {
    type Req = I::Request;
    type Resp = I::Response;

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, RpcError> {
        let sent = |error: AttemptError| RpcError::Send(Box::new(error));
        let index = I::request_index(&request);
        let streams = I::has_streams(index);
        let encode = || EncodedRequest::with_zero_copy_parts(request, I::request_parts);
        let (encoded, inputs) = match streams {
            true => StreamInputs::collect(encode),
            false => (encode(), StreamInputs::default()),
        };
        let encoded = encoded.map_err(|error| sent(AttemptError::Encoding(error)))?;
        let answered = match streams {
            true => Box::pin(self.0.call_streaming(&context, &encoded, &inputs)).await,
            false => self.0.call(&context, &encoded).await,
        };
        let response = answered.map_err(sent)?;
        expect_answer::<I>(index, response, &self.0).map_err(sent)
    }
}
