//! The server side of a channel: reads calls, runs their methods, writes the answers.
//!
//! A method's future is first polled on the connection's task. Most methods complete then, and their answers
//! leave together in one write. A method that has to wait becomes a task of its own.

use super::{
    busy_poll::BusyPoll,
    error::ConnectionLost,
    intake::{Intake, IntakeDecision},
    link::{Link, MAX_KEPT_SERVER_BUFFER},
    liveness::{Liveness, LivenessDecision},
    outbox::Outbox,
    server_calls::{ServerCalls, push_failure},
    server_start::{CallStarter, FutureSlot, deadline_passed},
    settings::Settings,
    translation::{Translation, translate},
    unread_answers::UnreadAnswers,
};
use crate::{
    byte_budget::{ByteBudget, BytePermit},
    codec::splice,
    message::{GoAway, LARGE_MESSAGE, Load, Refusal},
    scope::{AnswerQueue, Caller, Scope},
    wire::FrameKind,
};
use bytes::{Buf, Bytes};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tarpc::{ServerError, context};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Answers requests.
pub trait Dispatch: Send + Sync + 'static {
    /// The type of requests.
    type Request: DeserializeOwned + Send + 'static;
    /// The type of responses.
    type Response: Serialize + Send + Sync + 'static;

    /// The large parts of a response, which are sent without a copy. The default has none.
    fn parts(_: &Self::Response) -> Vec<&[u8]> {
        Vec::new()
    }

    /// Answers one request. The future's first poll happens on the connection's task.
    fn dispatch(
        self: Arc<Self>,
        context: context::Context,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, CallFailure>> + Send + 'static;

    /// Answers one request that arrives in another form. Reading the call and writing its answer are part of
    /// this; slow reading or writing never runs on a thread of the runtime.
    fn dispatch_translated<T>(
        self: Arc<Self>,
        context: context::Context,
        call: T,
    ) -> impl Future<Output = Result<T::Answer, CallFailure>> + Send + 'static
    where
        T: Translation<Self::Request, Self::Response>,
    {
        translate(call, move |request| self.dispatch(context, request))
    }
}

/// Why a request has no response.
#[derive(Clone, Debug)]
pub enum CallFailure {
    /// It was refused before it ran.
    Refused(Refusal),
    /// It started, and failed with an error that is not of its own error type.
    Failed(ServerError),
}

/// The context of a server's connection.
#[derive(Clone)]
pub struct ConnectionContext {
    /// The limits of the channel.
    pub settings: Settings,
    /// The peer.
    pub caller: Arc<Caller>,
    /// Once cancelled, new calls are refused, and the connection ends with the last pending call.
    pub drain: CancellationToken,
    /// The memory for large messages, which all connections of a process share: for requests that are being
    /// read or run, and for answers that are not written yet. Answers may take as much again as requests.
    pub memory: ByteBudget,
    /// Returns the worker's load for reports to the client, if the host reports it.
    pub load: Option<Arc<dyn Fn() -> Load + Send + Sync>>,
    /// Handles a new credential, where authentication is on.
    pub renew: Option<RenewHandler>,
}

/// Handles a new credential of the peer.
pub type RenewHandler = Arc<dyn Fn(&[u8]) + Send + Sync>;

impl fmt::Debug for ConnectionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// The shortest time between two load reports on a connection.
const LOAD_INTERVAL: Duration = Duration::from_millis(100);

