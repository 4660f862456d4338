//! What each frame of a client begins, changes or ends.

use super::{CallStarter, IncomingCall};
use crate::{
    byte_budget::BytePermit,
    channel::{
        callbacks::PeerCallbacks,
        error::{CallFailure, ConnectionLost},
        server::{
            dispatch::Dispatch,
            not_run::{draining, no_memory},
            sessions::Sessions,
        },
        streams::StreamTable,
    },
    codec,
    envelope::ClientMessage,
    frame::{BATCH_PREFIX_LEN, split_batch},
    message::{SessionAnswer, SessionId},
    metadata::Metadata,
    wire::{FrameKind, SESSION_LEN},
};
use bytes::Bytes;
use std::{fmt, sync::Arc};
use tarpc::context;

impl<D, B, F> CallStarter<'_, D, B, F>
where
    D: Dispatch,
    B: Fn(Arc<D>, context::Context, D::Request) -> F,
    F: Future<Output = Result<D::Response, CallFailure>> + Send + 'static,
{
    /// Handles a frame. `memory` is given for a large frame. Metadata belongs to the next frame, even if that fails,
    /// and to no later one.
    pub(in crate::channel::server) fn handle(
        &mut self,
        kind: FrameKind,
        body: &[u8],
        mut memory: Option<BytePermit>,
    ) -> Result<(), ConnectionLost> {
        let protocol = |what: &dyn fmt::Display| ConnectionLost::Protocol(what.to_string());
        let metadata = self.metadata.take();
        match kind {
            FrameKind::Call => self.handle_message(body, false, memory, metadata)?,
            FrameKind::CallWithProgress => self.handle_message(body, true, memory, metadata)?,
            FrameKind::Metadata => {
                let metadata = Metadata::decode(body).map_err(|error| protocol(&error))?;
                match metadata.is_empty() {
                    // It says that the client knows metadata.
                    true => self.calls.client_knows_metadata(),
                    false => *self.metadata = Some(Arc::new(metadata)),
                }
            }
            FrameKind::Batch if metadata.is_some() => {
                return Err(protocol(&"a batch has no metadata"));
            }
            FrameKind::Batch => {
                let done = self.handle_batch(body, &mut memory)?;
                let rest = body.get(done..).unwrap_or_default();
                if !rest.is_empty() {
                    *self.batch = Bytes::copy_from_slice(rest);
                    *self.batch_memory = memory;
                }
            }
            FrameKind::OneWay => match ClientMessage::parse(body) {
                Ok(ClientMessage::Request {
                    envelope, message, ..
                }) => self.begin(IncomingCall {
                    id: None,
                    envelope,
                    message,
                    wants_progress: false,
                    memory,
                    session: None,
                    metadata,
                }),
                Ok(ClientMessage::Cancel { .. }) => {
                    return Err(protocol(&"a one-way call cannot be cancelled"));
                }
                Err(error) => return Err(protocol(&error)),
            },
            FrameKind::Ping => self.outbox.push_raw_frame(FrameKind::Pong, body),
            FrameKind::Pong => {}
            FrameKind::Credential => {
                if let Some(renew) = self.renew {
                    renew(body);
                }
            }
            FrameKind::StreamItems => self.handle_items(body, memory)?,
            FrameKind::StreamEnd => self.streams()?.on_end(body)?,
            FrameKind::StreamCredit => self.streams()?.on_credit(body)?,
            FrameKind::StreamStop => self.streams()?.on_stop(body)?,
            FrameKind::Session => self.begin_session(body)?,
            FrameKind::SessionCall => self.handle_session_call(body, memory, metadata)?,
            FrameKind::SessionEnd => {
                let SessionId { session } = codec::decode(body).map_err(|e| protocol(&e))?;
                if let Some(sessions) = self.sessions {
                    sessions.end(session);
                }
            }
            FrameKind::Callback => self.callbacks()?.on_answer(body, memory)?,
            FrameKind::Refused => self.callbacks()?.on_refusal(body)?,
            FrameKind::GoAway | FrameKind::Load | FrameKind::Progress => {
                return Err(protocol(&format_args!(
                    "a server received a {kind:?} frame"
                )));
            }
        }
        Ok(())
    }

    /// Starts the calls of a batch while there is buffer space for their answers. Returns how many of its
    /// bytes were handled.
    pub(in crate::channel::server) fn handle_batch(
        &mut self,
        body: &[u8],
        memory: &mut Option<BytePermit>,
    ) -> Result<usize, ConnectionLost> {
        let mut done = 0;
        for message in split_batch(body) {
            if self.outbox.len() >= self.settings.max_buffered {
                break;
            }
            let message = message.map_err(|error| ConnectionLost::Protocol(error.to_string()))?;
            let part = memory.as_mut().map(|memory| memory.split(message.len()));
            self.handle_message(message, false, part, None)?;
            done += BATCH_PREFIX_LEN + message.len();
        }
        Ok(done)
    }

    fn handle_message(
        &mut self,
        body: &[u8],
        watched: bool,
        memory: Option<BytePermit>,
        metadata: Option<Arc<Metadata>>,
    ) -> Result<(), ConnectionLost> {
        match ClientMessage::parse(body) {
            Ok(ClientMessage::Request {
                envelope,
                id,
                message,
            }) => self.begin(IncomingCall {
                id: Some(id),
                envelope,
                message,
                wants_progress: watched,
                memory,
                session: None,
                metadata,
            }),
            Ok(ClientMessage::Cancel { id }) => self.calls.lock().cancel(id),
            Err(error) => return Err(ConnectionLost::Protocol(error.to_string())),
        }
        Ok(())
    }

    /// Begins a session, or refuses it.
    fn begin_session(&mut self, body: &[u8]) -> Result<(), ConnectionLost> {
        let id: SessionId =
            codec::decode(body).map_err(|error| ConnectionLost::Protocol(error.to_string()))?;
        let limits = self.session_limits;
        let sessions = self
            .sessions
            .get_or_insert_with(|| Box::new(Sessions::new(limits.clone())));
        let begun = match self.draining {
            true => Err(draining()),
            false => sessions
                .begin(id.session, &self.scope.caller, self.now)
                .map_err(ConnectionLost::Protocol)?,
        };
        let answer = SessionAnswer {
            session: id.session,
            refusal: begun.err(),
        };
        // It is our own short message: it can be neither too large nor unencodable.
        let _ = self
            .outbox
            .push_frame(FrameKind::Session, &answer, usize::MAX);
        Ok(())
    }

    /// Handles a call within a session.
    fn handle_session_call(
        &mut self,
        body: &[u8],
        memory: Option<BytePermit>,
        metadata: Option<Arc<Metadata>>,
    ) -> Result<(), ConnectionLost> {
        let protocol = |what: String| ConnectionLost::Protocol(what);
        let (session, message) = body
            .split_first_chunk::<SESSION_LEN>()
            .ok_or_else(|| protocol("a call of a session is cut short".to_owned()))?;
        let parsed = ClientMessage::parse(message).map_err(|error| protocol(error.to_string()))?;
        let ClientMessage::Request {
            envelope,
            id,
            message,
        } = parsed
        else {
            return Err(protocol(
                "a call of a session cannot be a cancel".to_owned(),
            ));
        };
        let Some(sessions) = self.sessions else {
            return Err(protocol(
                "a call of a session, although there is none".to_owned(),
            ));
        };
        match sessions.begin_call(u64::from_le_bytes(*session)) {
            Ok(session) => self.begin(IncomingCall {
                id: Some(id),
                envelope,
                message,
                wants_progress: false,
                memory,
                session: Some(session),
                metadata,
            }),
            Err(lost) => self.fail(Some(id), CallFailure::Refused(lost)),
        }
        Ok(())
    }

    /// The streams of a connection on which a frame of a stream has arrived.
    fn streams(&self) -> Result<&Arc<StreamTable>, ConnectionLost> {
        let what = "a frame of a stream, although there is no stream";
        let streams = self.calls.known_streams();
        streams.ok_or_else(|| ConnectionLost::Protocol(what.to_owned()))
    }

    /// The callbacks of a connection on which an answer of one has arrived.
    fn callbacks(&self) -> Result<&Arc<PeerCallbacks>, ConnectionLost> {
        let what = "an answer of a callback, although there is none";
        let callbacks = self.calls.known_callbacks();
        callbacks.ok_or_else(|| ConnectionLost::Protocol(what.to_owned()))
    }

    fn handle_items(&self, body: &[u8], memory: Option<BytePermit>) -> Result<(), ConnectionLost> {
        self.streams()?.on_items(body, |size| match memory {
            Some(memory) => Some(Some(memory)),
            None => self.memory.try_take_small(size).map(Some),
        })
    }

    /// Refuses a call, breaks a stream or ends a callback that was skipped because there was no memory for it.
    pub(in crate::channel::server) fn refuse(&mut self, kind: FrameKind, envelope: &[u8]) {
        if kind == FrameKind::Callback {
            if let Some(callbacks) = self.calls.known_callbacks() {
                callbacks.refuse_answer(envelope);
            }
            return;
        }
        if kind == FrameKind::StreamItems {
            if let Some(streams) = self.calls.known_streams() {
                streams.refuse_items(envelope);
            }
            return;
        }
        let envelope = match kind {
            FrameKind::SessionCall => envelope.get(SESSION_LEN..).unwrap_or_default(),
            _ => envelope,
        };
        if let Ok(ClientMessage::Request { id, .. }) = ClientMessage::parse(envelope) {
            let refusal = no_memory(self.memory);
            self.fail(Some(id), CallFailure::Refused(refusal));
        }
    }
}
