//! The server side of a channel: reads calls, runs their methods, writes the answers.
//!
//! A method's future is first polled on the connection's task. Most methods complete then, and their answers
//! leave together in one write. A method that has to wait becomes a task of its own.

mod answers;
mod callbacks;
mod calls;
mod context;
mod dispatch;
mod future_slot;
mod intake;
mod not_run;
mod progress;
mod response;
mod sessions;
mod start;
mod timers;
mod translation;
mod unread_answers;
mod writing;

pub use context::{ConnectionContext, RenewHandler};
pub use dispatch::Dispatch;
pub use translation::{Translation, TranslationFailure};

use super::{
    busy_poll::BusyPoll,
    error::{CallFailure, ConnectionLost},
    link::{Link, MAX_KEPT_SERVER_BUFFER},
    liveness::Liveness,
    outbox::Outbox,
};
use crate::{
    byte_budget::BytePermit,
    codec::splice,
    message::{GoAway, Load},
    metadata::Metadata,
    scope::{AnswerQueue, Scope},
    wire::FrameKind,
};
use bytes::{Buf, Bytes};
use calls::ServerCalls;
use future_slot::FutureSlot;
use intake::{Intake, IntakeDecision};
use sessions::Sessions;
use start::CallStarter;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use unread_answers::UnreadAnswers;

/// Serves one connection after the hello, until it ends. Dropping the future ends it at once.
pub async fn serve<S, D>(stream: S, dispatch: Arc<D>, session: ConnectionContext) -> ConnectionLost
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    D: Dispatch,
{
    let start = |dispatch: Arc<D>, context, request| dispatch.dispatch(context, request);
    ServerConnection::new(stream, dispatch, start, session).await
}

/// How many calls are run before their answers are written. So the client can handle the first answers while
/// the server continues, and neither waits for the other to finish a long round.
const CALLS_PER_ROUND: usize = 32;

struct ServerConnection<S, D, B, F> {
    link: Link<S>,
    dispatch: Arc<D>,
    /// `D::dispatch`. It is stored because the type of its future has no name.
    start: B,
    slot: FutureSlot<F>,
    calls: Arc<ServerCalls>,
    /// Answers that are ready to be written.
    outbox: Outbox,
    /// The metadata of the next call.
    metadata: Option<Arc<Metadata>>,
    /// The rest of a batch for whose answers there was no buffer space, and its memory.
    batch: Bytes,
    batch_memory: Option<BytePermit>,
    /// Memory for the next large message.
    intake: Intake,
    /// The memory of answers that are encoded, not written yet, and without a reservation.
    unwritten: BytePermit,
    /// How many bytes were ever written.
    written: u64,
    /// Tracks answers with reserved memory that the peer has not read yet.
    unread_answers: Option<UnreadAnswers>,
    /// The sessions, once there was one.
    sessions: Option<Box<Sessions>>,
    session: ConnectionContext,
    scope: Scope,
    template: tarpc::context::Context,
    liveness: Liveness,
    timer: Pin<Box<Sleep>>,
    draining: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    gathered: bool,
    spin: BusyPoll,
    reported_load: (Load, Instant),
    /// When bytes were last received or written.
    last_activity: Instant,
}

