//! Pairs of channels, and raw peers that send and read single frames.

use crate::probe::{Object, Probe, Request, Response};
use pyroxene_common::{
    byte_budget::ByteBudget,
    channel::{
        AttemptError, ClientConnection, ConnectionContext, ConnectionLost, SessionLimits, Settings,
        serve,
    },
    codec,
    envelope::{self, Envelope},
    host::ServiceDispatch,
    message::{EncodedRequest, GoAway, RefusedCall},
    scope::Caller,
    wire::FrameKind,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tarpc::context::{self, Context};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// The timeout of every step of a test, in paused time or not.
const FOREVER: Duration = Duration::from_secs(60);

pub(crate) type Client = ClientConnection<Response>;
pub(crate) type Answer = Result<Response, AttemptError>;

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(FOREVER, future)
        .await
        .expect("it waits for something that never happens")
}

/// A context whose deadline is this far away.
pub(crate) fn lasting(time: Duration) -> Context {
    let mut context = context::current();
    context.deadline = (Instant::now() + time).into_std();
    context
}

pub(crate) fn minutes(count: u64) -> Context {
    lasting(Duration::from_secs(60 * count))
}

pub(crate) fn session() -> ConnectionContext {
    ConnectionContext {
        settings: Settings::SERVER,
        caller: Arc::new(Caller::default()),
        interface_version: 1,
        drain: CancellationToken::new(),
        memory: ByteBudget::new(64 * 1024 * 1024),
        load: None,
        renew: None,
        sessions: SessionLimits::default(),
    }
}

pub(crate) fn encoded(request: &Request) -> EncodedRequest {
    EncodedRequest::new(request).unwrap()
}

/// Serves `object` on `stream`.
pub(crate) fn serve_on<S>(
    stream: S,
    object: &Object,
    session: ConnectionContext,
) -> JoinHandle<ConnectionLost>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = Arc::new(ServiceDispatch::<Probe, _>::new(object.clone()));
    tokio::spawn(async move { serve(stream, service, session).await })
}

/// A client and a server, connected by a pipe.
pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) server: JoinHandle<ConnectionLost>,
    pub(crate) object: Object,
    pub(crate) drain: CancellationToken,
}

pub(crate) fn pair() -> Pair {
    pair_with(Settings::CLIENT, session())
}

pub(crate) fn pair_with(client: Settings, session: ConnectionContext) -> Pair {
    let (ours, theirs) = duplex(64 * 1024);
    let object = Object::new();
    let drain = session.drain.clone();
    Pair {
        server: serve_on(theirs, &object, session),
        client: ClientConnection::new(ours, client),
        object,
        drain,
    }
}

impl Pair {
    pub(crate) async fn call(&self, request: Request) -> Answer {
        call(&self.client, request).await
    }
}

/// Calls with a deadline far away.
pub(crate) async fn call(client: &Client, request: Request) -> Answer {
    call_in(client, minutes(10), request).await
}

pub(crate) async fn call_in(client: &Client, context: Context, request: Request) -> Answer {
    client.call(&context, &encoded(&request)).await
}

/// Starts a call in a task of its own.
pub(crate) fn spawn_call(client: &Client, request: Request) -> JoinHandle<Answer> {
    spawn_call_in(client, minutes(10), request)
}

pub(crate) fn spawn_call_in(
    client: &Client,
    context: Context,
    request: Request,
) -> JoinHandle<Answer> {
    let client = client.clone();
    tokio::spawn(async move { call_in(&client, context, request).await })
}

pub(crate) fn text(answer: Answer) -> String {
    match answer {
        Ok(Response::Echo(text) | Response::Produce(text)) => text,
        other => panic!("not a text: {other:?}"),
    }
}

pub(crate) fn number(answer: Answer) -> u32 {
    match answer {
        Ok(Response::Pass(number)) => number,
        other => panic!("not a number: {other:?}"),
    }
}

/// The message of a call that failed at the server.
pub(crate) fn failure(answer: Answer) -> String {
    match answer {
        Err(AttemptError::Failed(error)) => error.detail,
        other => panic!("it did not fail: {other:?}"),
    }
}

/// Two connected sockets.
pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    (ours.unwrap(), theirs.unwrap().0)
}

