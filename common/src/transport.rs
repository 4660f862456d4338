//! A connection as a tarpc transport, so that tarpc's own client can use it.
//!
//! This is for interoperability: the broker itself uses [`crate::channel`]. Pings are answered, and
//! a refused call becomes a response with an error.

use crate::{
    codec,
    frame::FrameHeader,
    message::RefusedCall,
    wire::{FrameKind, HEADER_LEN},
};
use bytes::{Buf, BytesMut};
use futures::{Sink, Stream};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::VecDeque,
    io,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tarpc::{ClientMessage, Response, ServerError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Decoder, Encoder, Framed};

/// A stream after the hello, as a transport for `tarpc::client::new`.
#[derive(Debug)]
pub struct ClientTransport<S, Req, Resp> {
    framed: Framed<S, FrameCodec>,
    pongs: VecDeque<(FrameKind, Vec<u8>)>,
    messages: PhantomData<fn(Req) -> Resp>,
}

impl<S: AsyncRead + AsyncWrite, Req, Resp> ClientTransport<S, Req, Resp> {
    /// Frames of at most `max_message` bytes over `stream`.
    pub fn new(stream: S, max_message: usize) -> Self {
        Self {
            framed: Framed::new(stream, FrameCodec { limit: max_message }),
            pongs: VecDeque::new(),
            messages: PhantomData,
        }
    }
}

#[derive(Debug)]
struct FrameCodec {
    limit: usize,
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Decoder for FrameCodec {
    type Item = (FrameKind, BytesMut);
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Self::Item>> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let header = FrameHeader::parse(*header, self.limit).map_err(invalid)?;
        if bytes.len() < HEADER_LEN + header.len {
            return Ok(None);
        }
        bytes.advance(HEADER_LEN);
        Ok(Some((header.kind, bytes.split_to(header.len))))
    }
}

impl Encoder<(FrameKind, Vec<u8>)> for FrameCodec {
    type Error = io::Error;

    fn encode(
        &mut self,
        (kind, body): (FrameKind, Vec<u8>),
        bytes: &mut BytesMut,
    ) -> io::Result<()> {
        let len = body.len();
        if len > self.limit {
            let limit = self.limit;
            return Err(invalid(format!(
                "a message of {len} bytes exceeds the limit of {limit} bytes"
            )));
        }
        bytes.extend_from_slice(&FrameHeader { kind, len }.to_bytes());
        bytes.extend_from_slice(&body);
        Ok(())
    }
}

impl<S, Req, Resp> ClientTransport<S, Req, Resp>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn framed(self: Pin<&mut Self>) -> Pin<&mut Framed<S, FrameCodec>> {
        Pin::new(&mut self.get_mut().framed)
    }

    fn poll_pongs(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pongs.is_empty() {
            ready!(Pin::new(&mut self.framed).poll_ready(context))?;
            if let Some(pong) = self.pongs.pop_front() {
                Pin::new(&mut self.framed).start_send(pong)?;
            }
        }
        Pin::new(&mut self.framed).poll_flush(context)
    }
}

impl<S, Req, Resp> Stream for ClientTransport<S, Req, Resp>
where
    S: AsyncRead + AsyncWrite + Unpin,
    Resp: DeserializeOwned,
{
    type Item = io::Result<Response<Resp>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            // Waiting to send a pong does not delay received frames.
            if let Poll::Ready(Err(error)) = this.poll_pongs(context) {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(frame) = ready!(Pin::new(&mut this.framed).poll_next(context)) else {
                return Poll::Ready(None);
            };
            let (kind, body) = frame?;
            match kind {
                FrameKind::Call => {
                    return Poll::Ready(Some(codec::decode(&body).map_err(invalid)));
                }
                FrameKind::Refused => {
                    let refused: RefusedCall = codec::decode(&body).map_err(invalid)?;
                    let detail = refused.refusal.message;
                    return Poll::Ready(Some(Ok(Response {
                        request_id: refused.request_id,
                        message: Err(ServerError::new(io::ErrorKind::WouldBlock, detail)),
                    })));
                }
                // One pong at a time is enough: a peer that pings again has not read the first pong yet.
                FrameKind::Ping if this.pongs.is_empty() => {
                    this.pongs.push_back((FrameKind::Pong, body.to_vec()));
                }
                _ => {}
            }
        }
    }
}

impl<S, Req, Resp> Sink<ClientMessage<Req>> for ClientTransport<S, Req, Resp>
where
    S: AsyncRead + AsyncWrite + Unpin,
    Req: Serialize,
{
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.framed().poll_ready(context)
    }

    fn start_send(self: Pin<&mut Self>, message: ClientMessage<Req>) -> io::Result<()> {
        let body = codec::encode(&message).map_err(invalid)?;
        self.framed().start_send((FrameKind::Call, body))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.framed().poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.framed().poll_close(context)
    }
}
