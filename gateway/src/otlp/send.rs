//! One message to the collector, over a connection that is kept.

use super::{
    messages::{
        ExportRequest, InstrumentationScope, Resource, ResourceSpans, ScopeSpans, attribute,
    },
    settings::Settings,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use prost::Message;
use pyroxene_common::{
    endpoint::Endpoint,
    spans::{AttributeValue, EndedSpan},
    tls::Stream,
};
use std::{fmt, time::Duration};
use tokio::time::timeout;

/// The greatest answer of a collector that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Where spans are sent.
pub(super) struct Collector {
    settings: Settings,
    resource: Resource,
    open: Option<SendRequest<Full<Bytes>>>,
}

/// Why the collector took no spans.
pub(super) struct SendFailure {
    pub(super) reason: String,
    /// Whether it may take them a little later.
    pub(super) may_pass: bool,
}

fn passing(reason: impl fmt::Display) -> SendFailure {
    SendFailure {
        reason: reason.to_string(),
        may_pass: true,
    }
}

impl Collector {
    pub(super) fn new(settings: Settings) -> Self {
        let attributes = settings.resource.iter();
        let attributes =
            attributes.map(|(key, value)| attribute(key, AttributeValue::from(&**value)));
        Self {
            resource: Resource {
                attributes: attributes.collect(),
            },
            settings,
            open: None,
        }
    }

    pub(super) fn interval(&self) -> Duration {
        self.settings.interval
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.settings.endpoint
    }

    /// The message with these spans.
    pub(super) fn message(&self, spans: Vec<EndedSpan>) -> Bytes {
        let request = ExportRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "pyroxene".to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                    }),
                    spans: spans.into_iter().map(Into::into).collect(),
                }],
            }],
        };
        request.encode_to_vec().into()
    }

    pub(super) async fn send(&mut self, message: &Bytes) -> Result<(), SendFailure> {
        let limit = self.settings.timeout;
        match timeout(limit, self.exchange(message)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(passing("it has not answered in time")),
        }
    }

    async fn exchange(&mut self, message: &Bytes) -> Result<(), SendFailure> {
        // Taken, so that a connection that fails or hangs is not used again.
        let mut connection = match self.open.take().filter(|open| open.is_ready()) {
            Some(open) => open,
            None => self.connect().await?,
        };
        let request = self.request(message.clone())?;
        let answer = connection.send_request(request).await.map_err(passing)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect();
        body.await.map_err(passing)?;
        self.open = Some(connection);
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(passing(status)),
            status => Err(SendFailure {
                reason: status.to_string(),
                may_pass: false,
            }),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, SendFailure> {
        let Settings { endpoint, tls, .. } = &self.settings;
        let stream = Stream::connect(endpoint, tls.as_ref()).await;
        let (sender, connection) = handshake(TokioIo::new(stream.map_err(passing)?))
            .await
            .map_err(passing)?;
        // It ends when the sender is dropped, or when the collector ends it.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the collector ended");
            }
        });
        Ok(sender)
    }

    fn request(&self, message: Bytes) -> Result<Request<Full<Bytes>>, SendFailure> {
        let mut request = Request::post(&self.settings.path)
            .header(header::HOST, self.settings.endpoint.to_string())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(
                header::USER_AGENT,
                concat!("pyroxene/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        request
            .body(Full::new(message))
            .map_err(|error| SendFailure {
                reason: error.to_string(),
                may_pass: false,
            })
    }
}
