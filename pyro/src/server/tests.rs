use super::*;
use crate::login::{KnownClient, LoginFailure, Logins, PyroCredentials};
use crate::{
    serializer::Invocation,
    wire::{FLAG_BATCH, FLAG_ONEWAY},
};
use futures::{StreamExt, stream};
use pyroxene_common::{
    access::{Authenticator, IssuerClock},
    identity::{DomainKey, KeyLife, Patterns, Revocation, Role},
    tls::CertificateHolder,
};
use std::{sync::Mutex, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::sleep,
};

/// An object `one` that echoes, fails and notes.
#[derive(Debug, Default)]
struct One {
    notes: Arc<Mutex<Vec<PyValue>>>,
}

impl PyroObjects for One {
    fn ids(&self) -> Vec<String> {
        vec!["one".to_owned()]
    }

    fn members(&self, object: &str) -> Option<Arc<Members>> {
        let methods = ["echo", "fail", "items", "note", "stop", "who"]
            .map(str::to_owned)
            .to_vec();
        (object == "one").then(|| {
            Arc::new(Members {
                methods,
                ..Members::default()
            })
        })
    }

    fn call(&self, call: PyroCall) -> BoxFuture<'static, Result<PyroAnswer, CallError>> {
        let notes = Arc::clone(&self.notes);
        Box::pin(async move {
            let value = call.positional.into_iter().next().unwrap_or_default();
            match &*call.method {
                "echo" => Ok(value.into()),
                "items" => {
                    let slow = stream::iter(0..3).then(|number| async move {
                        sleep(Duration::from_secs(2)).await;
                        Ok(PyValue::Int(number))
                    });
                    Ok(PyroAnswer::Items(PyroItems::new(slow)))
                }
                "note" => {
                    notes.lock().unwrap().push(value);
                    Ok(PyValue::None.into())
                }
                "stop" => Err(CallError::Hangup),
                "who" => {
                    let identity = call.caller.identity.as_ref();
                    let name = identity.map(|identity| PyValue::str(&identity.name));
                    Ok(name.unwrap_or_default().into())
                }
                _ => Err(PyException::builtin("ValueError", "boom").into()),
            }
        })
    }
}

struct Client {
    stream: DuplexStream,
    serializer: Serializer,
    sequence: u16,
}

fn protocol() -> PyroProtocol {
    PyroProtocol::new(Arc::new(One::default()), 10_000)
}

fn connect() -> Client {
    connect_to(protocol())
}

fn connect_to(protocol: PyroProtocol) -> Client {
    connect_from(protocol, Arrival::default())
}

fn connect_from(protocol: PyroProtocol, arrival: Arrival) -> Client {
    let (here, there) = duplex(1 << 16);
    let drain = CancellationToken::new();
    tokio::spawn(protocol.serve_stream(there, arrival, drain, || {}));
    Client {
        stream: here,
        serializer: Serializer::Serpent,
        sequence: 0,
    }
}

impl Client {
    async fn send(&mut self, kind: Kind, payload: Vec<u8>, flags: u16) {
        let number = self.serializer.number();
        let message = Message::new(kind, number, self.sequence, payload).flags(flags);
        self.sequence += 1;
        write_message(&mut self.stream, &message).await.unwrap();
    }

    async fn receive(&mut self) -> Option<(Message, PyValue)> {
        let message = read_message(&mut self.stream, 1 << 20).await.unwrap()?;
        let serializer = Serializer::from_number(message.header.serializer).unwrap();
        let value = serializer.read(&message.payload).unwrap();
        Some((message, value))
    }

    async fn shake_hands(self, object: &str) -> Self {
        self.greet(object, "hello".into()).await
    }

    async fn greet(mut self, object: &str, data: PyValue) -> Self {
        let greeting = PyValue::dict([("handshake", data), ("object", object.into())]);
        let payload = self.serializer.write(&greeting).unwrap();
        self.send(Kind::Connect, payload, 0).await;
        self
    }

    async fn call(&mut self, object: &str, method: &str, arguments: Vec<PyValue>, flags: u16) {
        let call = Invocation {
            object: object.to_owned(),
            method: method.to_owned(),
            positional: arguments,
            named: PyValue::Dict(Vec::new()),
        };
        let payload = self.serializer.write_invocation(call).unwrap();
        self.send(Kind::Invoke, payload, flags).await;
    }
}

