//! gRPC with tonic: a unary call with protobuf messages, all calls on one HTTP/2 connection.
//!
//! The payload is `Bytes`, which prost takes from the received buffer without a copy.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use futures::stream;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

use self::stubs::{echo_client::EchoClient, echo_server};
use super::{EchoCaller, LARGEST_MESSAGE};

mod stubs {
    //! The code that the build script generates.
    #![allow(unreachable_pub, reason = "generated for a public module")]
    include!(concat!(env!("OUT_DIR"), "/bench.Echo.rs"));
}

/// HTTP/2 flow control: the number of bytes that a peer may send before they are read. With the default
/// of 1 MiB and more, depending on the side, a large payload waits until the other side has read.
const WINDOW: u32 = 16 << 20;

/// The largest HTTP/2 frame. The default of 16 KiB cuts 8 MiB into 512 frames. Wide windows are faster
/// only together with this: with 16 KiB frames they were slower than the default.
const FRAME: u32 = 1 << 20;

/// The greatest number of calls in flight on one connection. The default is 200.
const STREAMS: u32 = 4096;

/// The request and the answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Message {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) payload: Bytes,
}

struct TonicEchoService;

#[tonic::async_trait]
impl echo_server::Echo for TonicEchoService {
    async fn echo(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    type RepeatStream = Repeated;

    async fn repeat(&self, request: Request<Message>) -> Result<Response<Repeated>, Status> {
        let item = request.into_inner();
        Ok(Response::new(stream::repeat_with(Box::new(move || {
            Ok(item.clone())
        }))))
    }
}

/// The same message again and again.
type Repeated = stream::RepeatWith<Box<dyn FnMut() -> Result<Message, Status> + Send>>;

/// Serves every connection.
pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let service = echo_server::EchoServer::new(TonicEchoService)
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(LARGEST_MESSAGE);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(STREAMS)
        .add_service(service)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

fn endpoint(address: SocketAddr) -> Result<Endpoint> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME))
}

/// A client over one connection.
pub(crate) type TonicClient = EchoClient<Channel>;

/// Opens one connection.
pub(crate) async fn client(address: SocketAddr) -> Result<TonicClient> {
    Ok(over(endpoint(address)?.connect().await?))
}

fn over(channel: Channel) -> EchoClient<Channel> {
    EchoClient::new(channel)
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(LARGEST_MESSAGE)
}

/// Opens one connection that all callers share.
pub(crate) async fn connect(address: SocketAddr, in_flight: usize) -> Result<Vec<TonicCaller>> {
    Ok(vec![TonicCaller(client(address).await?); in_flight])
}

/// The callers of several servers, balanced by tonic.
pub(super) fn balanced_callers(
    addresses: &[SocketAddr],
    in_flight: usize,
) -> Result<Vec<TonicCaller>> {
    let endpoints = addresses.iter().map(|&address| endpoint(address));
    let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_>>()?;
    let client = over(Channel::balance_list(endpoints.into_iter()));
    Ok(vec![TonicCaller(client); in_flight])
}

/// One caller of the shared connection.
#[derive(Clone)]
pub(crate) struct TonicCaller(EchoClient<Channel>);

impl EchoCaller for TonicCaller {
    async fn echo(&mut self, payload: Bytes) -> Result<impl AsRef<[u8]>> {
        Ok(self.0.echo(Message { payload }).await?.into_inner().payload)
    }
}
