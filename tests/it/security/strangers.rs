//! What a stranger does on the wire: one hello, one login, from whatever address.

use crate::harness::{in_time, seconds, within};
use pyroxene_client::{ClientConfig, Credentials, LoginState, NameServerClient, ReceivedAdmission};
use pyroxene_common::{
    channel::{ClientConnection, Settings},
    hello::{Hello, HelloError, HelloRefusal, Welcome, say_hello, say_hello_with_ticket},
    identity::{Addressee, Credential, HolderKey, LoginProof, Token},
    interface::Interface,
    interfaces::access::{
        self, Access, AccessError, LoginTicket,
        access::{AccessRequest, AccessResponse},
    },
    message::EncodedRequest,
    net::Socket,
    tls::Stream,
};
use pyroxene_objects::interfaces::echo::Echo;
use std::net::SocketAddr;
use tokio::net::{TcpSocket, TcpStream};

/// The shape of a token, and nobody's.
pub(crate) const WRONG: &str = "prx_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A hello for an object of the interface `I`, with this ticket if it is for somebody.
pub(crate) fn hello<I: Interface>(object: &str, ticket: Option<(&[u8], Addressee)>) -> Hello {
    Hello {
        object: object.to_owned(),
        interface: I::NAME.to_owned(),
        interface_version: I::VERSION,
        client: "stranger".to_owned(),
        max_message: 1024 * 1024,
        credential: ticket.map(|(ticket, addressee)| Credential {
            ticket: ticket.to_vec(),
            addressee,
            proof: Vec::new(),
        }),
    }
}

/// The key that all tickets are bound to which this process is given.
pub(crate) fn own_key() -> &'static HolderKey {
    HolderKey::of_process().unwrap()
}

/// Says hello to a server in the clear, and proves what it shows with this process's key.
pub(crate) async fn say(address: &str, hello: &Hello) -> Result<Welcome, HelloRefusal> {
    say_as(address, hello, own_key()).await
}

/// The same, with another key.
pub(crate) async fn say_as(
    address: &str,
    hello: &Hello,
    key: &HolderKey,
) -> Result<Welcome, HelloRefusal> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    match say_hello_with_ticket(&mut stream, hello, key).await {
        Ok(welcome) => Ok(welcome),
        Err(HelloError::Refused(refused)) => Err(refused),
        Err(error) => panic!("{address} does not answer: {error}"),
    }
}

/// Whom a client means that knows an address and nothing else.
pub(crate) fn at(address: &str) -> Addressee {
    Addressee::Endpoint(address.to_owned())
}

/// Shows a ticket to the echo of a worker.
pub(crate) async fn show(worker: &str, ticket: &[u8]) -> Result<Welcome, HelloRefusal> {
    say(worker, &hello::<Echo>("echo", Some((ticket, at(worker))))).await
}

/// What a name server gives to whom it recognises.
pub(crate) async fn admission(config: &ClientConfig) -> ReceivedAdmission {
    let nameserver = NameServerClient::new(config.endpoints()[0].clone(), config);
    let recognised = nameserver.watch_login().await.unwrap().unwrap();
    let LoginState::LoggedIn(held) = &*recognised.borrow() else {
        panic!("it asks nobody who they are");
    };
    held.clone()
}

/// The same, for a user of a broker that speaks in the clear.
pub(crate) async fn ticket_of(address: &str, user: &str, token: &str) -> Vec<u8> {
    let config = ClientConfig::new(address).unwrap();
    let config = config.credentials(Credentials::new(user, token));
    admission(&config)
        .await
        .admission
        .ticket
        .as_bytes()
        .to_vec()
}

/// Somebody who logs in from an address of choice, and does nothing by itself.
pub(crate) struct Stranger(ClientConnection<AccessResponse>);

impl Stranger {
    /// Connects to a name server from an address of this machine.
    pub(crate) async fn from(address: &str, nameserver: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(format!("{address}:0").parse().unwrap())
            .unwrap();
        let nameserver: SocketAddr = nameserver.parse().unwrap();
        let mut stream = socket.connect(nameserver).await.unwrap();
        let hello = hello::<Access>(access::OBJECT, None);
        say_hello(&mut stream, &hello).await.unwrap();
        let stream = Stream::Plain(Socket::Tcp(stream));
        Self(ClientConnection::new(stream, Settings::CLIENT))
    }

    /// Tries to log in, once.
    pub(crate) async fn log_in(&self, user: &str, token: &str) -> Result<LoginTicket, AccessError> {
        let AccessResponse::Challenge(challenge) = self.ask(AccessRequest::Challenge {}).await
        else {
            panic!("another method was answered");
        };
        let nonce = challenge.unwrap().nonce.try_into().unwrap();
        let holder = own_key().id();
        let proof = LoginProof {
            nonce: &nonce,
            exporter: None,
            holder: &holder,
            user,
        };
        let token: Token = token.parse().unwrap();
        let login = AccessRequest::Login {
            user: user.to_owned(),
            holder,
            signature: proof.sign(&token.key().unwrap()),
        };
        let AccessResponse::Login(answer) = self.ask(login).await else {
            panic!("another method was answered");
        };
        answer
    }

    async fn ask(&self, request: AccessRequest) -> AccessResponse {
        let (context, request) = (within(seconds(5)), EncodedRequest::new(&request).unwrap());
        let answer = in_time(seconds(10), "an answer", self.0.call(&context, &request)).await;
        answer.unwrap()
    }
}