#[tokio::test]
async fn a_client_shakes_hands_calls_and_pings() {
    for number in 1..=4 {
        let mut client = connect();
        client.serializer = Serializer::from_number(number).unwrap();
        let mut client = client.shake_hands("one").await;
        let (welcome, value) = client.receive().await.unwrap();
        assert_eq!(welcome.header.kind, Kind::ConnectOk.number());
        assert_eq!(value.get("handshake"), Some(&"hello".into()));
        let methods = value.get("meta").unwrap().get("methods").unwrap();
        assert_eq!(methods.as_sequence().unwrap().len(), 6);
        client.call("one", "echo", vec![PyValue::Int(3)], 0).await;
        let (answer, value) = client.receive().await.unwrap();
        assert_eq!((answer.header.sequence, value), (1, PyValue::Int(3)));
        client.send(Kind::Ping, b"ping".to_vec(), 0).await;
        let pong = read_message(&mut client.stream, 100)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((pong.header.kind, pong.payload), (6, b"pong".to_vec()));
    }
}

#[tokio::test]
async fn errors_have_the_classes_and_texts_of_pyro() {
    let mut client = connect().shake_hands("one").await;
    client.receive().await.unwrap();
    for (object, method, raised) in [
        ("one", "fail", "ValueError: boom"),
        (
            "one",
            "nosuch",
            "AttributeError: 'one' object has no attribute 'nosuch'",
        ),
        (
            "one",
            "_x",
            "AttributeError: attempt to access private attribute '_x'",
        ),
        ("two", "echo", "Pyro5.errors.DaemonError: unknown object"),
        (
            "Pyro.Daemon",
            "get_metadata",
            "Pyro5.errors.DaemonError: unknown object",
        ),
        (
            "Pyro.Daemon",
            "get_next_stream_item",
            "Pyro5.errors.PyroError: item stream terminated",
        ),
    ] {
        client.call(object, method, Vec::new(), 0).await;
        let (answer, value) = client.receive().await.unwrap();
        assert!(answer.header.has(FLAG_EXCEPTION));
        assert_eq!(PyException::from_value(&value).unwrap().to_string(), raised);
    }
    client.send(Kind::Invoke, b"((".to_vec(), 0).await;
    assert!(client.receive().await.unwrap().0.header.has(FLAG_EXCEPTION));
    client
        .call("Pyro.Daemon", "registered", Vec::new(), 0)
        .await;
    let (_, ids) = client.receive().await.unwrap();
    assert_eq!(ids.to_string(), "['Pyro.Daemon', 'one']");
}

#[tokio::test]
async fn a_batch_ends_with_its_first_failure() {
    let mut client = connect().shake_hands("one").await;
    client.receive().await.unwrap();
    let call = |method: &str, value| {
        let arguments = PyValue::Tuple(vec![PyValue::Int(value)]);
        PyValue::Tuple(vec![method.into(), arguments, PyValue::Dict(Vec::new())])
    };
    let calls = vec![call("echo", 1), call("fail", 0), call("echo", 2)];
    client.call("one", "<batch>", calls, FLAG_BATCH).await;
    let (answer, value) = client.receive().await.unwrap();
    assert!(answer.header.has(FLAG_BATCH) && !answer.header.has(FLAG_EXCEPTION));
    let [PyValue::Int(1), failed] = value.as_sequence().unwrap() else {
        panic!("{value}")
    };
    let raised = PyException::from_value(failed.get("exception").unwrap()).unwrap();
    assert_eq!(raised.class, "builtins.ValueError");
}

#[tokio::test]
async fn oneway_calls_have_no_answer_and_a_refused_call_ends_the_connection() {
    let mut client = connect().shake_hands("one").await;
    client.receive().await.unwrap();
    for method in ["note", "fail", "nosuch"] {
        client.call("one", method, Vec::new(), FLAG_ONEWAY).await;
    }
    client.call("one", "echo", vec![PyValue::Int(9)], 0).await;
    assert_eq!(client.receive().await.unwrap().1, PyValue::Int(9));
    client.call("one", "stop", Vec::new(), 0).await;
    assert!(client.receive().await.is_none());
}

#[tokio::test]
async fn clients_that_begin_wrongly_are_told_so() {
    let mut client = connect().shake_hands("zz").await;
    let (refusal, text) = client.receive().await.unwrap();
    assert_eq!(refusal.header.kind, Kind::ConnectFail.number());
    assert_eq!(text, "unknown object".into());
    assert!(client.receive().await.is_none());

    let mut client = connect();
    client.call("one", "echo", Vec::new(), 0).await;
    let (refusal, text) = client.receive().await.unwrap();
    assert_eq!(refusal.header.serializer, 2);
    assert_eq!(text, "invalid msg type 4 received (expected: 1)".into());

    let mut client = connect();
    client.stream.write_all(&[b'x'; 40]).await.unwrap();
    assert_eq!(client.receive().await.unwrap().1, "invalid data".into());
}

