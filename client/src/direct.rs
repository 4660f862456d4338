//! Calls to one instance at a known address: no name server, no balancing, no retries.

use crate::{
    breaker::BreakerConfig,
    instance::{Greeting, connect, expect_answer},
};
use pyroxene_common::{
    channel::{AttemptError, Connection, DEFAULT_SPIN, Settings},
    endpoint::Endpoint,
    hello::HelloError,
    interface::Interface,
    message::EncodedRequest,
    wire::DEFAULT_MAX_MESSAGE,
};
use std::fmt;
use tarpc::{
    client::{RpcError, stub::Stub},
    context,
};

/// A stub for one instance of an object of the interface `I`, over one connection. A call that
/// fails for another reason than the method's own returns its [`AttemptError`] in
/// [`RpcError::Send`].
pub struct Direct<I: Interface>(Connection<I::Response>);

impl<I: Interface> Direct<I> {
    /// Connects to an object at an endpoint.
    pub async fn connect(endpoint: &Endpoint, object: &str) -> Result<Self, HelloError> {
        let greeting = Greeting {
            interface: I::NAME,
            version: I::VERSION,
            client: format!("pid {}", std::process::id()),
            max_message: DEFAULT_MAX_MESSAGE,
            breaker: BreakerConfig::default(),
            spin: DEFAULT_SPIN,
        };
        connect(endpoint, object, &greeting, Settings::CLIENT)
            .await
            .map(Self)
    }

    /// tarpc's client over this stub.
    pub fn client(self) -> I::Client<Self> {
        self.into()
    }
}

impl<I: Interface> Clone for Direct<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I: Interface> fmt::Debug for Direct<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Direct({})", I::NAME)
    }
}

impl<I: Interface> Stub for Direct<I> {
    type Req = I::Request;
    type Resp = I::Response;

    async fn call(
        &self,
        context: context::Context,
        request: I::Request,
    ) -> Result<I::Response, RpcError> {
        let sent = |error: AttemptError| RpcError::Send(Box::new(error));
        let encoded =
            EncodedRequest::new(&request).map_err(|error| sent(AttemptError::Encoding(error)))?;
        let response = self.0.call(&context, &encoded).await.map_err(sent)?;
        expect_answer::<I>(&request, response, &self.0).map_err(sent)
    }
}
