//! What a stranger does on the wire: one hello, one login, from whatever address.

use crate::harness::{in_time, seconds, within};
use pyroxene_client::{ClientConfig, Credentials, Held, NameServer, Recognised};
use pyroxene_common::{
    channel::{Connection, Settings},
    hello::{Hello, HelloError, Refused, Welcome, greet},
    interface::Interface,
    interfaces::{
        access::{
            self, Access, AccessError, Admission, Secret,
            access::{AccessRequest, AccessResponse},
        },
        echo::Echo,
    },
    message::EncodedRequest,
    net::{Socket, Stream},
};
use std::net::SocketAddr;
use tokio::net::{TcpSocket, TcpStream};

/// The shape of a token, and nobody's.
pub(crate) const WRONG: &str = "prx_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A hello for an object of the interface `I`, with this ticket.
pub(crate) fn hello<I: Interface>(object: &str, ticket: Option<&[u8]>) -> Hello {
    Hello {
        object: object.to_owned(),
        interface: I::NAME.to_owned(),
        interface_version: I::VERSION,
        client: "stranger".to_owned(),
        max_message: 1024 * 1024,
        credential: ticket.map(<[u8]>::to_vec),
    }
}

/// Says hello to a server in the clear.
pub(crate) async fn say(address: &str, hello: &Hello) -> Result<Welcome, Refused> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    match greet(&mut stream, hello).await {
        Ok(welcome) => Ok(welcome),
        Err(HelloError::Refused(refused)) => Err(refused),
        Err(error) => panic!("{address} does not answer: {error}"),
    }
}

/// Shows a ticket to a worker's echo.
pub(crate) async fn show(worker: &str, ticket: &[u8]) -> Result<Welcome, Refused> {
    say(worker, &hello::<Echo>("echo", Some(ticket))).await
}

/// What a name server gives to whom it recognises.
pub(crate) async fn admission(config: &ClientConfig) -> Held {
    let nameserver = NameServer::new(config.endpoints()[0].clone(), config);
    let recognised = nameserver.recognise().await.unwrap().unwrap();
    let Recognised::As(held) = &*recognised.borrow() else {
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
pub(crate) struct Stranger(Connection<AccessResponse>);

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
        greet(&mut stream, &hello).await.unwrap();
        let stream = Stream::Plain(Socket::Tcp(stream));
        Self(Connection::new(stream, Settings::CLIENT))
    }

    /// Tries to log in, once.
    pub(crate) async fn log_in(&self, user: &str, token: &str) -> Result<Admission, AccessError> {
        let request = EncodedRequest::new(&AccessRequest::Login {
            user: user.to_owned(),
            token: Secret(token.to_owned()),
        });
        let (context, request) = (within(seconds(5)), request.unwrap());
        let answer = in_time(seconds(10), "a login", self.0.call(&context, &request)).await;
        let AccessResponse::Login(answer) = answer.unwrap() else {
            panic!("another method was answered");
        };
        answer
    }
}