#[tokio::test]
async fn large_messages_are_refused_in_both_directions() {
    let mut client = connect().shake_hands("one").await;
    client.receive().await.unwrap();
    // 9,000 backslashes are twice as many bytes in the answer.
    client.serializer = Serializer::Msgpack;
    let text = PyValue::str("x".repeat(9_950));
    client.call("one", "echo", vec![text], 0).await;
    let (_, value) = client.receive().await.unwrap();
    assert_eq!(value.as_str().unwrap().len(), 9_950);
    client
        .call("one", "echo", vec![PyValue::str("x".repeat(10_000))], 0)
        .await;
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_item_is_not_lost_when_its_client_hangs_up_and_comes_again() {
    let protocol = protocol();
    let mut client = connect_to(protocol.clone()).shake_hands("one").await;
    client.receive().await.unwrap();
    client.call("one", "items", Vec::new(), 0).await;
    let (started, note) = client.receive().await.unwrap();
    assert_eq!(
        started.header.flags,
        FLAG_CORRELATION | FLAG_EXCEPTION | FLAG_STREAM
    );
    assert_eq!(
        PyException::from_value(&note).unwrap().to_string(),
        "Pyro5.errors.ProtocolError: result of call is an iterator"
    );
    let id = started.annotation(STREAM_ANNOTATION).unwrap();
    let id = PyValue::str(std::str::from_utf8(id).unwrap());
    let next = "get_next_stream_item";
    for expected in 0..3 {
        client.call("Pyro.Daemon", next, vec![id.clone()], 0).await;
        sleep(Duration::from_secs(1)).await;
        client = connect_to(protocol.clone()).shake_hands("one").await;
        client.receive().await.unwrap();
        // The client comes late, too.
        sleep(Duration::from_secs(5)).await;
        client.call("Pyro.Daemon", next, vec![id.clone()], 0).await;
        let (_, item) = client.receive().await.unwrap();
        assert_eq!(item, PyValue::Int(expected));
    }
    client.call("Pyro.Daemon", next, vec![id.clone()], 0).await;
    let (_, end) = client.receive().await.unwrap();
    assert_eq!(
        PyException::from_value(&end),
        Some(PyException::stop_iteration())
    );
}

/// Knows whoever has the token `secret`.
#[derive(Debug)]
struct Guests;

impl Logins for Guests {
    fn identify(
        &self,
        credentials: PyroCredentials,
        _: String,
    ) -> BoxFuture<'_, Result<KnownClient, LoginFailure>> {
        let name = match credentials {
            PyroCredentials::Token { user, token } if token == "secret" => Ok(user),
            PyroCredentials::Token { .. } => Err(LoginFailure::Refused("wrong".to_owned())),
            PyroCredentials::Certificate(holder) => Ok(holder.name),
        };
        Box::pin(async move {
            Ok(KnownClient {
                identity: Identity {
                    name: name?,
                    role: Role::User,
                    allow: Patterns::any(),
                },
                as_of_ms: 1000,
            })
        })
    }
}

#[tokio::test]
async fn clients_log_in_by_their_handshake_or_their_certificate_and_a_revocation_ends_that() {
    let authenticator = Arc::new(Authenticator::of_nameserver());
    let key = DomainKey::generate().unwrap().public();
    authenticator.trust_issuer(0, key, KeyLife::Kept, IssuerClock::Own);
    let door = PyroDoor::new(Arc::clone(&authenticator), Arc::new(Guests));
    let protocol = protocol().door(Some(door));
    let login =
        |token: &str| PyValue::dict([("user", "ana".into()), ("token", PyValue::str(token))]);
    let private = Arrival {
        is_private: true,
        ..Arrival::default()
    };
    let certified = Arrival {
        certificate: Some(CertificateHolder {
            name: "bo".to_owned(),
            role: None,
        }),
        ..Arrival::default()
    };
    for (arrival, data, reason) in [
        (&private, login("guess"), "wrong"),
        (&Arrival::default(), login("secret"), "a token in the clear"),
        (&private, "hello".into(), "it wants to know who calls"),
    ] {
        let client = connect_from(protocol.clone(), arrival.clone());
        let mut client = client.greet("one", data).await;
        let (refusal, text) = client.receive().await.unwrap();
        assert_eq!(refusal.header.kind, Kind::ConnectFail.number());
        let text = text.as_str().unwrap();
        assert!(text.starts_with(reason), "{text}");
        assert!(client.receive().await.is_none());
    }
    for (arrival, data, name) in [
        (private, login("secret"), "ana"),
        (certified, "hello".into(), "bo"),
    ] {
        let client = connect_from(protocol.clone(), arrival);
        let mut client = client.greet("one", data).await;
        client.receive().await.unwrap();
        client.call("one", "who", Vec::new(), 0).await;
        let (_, who) = client.receive().await.unwrap();
        assert_eq!(who, name.into());
        authenticator.revoke(&[Revocation {
            name: name.to_owned(),
            until_ms: 1000,
        }]);
        client.call("one", "who", Vec::new(), 0).await;
        assert!(client.receive().await.is_none());
    }
}