impl<S, D, B, F> ServerConnection<S, D, B, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch,
    B: Fn(Arc<D>, tarpc::context::Context, D::Request) -> F,
    F: Future<Output = Result<D::Response, CallFailure>> + Send + 'static,
{
    fn new(stream: S, dispatch: Arc<D>, start: B, session: ConnectionContext) -> Self {
        let now = Instant::now();
        let liveness = Liveness::new(session.settings.keepalive, now);
        let calls = ServerCalls::new(session.settings, session.memory.clone());
        Self {
            link: Link::new(stream, session.settings.max_receive, MAX_KEPT_SERVER_BUFFER),
            dispatch,
            start,
            slot: FutureSlot::new(),
            outbox: Outbox::default(),
            metadata: None,
            batch: Bytes::new(),
            batch_memory: None,
            intake: Intake::new(session.memory.clone()),
            unwritten: session.memory.take_over_limit(0),
            written: 0,
            unread_answers: None,
            sessions: None,
            scope: Scope {
                caller: Arc::clone(&session.caller),
                answers: AnswerQueue::new(&calls),
                ..Scope::default()
            },
            calls,
            template: tarpc::context::current(),
            timer: Box::pin(sleep_until(liveness.next_tick())),
            liveness,
            draining: Some(Box::pin(session.drain.clone().cancelled_owned())),
            gathered: false,
            spin: BusyPoll::new(session.settings.busy_poll),
            reported_load: (Load::default(), now),
            last_activity: now,
            session,
        }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, ConnectionLost> {
        self.link.begin_turn();
        if let Some(draining) = &mut self.draining
            && draining.as_mut().poll(context).is_ready()
        {
            self.draining = None;
            self.push(FrameKind::GoAway, &GoAway::Draining);
        }
        if self.collect(context) {
            return Ok(Poll::Pending);
        }
        loop {
            let more = self.receive(context)?;
            self.write(context)?;
            if self.is_full() || self.intake.is_waiting() {
                break;
            }
            if more {
                continue;
            }
            match self.link.poll_read(context) {
                Poll::Ready(Ok(0)) => return Err(ConnectionLost::Closed),
                Poll::Ready(Ok(_)) => {
                    self.last_activity = Instant::now();
                    self.liveness.on_activity(self.last_activity);
                    self.spin.on_received(self.last_activity);
                }
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Pending => break,
            }
        }
        self.count_unwritten();
        self.tick(context)?;
        if self.link.end_turn(context) {
            return Ok(Poll::Pending);
        }
        // Busy polling is of no use otherwise: running calls and unwritten answers wake this task.
        let is_idle = self.calls.lock().pending.is_empty() && self.calls.open_streams() == 0;
        if !self.link.is_mid_message() && is_idle {
            self.spin.wait(Instant::now(), context);
        }
        Ok(Poll::Pending)
    }

    /// Handles the frames that were read. Returns whether some are left until after the next write.
    fn receive(&mut self, context: &mut Context<'_>) -> Result<bool, ConnectionLost> {
        let scope = self.scope.clone();
        scope.enter(|| {
            let mut starter = CallStarter {
                dispatch: &self.dispatch,
                start: &self.start,
                slot: &mut self.slot,
                calls: &self.calls,
                outbox: &mut self.outbox,
                settings: &self.session.settings,
                renew: self.session.renew.as_ref(),
                scope: &self.scope,
                template: &self.template,
                interface_version: self.session.interface_version,
                metadata: &mut self.metadata,
                batch: &mut self.batch,
                batch_memory: &mut self.batch_memory,
                memory: &self.session.memory,
                sessions: &mut self.sessions,
                session_limits: &self.session.sessions,
                draining: self.draining.is_none(),
                now: Instant::now(),
            };
            if !starter.batch.is_empty() {
                let mut batch = std::mem::take(starter.batch);
                let mut memory = starter.batch_memory.take();
                let done = splice::sharing(&batch, || starter.handle_batch(&batch, &mut memory))?;
                batch.advance(done);
                if !batch.is_empty() {
                    *starter.batch_memory = memory;
                }
                *starter.batch = batch;
            }
            for _ in 0..CALLS_PER_ROUND {
                if starter.outbox.len() >= self.session.settings.max_buffered {
                    return Ok(true);
                }
                if self.link.is_skipping() {
                    if !self
                        .link
                        .skip_bytes(|kind, envelope| starter.refuse(kind, envelope))
                    {
                        return Ok(false);
                    }
                    continue;
                }
                let large = self.link.large_header();
                if large.is_some_and(|header| header.kind == FrameKind::Metadata) {
                    let what = "the metadata of a call is longer than it may be".to_owned();
                    return Err(ConnectionLost::Protocol(what));
                }
                match self.intake.admit(large, context) {
                    IntakeDecision::Read => {}
                    IntakeDecision::Wait => return Ok(false),
                    IntakeDecision::Refuse => {
                        // It was that of the call that is skipped.
                        *starter.metadata = None;
                        self.link.begin_skip();
                        continue;
                    }
                }
                match self.link.next_frame() {
                    Ok(Some((kind, body))) => {
                        let memory = self.intake.take();
                        body.read(|body| starter.handle(kind, body, memory))?;
                    }
                    Ok(None) => return Ok(false),
                    Err(error) => return Err(ConnectionLost::Protocol(error.to_string())),
                }
            }
            Ok(true)
        })
    }
}

impl<S, D, B, F> Future for ServerConnection<S, D, B, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch,
    B: Fn(Arc<D>, tarpc::context::Context, D::Request) -> F + Unpin,
    F: Future<Output = Result<D::Response, CallFailure>> + Send + 'static,
{
    type Output = ConnectionLost;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ConnectionLost> {
        let this = self.get_mut();
        let reason = match this.turn(context) {
            Ok(_) => return Poll::Pending,
            Err(reason) => reason,
        };
        if let ConnectionLost::Protocol(sentence) = &reason {
            this.push(FrameKind::GoAway, &GoAway::ProtocolError(sentence.clone()));
            // The connection ends in any case; the message is best effort.
            let _ = this.write(context);
        }
        let _ = this.link.poll_shutdown(context);
        Poll::Ready(reason)
    }
}

impl<S, D, B, F> Drop for ServerConnection<S, D, B, F> {
    /// The connection is gone: abort the running calls.
    fn drop(&mut self) {
        self.calls.lock().abort_all();
        if let Some(streams) = self.calls.known_streams() {
            streams.break_all(&ConnectionLost::Closed);
        }
        if let Some(callbacks) = self.calls.known_callbacks() {
            callbacks.lose(&ConnectionLost::Closed);
        }
    }
}
