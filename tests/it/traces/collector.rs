//! A collector of traces, as others write them: OTLP over HTTP, decoded by the official definitions.

use crate::harness::{Keys, eventually};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, Span},
};
use prost::Message;
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// A span and the service that has sent it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) service: String,
    pub(super) span: Span,
}

impl Seen {
    pub(super) fn text(&self, key: &str) -> String {
        text(&self.span.attributes, key)
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|one| one.key == key);
    match found.and_then(|one| one.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A collector.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    endpoint: String,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    /// All messages as they came.
    pub(super) bytes: Arc<Mutex<Vec<u8>>>,
    /// The lines of their heads.
    pub(super) heads: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    /// One without TLS.
    pub(super) async fn start() -> Self {
        Self::listen("http", |socket, collector| async move {
            take(socket, collector).await
        })
        .await
    }

    /// One that speaks TLS, with the certificate `server`, and nothing but HTTP/1.1 inside.
    pub(super) async fn start_with_tls(keys: &Keys) -> Self {
        let certificate = CertificateDer::from_pem_file(keys.path("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(keys.path("server.key")).unwrap();
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let mut config = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::listen("https", move |socket, collector| {
            let accepting = acceptor.accept(socket);
            async move {
                if let Ok(socket) = accepting.await {
                    take(socket, collector).await;
                }
            }
        })
        .await
    }

    async fn listen<F>(scheme: &str, serve: impl Fn(TcpStream, Self) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            endpoint: format!("{scheme}://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            bytes: Arc::default(),
            heads: Arc::default(),
        };
        let accepting = collector.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, accepting.clone()));
            }
        });
        collector
    }

    /// What processes of a broker are told, so that they send their spans here.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*self.endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ];
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        owned.to_vec()
    }

    /// A trace of which a span of this name has come.
    pub(super) async fn trace_with(&self, name: &str) -> String {
        eventually("the first span of a trace", || async {
            let seen = self.seen.lock().unwrap();
            let mut spans = seen.iter().map(|one| &one.span);
            let found = spans.find(|span| span.name == name);
            found
                .map(|span| hexadecimal(&span.trace_id))
                .ok_or_else(|| tree(&seen))
        })
        .await
    }

    fn of_trace(&self, trace: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        let of_trace = seen
            .iter()
            .filter(|one| hexadecimal(&one.span.trace_id) == trace);
        of_trace.cloned().collect()
    }

    /// Waits until spans with these names have come, and returns all of the trace.
    pub(super) async fn wait_for(&self, trace: &str, names: &[(&str, &str)]) -> Vec<Seen> {
        eventually("the spans of the trace", || async {
            let spans = self.of_trace(trace);
            let has = |(service, name): &(&str, &str)| {
                let mut spans = spans.iter();
                spans.any(|one| one.service == *service && one.span.name == *name)
            };
            match names.iter().all(has) {
                true => Ok(spans),
                false => Err(tree(&spans)),
            }
        })
        .await
    }
}

/// A trace for people.
pub(super) fn tree(spans: &[Seen]) -> String {
    let line = |one: &Seen| {
        let (id, parent) = (&one.span.span_id, &one.span.parent_span_id);
        let (id, parent) = (hexadecimal(id), hexadecimal(parent));
        format!("{} {} {id} in {parent}", one.service, one.span.name)
    };
    spans.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Answers the messages of one connection.
async fn take(socket: impl AsyncRead + AsyncWrite + Unpin, collector: Collector) {
    let mut socket = BufReader::new(socket);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match socket.read_line(&mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) if line.trim().is_empty() => break,
                Ok(_) => head.push(line.trim().to_ascii_lowercase()),
            }
        }
        assert_eq!(head[0], "post /v1/traces http/1.1");
        assert!(head.contains(&"content-type: application/x-protobuf".to_owned()));
        let length = head
            .iter()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        socket.read_exact(&mut body).await.unwrap();
        let message = ExportTraceServiceRequest::decode(&*body).unwrap();
        let spans = message.resource_spans.into_iter().flat_map(spans_of);
        collector.seen.lock().unwrap().extend(spans);
        collector.bytes.lock().unwrap().extend(body);
        collector.heads.lock().unwrap().extend(head);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        socket.get_mut().write_all(answer).await.unwrap();
    }
}

fn spans_of(resource: ResourceSpans) -> Vec<Seen> {
    let service = text(&resource.resource.unwrap().attributes, "service.name");
    let spans = resource
        .scope_spans
        .into_iter()
        .flat_map(|scope| scope.spans);
    spans
        .map(|span| Seen {
            service: service.clone(),
            span,
        })
        .collect()
}