/// A raw peer that sends and reads single frames.
pub(crate) struct Raw<S = DuplexStream>(pub(crate) S);

/// A frame's bytes.
pub(crate) fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    bytes.push(kind as u8);
    bytes.extend(body);
    bytes
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    codec::encode(value).unwrap()
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> T {
    codec::decode(bytes).unwrap()
}

/// The body of a call.
pub(crate) fn request_body(id: u64, deadline: Duration, request: &Request) -> Vec<u8> {
    let envelope = Envelope {
        deadline,
        trace_context: context::current().trace_context,
    };
    let mut body = envelope.request(id).to_vec();
    body.extend(encode(request));
    body
}

pub(crate) fn request_frame(id: u64, request: &Request) -> Vec<u8> {
    let body = request_body(id, Duration::from_secs(600), request);
    frame(FrameKind::Call, &body)
}

pub(crate) fn cancel_frame(id: u64) -> Vec<u8> {
    let body = envelope::cancel(id, context::current().trace_context);
    frame(FrameKind::Call, &body)
}

/// The body of a batch.
pub(crate) fn batch_body(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut whole = Vec::new();
    for body in bodies {
        whole.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        whole.extend(body);
    }
    whole
}

pub(crate) fn response_frame(id: u64, response: Response) -> Vec<u8> {
    let response = tarpc::Response {
        request_id: id,
        message: Ok(response),
    };
    frame(FrameKind::Call, &encode(&response))
}

/// The id of a request that a raw server received.
pub(crate) fn id_of(body: &[u8]) -> u64 {
    match envelope::ClientMessage::parse(body).unwrap() {
        envelope::ClientMessage::Request { id, .. } | envelope::ClientMessage::Cancel { id } => id,
    }
}

pub(crate) fn is_cancel(body: &[u8]) -> bool {
    let message = envelope::ClientMessage::parse(body).unwrap();
    matches!(message, envelope::ClientMessage::Cancel { .. })
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within(self.0.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn send(&mut self, kind: FrameKind, body: &[u8]) {
        self.write(&frame(kind, body)).await;
    }

    /// The next frame, or `None` at the end of the stream.
    pub(crate) async fn receive(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        let mut header = [0; 5];
        within(self.0.read_exact(&mut header)).await.ok()?;
        let [a, b, c, d, kind] = header;
        let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
        within(self.0.read_exact(&mut body)).await.ok()?;
        Some((FrameKind::from_number(kind).unwrap(), body))
    }

    /// The next frame, which must have this kind. A client may say before that it knows metadata.
    pub(crate) async fn expect(&mut self, kind: FrameKind) -> Vec<u8> {
        let (mut found, mut body) = self.receive().await.expect("the stream has ended");
        if found == FrameKind::Metadata && kind != found && body == [0; 8] {
            (found, body) = self.receive().await.expect("the stream has ended");
        }
        assert_eq!(found, kind, "{body:?}");
        body
    }

    /// The next response.
    pub(crate) async fn response(&mut self) -> tarpc::Response<Response> {
        decode(&self.expect(FrameKind::Call).await)
    }

    pub(crate) async fn refusal(&mut self) -> RefusedCall {
        decode(&self.expect(FrameKind::Refused).await)
    }

    /// The message with which the peer ends the connection.
    pub(crate) async fn protocol_error(&mut self) -> String {
        let GoAway::ProtocolError(sentence) = decode(&self.expect(FrameKind::GoAway).await) else {
            panic!("it only drains");
        };
        assert!(self.receive().await.is_none());
        sentence
    }
}

/// A server with a raw client.
pub(crate) fn raw_client(session: ConnectionContext) -> (Raw, JoinHandle<ConnectionLost>, Object) {
    let (ours, theirs) = duplex(1024 * 1024);
    let object = Object::new();
    let server = serve_on(theirs, &object, session);
    (Raw(ours), server, object)
}

/// A client with a raw server.
pub(crate) fn raw_server(settings: Settings) -> (Client, Raw) {
    raw_server_over(settings, 1024 * 1024)
}

pub(crate) fn raw_server_over(settings: Settings, buffer: usize) -> (Client, Raw) {
    let (ours, theirs) = duplex(buffer);
    (ClientConnection::new(ours, settings), Raw(theirs))
}
