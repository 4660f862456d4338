//! The connection to one name server, made again whenever it is lost.

use crate::{
    breaker::BreakerConfig,
    error::{Attempt, CallError, Trail},
    instance::{Greeting, connect, expect_answer},
};
use pyroxene_common::{
    channel::{AttemptError, Connection, ConnectionLost, DEFAULT_SPIN, Patience, Settings},
    endpoint::Endpoint,
    hello::{HelloError, RefusalCode},
    interface::Interface,
    interfaces::directory::{
        self, Directory,
        directory::{DirectoryClient, DirectoryRequest, DirectoryResponse},
    },
    message::{EncodedRequest, Refusal, RefusalReason},
};
use std::{fmt, sync::Arc, time::Duration};
use tarpc::{client::RpcError, client::stub::Stub, context};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

/// A name server is asked for a sign of life less often than a worker: a long poll is always in
/// flight there.
const PATIENCE: Patience = Patience {
    ping_when_busy: Duration::from_secs(2),
    ping_when_idle: Duration::from_secs(10),
    give_up: Duration::from_secs(2),
};

/// One name server. As a tarpc stub it serves [`DirectoryClient`].
#[derive(Clone)]
pub struct NameServer(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    greeting: Greeting,
    connection: Mutex<Option<Connection<DirectoryResponse>>>,
}

impl fmt::Debug for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameServer({})", self.0.endpoint)
    }
}

impl NameServer {
    /// A name server that is not connected to yet. `client` is what we call ourselves there.
    pub fn new(endpoint: Endpoint, client: impl Into<String>, max_message: usize) -> Self {
        Self(Arc::new(Inner {
            endpoint,
            greeting: Greeting {
                interface: Directory::NAME,
                version: Directory::VERSION,
                client: client.into(),
                max_message,
                breaker: BreakerConfig::default(),
                spin: DEFAULT_SPIN,
            },
            connection: Mutex::new(None),
        }))
    }

    /// Where it is reached.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// tarpc's client for its directory.
    pub fn directory(&self) -> DirectoryClient<Self> {
        DirectoryClient::from(self.clone())
    }

    async fn connection(&self) -> Result<Connection<DirectoryResponse>, AttemptError> {
        let mut slot = self.0.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        let settings = Settings {
            patience: PATIENCE,
            ..Settings::CLIENT
        };
        let connection = connect(
            &self.0.endpoint,
            directory::OBJECT,
            &self.0.greeting,
            settings,
        )
        .await
        .map_err(not_connected)?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    async fn attempt(
        &self,
        context: &context::Context,
        request: &DirectoryRequest,
    ) -> Result<DirectoryResponse, AttemptError> {
        let deadline = Instant::from_std(context.deadline);
        let encoded = EncodedRequest::new(request).map_err(AttemptError::Encoding)?;
        let connection = timeout_at(deadline, self.connection())
            .await
            .unwrap_or(Err(AttemptError::DeadlineExceeded { sent: false }))?;
        let response = connection.call(context, &encoded).await?;
        expect_answer::<Directory>(request, response, &connection)
    }

    /// Calls a method of the directory once; every one of them is safe to repeat.
    pub async fn call(
        &self,
        context: &context::Context,
        request: &DirectoryRequest,
    ) -> Result<DirectoryResponse, CallError> {
        let started = Instant::now();
        self.attempt(context, request).await.map_err(|error| {
            let method = Directory::method(request).map_or("", |method| method.name);
            let kind = match &error {
                AttemptError::DeadlineExceeded { .. } => CallError::DeadlineExceeded,
                AttemptError::Failed(_) => CallError::Failed,
                AttemptError::TooLarge { .. } | AttemptError::Encoding(_) => CallError::NotSent,
                AttemptError::Refused(refusal) if refusal.reason == RefusalReason::Denied => {
                    CallError::Refused
                }
                AttemptError::NotSent(_) | AttemptError::MaybeRan(_) | AttemptError::Refused(_) => {
                    CallError::Unavailable
                }
            };
            kind(Box::new(Trail {
                object: directory::OBJECT.to_owned(),
                method: method.to_owned(),
                reason: None,
                attempts: vec![Attempt {
                    worker: format!("name server {}", self.0.endpoint),
                    endpoint: self.0.endpoint.to_string(),
                    ended: started.elapsed(),
                    error,
                }],
            }))
        })
    }
}

pub(crate) fn not_connected(error: HelloError) -> AttemptError {
    match error {
        HelloError::Io(error) => AttemptError::NotSent(ConnectionLost::from(error)),
        HelloError::Refused(refused) => {
            let reason = match refused.code {
                RefusalCode::BadCredential | RefusalCode::Denied => RefusalReason::Denied,
                RefusalCode::Busy => RefusalReason::Overloaded,
                RefusalCode::Draining => RefusalReason::Draining,
                RefusalCode::Malformed
                | RefusalCode::UnsupportedProtocol
                | RefusalCode::UnknownObject
                | RefusalCode::WrongInterface
                | RefusalCode::WrongVersion
                | RefusalCode::Other => {
                    return AttemptError::NotSent(ConnectionLost::Rejected(refused.sentence));
                }
            };
            AttemptError::Refused(Refusal {
                reason,
                retry_after_ms: 0,
                sentence: refused.sentence,
            })
        }
        HelloError::Foreign(_) | HelloError::Timeout => {
            AttemptError::NotSent(ConnectionLost::Rejected(error.to_string()))
        }
    }
}

impl Stub for NameServer {
    type Req = DirectoryRequest;
    type Resp = DirectoryResponse;

    async fn call(
        &self,
        context: context::Context,
        request: DirectoryRequest,
    ) -> Result<DirectoryResponse, RpcError> {
        Ok(Self::call(self, &context, &request).await?)
    }
}
