//! The first message of a client, and its answer.

use super::{Connection, Next, PyroCaller, PyroStream, reply};
use crate::{
    PyValue,
    serializer::Serializer,
    transport::{TransportError, read_message, write_message},
    wire::{Kind, Message, WireError},
};
use std::sync::Arc;

/// The largest first message, in bytes: nobody has logged in yet.
const MAX_HANDSHAKE: usize = 64 * 1024;

impl<S: PyroStream> Connection<S> {
    /// Reads the client's CONNECT and answers it.
    pub(super) async fn shake_hands(&mut self) -> Result<Next, TransportError> {
        let message =
            match read_message(&mut self.stream, self.max_message.min(MAX_HANDSHAKE)).await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Next::Close),
                Err(TransportError::Wire(
                    error @ (WireError::Tag | WireError::Version(_) | WireError::Closing),
                )) => {
                    self.refuse_early(error.to_string()).await?;
                    return Ok(Next::Close);
                }
                Err(error) => return Err(error),
            };
        let kind = message.header.kind;
        if kind != Kind::Connect.number() {
            self.refuse_early(format!("invalid msg type {kind} received (expected: 1)"))
                .await?;
            return Ok(Next::Close);
        }
        let Some(serializer) = Serializer::from_number(message.header.serializer) else {
            return Ok(Next::Close);
        };
        let welcomed = self.welcome(serializer, &message.payload).await;
        let (kind, answer, next) = match welcomed {
            Ok(welcome) => (Kind::ConnectOk, welcome, Next::Continue),
            Err(refusal) => (Kind::ConnectFail, PyValue::Str(refusal), Next::Close),
        };
        let payload = serializer.write(&answer).unwrap_or_default();
        let answer = reply(&message, kind, payload);
        write_message(&mut self.stream, &answer).await?;
        Ok(next)
    }

    /// Refuses a client before its serializer is known: Pyro does so in marshal.
    async fn refuse_early(&mut self, sentence: String) -> Result<(), TransportError> {
        let serializer = Serializer::Marshal;
        let payload = serializer
            .write(&PyValue::Str(sentence))
            .unwrap_or_default();
        let refusal = Message::new(Kind::ConnectFail, serializer.number(), 0, payload);
        Ok(write_message(&mut self.stream, &refusal).await?)
    }

    async fn welcome(&mut self, serializer: Serializer, payload: &[u8]) -> Result<PyValue, String> {
        let greeting = serializer
            .read(payload)
            .map_err(|error| error.to_string())?;
        // As Python shows a key that is missing.
        let sent = greeting.get("handshake").ok_or("'handshake'")?;
        let object = greeting.get("object").ok_or("'object'")?;
        if let Some(door) = &self.door {
            self.login = door.let_in(sent, &self.arrival).await?;
        }
        self.caller = Arc::new(PyroCaller {
            address: self.arrival.address.clone(),
            identity: self
                .login
                .as_ref()
                .map(|login| Arc::clone(login.identity())),
        });
        let members = object
            .as_str()
            .and_then(|object| self.context.members(object));
        let members = members.ok_or("unknown object")?;
        Ok(PyValue::dict([
            ("handshake", "hello".into()),
            ("meta", members.to_value()),
        ]))
    }
}
