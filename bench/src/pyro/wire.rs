//! A client of Pyro's protocol that sends bytes made before, and reads no more of an answer than its length:
//! what is measured is the server.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use pyroxene_pyro::{
    PyValue,
    serializer::{Invocation, Serializer},
    transport::{read_message, write_message},
    wire::{FLAG_BATCH, FLAG_EXCEPTION, Kind, Message},
};
use tokio::{io::BufReader, net::TcpStream};

use crate::load::LoadOperation;

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

const SERIALIZER: Serializer = Serializer::Serpent;

/// A connection with its call.
pub(super) struct WireClient {
    stream: BufReader<TcpStream>,
    call: Message,
}

/// A call without arguments.
fn invocation(object: &str, method: &str, positional: Vec<PyValue>) -> Invocation {
    Invocation {
        object: object.to_owned(),
        method: method.to_owned(),
        positional,
        named: PyValue::Dict(Vec::new()),
    }
}

/// The message of a null call.
pub(super) fn null_call(object: &str, method: &str) -> Result<Message> {
    let payload = SERIALIZER.write_invocation(invocation(object, method, Vec::new()))?;
    Ok(Message::new(Kind::Invoke, SERIALIZER.number(), 1, payload))
}

/// The message of a name server's look-up.
pub(super) fn look_up(name: &str) -> Result<Message> {
    let call = invocation("Pyro.NameServer", "lookup", vec![PyValue::str(name)]);
    let payload = SERIALIZER.write_invocation(call)?;
    Ok(Message::new(Kind::Invoke, SERIALIZER.number(), 1, payload))
}

/// The message of a batch of null calls.
pub(super) fn batch(object: &str, method: &str, calls: usize) -> Result<Message> {
    let call = PyValue::Tuple(vec![
        PyValue::str(method),
        PyValue::Tuple(Vec::new()),
        PyValue::Dict(Vec::new()),
    ]);
    let batch = Invocation {
        named: PyValue::None,
        ..invocation(object, "<batch>", vec![call; calls])
    };
    let payload = SERIALIZER.write_invocation(batch)?;
    let message = Message::new(Kind::Invoke, SERIALIZER.number(), 1, payload);
    Ok(message.flags(FLAG_BATCH))
}

/// Opens connections that repeat a call.
pub(super) async fn connect(
    address: SocketAddr,
    object: &str,
    call: &Message,
    count: usize,
) -> Result<Vec<WireClient>> {
    let greeting = PyValue::dict([
        ("handshake", PyValue::str("hello")),
        ("object", PyValue::str(object)),
    ]);
    let payload = SERIALIZER.write(&greeting)?;
    let hello = Message::new(Kind::Connect, SERIALIZER.number(), 0, payload);
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        write_message(&mut stream, &hello).await?;
        let answer = read_message(&mut stream, MAX_ANSWER).await?;
        if answer.is_none_or(|answer| answer.header.kind != Kind::ConnectOk.number()) {
            bail!("{address} refuses a connection");
        }
        clients.push(WireClient {
            stream,
            call: call.clone(),
        });
    }
    Ok(clients)
}

impl LoadOperation for WireClient {
    async fn once(&mut self) -> Result<()> {
        write_message(&mut self.stream, &self.call).await?;
        match read_message(&mut self.stream, MAX_ANSWER).await? {
            Some(answer) if !answer.header.has(FLAG_EXCEPTION) => Ok(()),
            Some(answer) => bail!("{}", String::from_utf8_lossy(&answer.payload)),
            None => bail!("the server hung up"),
        }
    }
}