/// During a drain, an idle client has this long to close the connection itself, so that a call that is
/// already on its way is not lost.
const DRAIN_LINGER: Duration = Duration::from_secs(1);

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
    session: ConnectionContext,
    scope: Scope,
    template: context::Context,
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
    B: Fn(Arc<D>, context::Context, D::Request) -> F,
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
            batch: Bytes::new(),
            batch_memory: None,
            intake: Intake::new(session.memory.clone()),
            unwritten: session.memory.take_over_limit(0),
            written: 0,
            unread_answers: None,
            scope: Scope {
                caller: Arc::clone(&session.caller),
                answers: AnswerQueue::new(&calls),
                ..Scope::default()
            },
            calls,
            template: context::current(),
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
        if !self.link.is_mid_message() && self.calls.lock().pending.is_empty() {
            self.spin.wait(Instant::now(), context);
        }
        Ok(Poll::Pending)
    }

    /// Registers for the answers of calls that run in their own tasks. Returns whether it yielded, to let
    /// more of them finish first.
    fn collect(&mut self, context: &mut Context<'_>) -> bool {
        let mut state = self.calls.lock();
        if !self.gathered && !state.outbox.is_empty() && state.pending.len() > 1 {
            self.gathered = true;
            context.waker().wake_by_ref();
            return true;
        }
        self.gathered = false;
        state.server = Some(context.waker().clone());
        false
    }

    /// Moves the answers of tasks to the link, unless earlier ones are not written yet: waiting answers stay
    /// where they are counted. Returns whether there were any.
    fn take_finished(&mut self) -> bool {
        if self.link.has_unwritten() {
            return false;
        }
        let mut state = self.calls.lock();
        if !state.reports.is_empty() {
            state.push_reports(Instant::now());
        }
        if state.outbox.is_empty() {
            return false;
        }
        self.link.take(&mut state.outbox);
        drop(state);
        self.calls.wake_waiting_answers();
        true
    }

    /// Whether reading has to wait. Running calls do not stop it, because cancel messages and pings must get
    /// through. One-way calls do, because there is no other way to slow their sender down.
    fn is_full(&mut self) -> bool {
        if self.calls.is_full_of_one_way() {
            // The peer is silent because this side does not read.
            self.liveness.on_activity(Instant::now());
            return true;
        }
        self.link.has_unwritten()
    }

    /// Counts unwritten answers against the memory for messages, unless they are small.
    fn count_unwritten(&mut self) {
        let reserved = self.link.reserved() + self.outbox.reserved() + self.calls.reserved();
        if reserved == 0 || !self.link.has_unwritten() {
            self.unread_answers = None;
        } else if self.unread_answers.is_none() {
            self.unread_answers = Some(UnreadAnswers::new(self.written, Instant::now()));
        }
        let encoded = self.link.unwritten() + self.outbox.len() + self.calls.lock().outbox.len();
        let encoded = encoded.saturating_sub(reserved);
        let counted = if encoded < LARGE_MESSAGE { 0 } else { encoded };
        if counted != self.unwritten.bytes() {
            self.unwritten.resize(counted);
        }
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        loop {
            if self.take_finished() || !self.outbox.is_empty() {
                self.report_load();
            }
            self.link.take(&mut self.outbox);
            if !self.link.has_unwritten() {
                return Ok(());
            }
            let written = self.link.write_some(context);
            self.written = self.written.saturating_add(written.bytes);
            self.last_activity = Instant::now();
            if written.proves_life {
                self.liveness.on_activity(self.last_activity);
            }
            if let Some(error) = written.error {
                return Err(error.into());
            }
            if self.link.has_unwritten() {
                return Ok(());
            }
        }
    }

    /// Adds a load report to the answers that are about to be written, if the load changed and
    /// [`LOAD_INTERVAL`] has passed.
    fn report_load(&mut self) {
        let Some(load) = &self.session.load else {
            return;
        };
        let now = Instant::now();
        let (last, at) = self.reported_load;
        if now < at + LOAD_INTERVAL {
            return;
        }
        let load = load();
        self.reported_load = (load, now);
        let same = (load.in_flight, load.queue) == (last.in_flight, last.queue);
        if !same {
            self.push(FrameKind::Load, &load);
        }
    }

    /// Queues one of our own frames, which can be neither too large nor unencodable.
    fn push<T: Serialize>(&mut self, kind: FrameKind, body: &T) {
        let _ = self.outbox.push_frame(kind, body, usize::MAX);
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
                batch: &mut self.batch,
                batch_memory: &mut self.batch_memory,
                memory: &self.session.memory,
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
                    if !self.link.skip_bytes(|envelope| starter.refuse(envelope)) {
                        return Ok(false);
                    }
                    continue;
                }
                match self.intake.admit(self.link.large_header(), context) {
                    IntakeDecision::Read => {}
                    IntakeDecision::Wait => return Ok(false),
                    IntakeDecision::Refuse => {
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

    /// Handles deadlines and keepalive.
    fn tick(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        loop {
            let now = Instant::now();
            let (busy, earliest, report) = {
                let state = self.calls.lock();
                // Reports wait while the link has unwritten bytes.
                let waits = !state.reports.is_empty() && !self.link.has_unwritten();
                let report = waits.then(|| state.reports.next_due(now)).flatten();
                (!state.pending.is_empty(), state.earliest_deadline, report)
            };
            self.liveness.set_busy(busy, now);
            let unread = self.unread_answers.as_ref().map(UnreadAnswers::next_check);
            let intake = self.intake.deadline();
            let wanted = [earliest, report, self.hang_up_at(), intake, unread]
                .into_iter()
                .flatten()
                .fold(self.liveness.next_tick(), Instant::min);
            if wanted < self.timer.deadline() {
                self.timer.as_mut().reset(wanted);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.on_timer(context)?;
        }
    }

    /// When to end the connection during a drain, if it is idle.
    fn hang_up_at(&self) -> Option<Instant> {
        if self.draining.is_some() || self.link.has_unwritten() {
            return None;
        }
        let state = self.calls.lock();
        let done = state.pending.is_empty() && state.outbox.is_empty();
        done.then(|| self.last_activity + DRAIN_LINGER)
    }

    fn on_timer(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        let now = Instant::now();
        if self.hang_up_at().is_some_and(|at| at <= now) {
            return Err(ConnectionLost::GoneAway);
        }
        if self.intake.is_too_slow(now) {
            let what = "a large message arrives too slowly, while others wait for its memory";
            return Err(ConnectionLost::Protocol(what.to_owned()));
        }
        if let Some(unread) = &mut self.unread_answers
            && unread.is_too_slow(self.written, now, self.session.memory.answer_budget())
        {
            let what = "answers are read too slowly, while others wait for their memory";
            return Err(ConnectionLost::Protocol(what.to_owned()));
        }
        let (overdue, earliest, idle) = {
            let mut state = self.calls.lock();
            let overdue = match state.earliest_deadline {
                Some(at) if at <= now => state.expire(now),
                _ => Vec::new(),
            };
            (overdue, state.earliest_deadline, state.pending.is_empty())
        };
        for id in overdue {
            push_failure(&mut self.outbox, id, deadline_passed(), usize::MAX);
        }
        let verdict = self.liveness.tick(now);
        match verdict {
            LivenessDecision::Dead(silence) => return Err(ConnectionLost::Silent(silence)),
            LivenessDecision::SendPing => self.outbox.push_raw_frame(FrameKind::Ping, &[]),
            LivenessDecision::Alive => {}
        }
        if idle {
            self.link.shrink();
        }
        let next = self.liveness.next_tick();
        self.timer
            .as_mut()
            .reset(earliest.map_or(next, |deadline| deadline.min(next)));
        self.write(context)
    }
}

impl<S, D, B, F> Future for ServerConnection<S, D, B, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch,
    B: Fn(Arc<D>, context::Context, D::Request) -> F + Unpin,
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
    }
}
