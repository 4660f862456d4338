//! One connection: HTTP/1.1 or HTTP/2, until it ends or the host drains.

use crate::guard::GuardedRouter;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use pyroxene_common::tls::CertificateHolder;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// How long the headers of a request may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The most streams of an HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// The greatest size of the headers of a request, in bytes.
const MAX_HEADERS: usize = 64 * 1024;

/// How often a quiet HTTP/2 connection is asked whether it is still there.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// What the requests of a connection have in common.
#[derive(Clone)]
pub(crate) struct ConnectionInfo {
    /// The address of the peer, with its port.
    pub(crate) peer: Arc<str>,
    /// Whether secrets may be sent over it: it is encrypted, or from this machine.
    pub(crate) is_private: bool,
    pub(crate) is_encrypted: bool,
    /// Whether it is from this machine.
    pub(crate) is_local: bool,
    /// The holder of the client's certificate.
    pub(crate) certificate: Option<CertificateHolder>,
    /// Called once a request was authenticated.
    pub(crate) authenticated: Arc<dyn Fn() + Send + Sync>,
}

/// Serves a connection. The future ends soon after `drain`: when the requests that run are answered.
pub(crate) async fn serve<S>(
    router: GuardedRouter,
    stream: S,
    info: ConnectionInfo,
    drain: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::clone(&info.peer);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(info.clone());
        let answer = router.clone().answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADERS).unwrap_or(u32::MAX))
        .keep_alive_interval(HTTP2_PING);
    let serving = builder.serve_connection(TokioIo::new(stream), answer);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = drain.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an HTTP connection ended");
    }
}
