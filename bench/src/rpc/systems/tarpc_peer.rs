//! tarpc over its own channel and its own TCP transport with bincode, all calls on one
//! connection.
//!
//! The payload is `Bytes`, which bincode writes as one block instead of element by element, and which
//! the client sends without a copy.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use futures::StreamExt;
use tarpc::{
    client, context, serde_transport,
    server::{self, BaseChannel, Channel},
    tokio_serde::formats::Bincode,
    tokio_util::codec::{Framed, LengthDelimitedCodec},
};
use tokio::net::{TcpListener, TcpStream};

use super::{EchoCaller, LARGEST_MESSAGE};

/// The length of the queues between callers and the connection. It is greater than every measured number
/// of calls in flight, so that no caller waits for the queue.
const QUEUE: usize = 4096;

#[tarpc::service]
pub(crate) trait EchoService {
    async fn echo(payload: Bytes) -> Bytes;
}

#[derive(Clone)]
struct TarpcEchoServer;

impl EchoService for TarpcEchoServer {
    async fn echo(self, _: context::Context, payload: Bytes) -> Bytes {
        payload
    }
}

fn framed(stream: TcpStream) -> Framed<TcpStream, LengthDelimitedCodec> {
    LengthDelimitedCodec::builder()
        .max_frame_length(LARGEST_MESSAGE)
        .new_framed(stream)
}

/// Where the server runs the handler of a request.
#[derive(Clone, Copy)]
pub(crate) enum HandlerMode {
    /// In its own task, as in all of tarpc's examples.
    Spawned,
    /// In the task of the connection. That is faster for a handler as short as this one, but all
    /// handlers of a connection then share one core.
    Inline,
}

/// Serves every connection.
pub(crate) async fn serve(listener: TcpListener, handlers: HandlerMode) -> Result<()> {
    super::accept(listener, |stream| {
        let transport = serde_transport::new(framed(stream), Bincode::default());
        let config = server::Config {
            pending_response_buffer: QUEUE,
        };
        let requests = BaseChannel::new(config, transport).execute(TarpcEchoServer.serve());
        match handlers {
            HandlerMode::Spawned => tokio::spawn(requests.for_each(|request| async {
                tokio::spawn(request);
            })),
            HandlerMode::Inline => {
                tokio::spawn(requests.for_each_concurrent(None, |request| request))
            }
        };
    })
    .await
}

/// Opens one connection that all callers share.
pub(crate) async fn connect(address: SocketAddr, in_flight: usize) -> Result<Vec<TarpcCaller>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut config = client::Config::default();
    config.max_in_flight_requests = QUEUE;
    config.pending_request_buffer = QUEUE;
    let transport = serde_transport::new(framed(stream), Bincode::default());
    let client = EchoServiceClient::new(config, transport).spawn();
    Ok(vec![TarpcCaller(client); in_flight])
}

/// One caller of the shared connection.
#[derive(Clone)]
pub(crate) struct TarpcCaller(EchoServiceClient);

impl EchoCaller for TarpcCaller {
    async fn echo(&mut self, payload: Bytes) -> Result<impl AsRef<[u8]>> {
        Ok(self.0.echo(context::current(), payload).await?)
    }
}
