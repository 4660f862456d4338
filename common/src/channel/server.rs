//! The server's end of a channel: reads calls, runs their methods, writes the answers.
//!
//! A method's future is polled once in place. Most are done then, and their answers leave together
//! in one write; one that has to wait becomes a task of its own.

use super::{
    error::ConnectionLost,
    link::Link,
    liveness::{Liveness, Verdict},
    outbox::Outbox,
    server_calls::{Pending, ServerCalls, push_answer},
    settings::Settings,
};
use crate::{
    codec,
    envelope::{ClientMessage, Envelope},
    frame::split_batch,
    interfaces::directory::Load,
    message::{GoAway, Refusal, RefusalReason},
    scope::{Caller, Scope},
    wire::FrameKind,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    any::Any,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tarpc::{ServerError, context};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until, timeout_at},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Answers requests.
pub trait Dispatch: Send + Sync + 'static {
    /// What is asked.
    type Request: DeserializeOwned + Send + 'static;
    /// What is answered.
    type Response: Serialize + Send + 'static;

    /// Answers one request. The future's first poll happens on the connection's task.
    fn dispatch(
        self: Arc<Self>,
        context: context::Context,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Response, Unanswered>> + Send + 'static;
}

/// Why a request has no answer.
#[derive(Clone, Debug)]
pub enum Unanswered {
    /// It was refused before it ran.
    Refused(Refusal),
    /// It started, and failed outside of its own error type.
    Failed(ServerError),
}

/// The surroundings of a server's connection.
#[derive(Clone)]
pub struct Session {
    /// The bounds of the channel.
    pub settings: Settings,
    /// Who is at the other end.
    pub caller: Arc<Caller>,
    /// Once cancelled, new calls are refused and the connection ends with the last pending one.
    pub drain: CancellationToken,
    /// What to report of the worker's load, if anything.
    pub load: Option<Arc<dyn Fn() -> Load + Send + Sync>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// The load is reported on a connection in use at most this often.
const LOAD_INTERVAL: Duration = Duration::from_millis(100);

/// Serves one connection, on which the hello is done, until it ends. Dropping the future ends it
/// at once.
pub async fn serve<S, D>(stream: S, dispatch: Arc<D>, session: Session) -> ConnectionLost
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    D: Dispatch,
{
    let start = |dispatch: Arc<D>, context, request| dispatch.dispatch(context, request);
    Server::new(stream, dispatch, start, session).await
}

struct Server<S, D, B, F> {
    link: Link<S>,
    dispatch: Arc<D>,
    /// `D::dispatch`, whose future's type has no name.
    start: B,
    /// Where a method's future is polled in place; reused until one has to wait.
    slot: Pin<Box<Option<F>>>,
    calls: Arc<ServerCalls>,
    /// Answers that are ready.
    outbox: Outbox,
    session: Session,
    scope: Scope,
    template: context::Context,
    liveness: Liveness,
    timer: Pin<Box<Sleep>>,
    draining: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    gathered: bool,
    reported: (Load, Instant),
}

/// A call to start: its number, context and message.
struct Call<'a> {
    id: Option<u64>,
    envelope: Envelope,
    message: &'a [u8],
}

impl<S, D, B, F> Server<S, D, B, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch,
    B: Fn(Arc<D>, context::Context, D::Request) -> F,
    F: Future<Output = Result<D::Response, Unanswered>> + Send + 'static,
{
    fn new(stream: S, dispatch: Arc<D>, start: B, session: Session) -> Self {
        let now = Instant::now();
        let liveness = Liveness::new(session.settings.patience, now);
        Self {
            link: Link::new(stream, session.settings.max_receive),
            dispatch,
            start,
            slot: Box::pin(None),
            calls: ServerCalls::new(session.settings),
            outbox: Outbox::default(),
            scope: Scope {
                caller: Arc::clone(&session.caller),
                ..Scope::default()
            },
            template: context::current(),
            timer: Box::pin(sleep_until(liveness.next_tick())),
            liveness,
            draining: Some(Box::pin(session.drain.clone().cancelled_owned())),
            gathered: false,
            reported: (Load::default(), now),
            session,
        }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, ConnectionLost> {
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
            let more = self.receive()?;
            self.write(context)?;
            if self.is_full() {
                break;
            }
            if more {
                continue;
            }
            match self.link.poll_read(context) {
                Poll::Ready(Ok(0)) => return Err(ConnectionLost::Closed),
                Poll::Ready(Ok(_)) => self.liveness.sign_of_life(Instant::now()),
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Pending => break,
            }
        }
        self.tick(context)?;
        Ok(Poll::Pending)
    }

    /// Takes the answers of calls that ran in their own tasks. Returns whether it stood back to let
    /// more of them finish first.
    fn collect(&mut self, context: &mut Context<'_>) -> bool {
        let mut state = self.calls.lock();
        if !self.gathered && !state.outbox.is_empty() && state.pending.len() > 1 {
            self.gathered = true;
            context.waker().wake_by_ref();
            return true;
        }
        self.gathered = false;
        let emptied = !state.outbox.is_empty();
        self.link.take(&mut state.outbox);
        state.server = Some(context.waker().clone());
        drop(state);
        if emptied {
            self.calls.note_emptied();
        }
        false
    }

    /// Whether more calls must wait until answers have left.
    fn is_full(&self) -> bool {
        self.link.has_unwritten()
            || self.calls.lock().pending.len() >= self.session.settings.max_in_flight
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        self.report_load();
        self.link.take(&mut self.outbox);
        if self.link.has_unwritten() {
            let written = self.link.write_some(context)?;
            if written.proves_life {
                self.liveness.sign_of_life(Instant::now());
            }
        }
        Ok(())
    }

    /// Adds the worker's load to answers that leave, if it changed and enough time has passed.
    fn report_load(&mut self) {
        let Some(load) = &self.session.load else {
            return;
        };
        if self.outbox.is_empty() {
            return;
        }
        let now = Instant::now();
        let (last, at) = self.reported;
        if now < at + LOAD_INTERVAL {
            return;
        }
        let load = load();
        self.reported = (load, now);
        let same = (load.in_flight, load.queue) == (last.in_flight, last.queue);
        if !same {
            self.push(FrameKind::Load, &load);
        }
    }

    /// Queues a frame of ours, which can be neither too large nor unencodable.
    fn push<T: Serialize>(&mut self, kind: FrameKind, body: &T) {
        let _ = self.outbox.push_frame(kind, body, usize::MAX);
    }

    /// Handles frames that were read. Returns whether some are left for after the next write.
    fn receive(&mut self) -> Result<bool, ConnectionLost> {
        let scope = self.scope.clone();
        scope.enter(|| {
            let mut starter = Starter {
                dispatch: &self.dispatch,
                start: &self.start,
                slot: &mut self.slot,
                calls: &self.calls,
                outbox: &mut self.outbox,
                settings: &self.session.settings,
                scope: &self.scope,
                template: &self.template,
                draining: self.draining.is_none(),
                now: Instant::now(),
            };
            loop {
                if starter.outbox.len() >= self.session.settings.max_buffered {
                    return Ok(true);
                }
                match self.link.next_frame() {
                    Ok(Some((kind, body))) => body.read(|body| starter.handle(kind, body))?,
                    Ok(None) => return Ok(false),
                    Err(error) => return Err(ConnectionLost::Protocol(error.to_string())),
                }
            }
        })
    }

    /// Looks after deadlines and silence.
    fn tick(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        let (busy, earliest) = {
            let state = self.calls.lock();
            (!state.pending.is_empty(), state.earliest_deadline)
        };
        self.liveness.set_busy(busy, Instant::now());
        loop {
            let wanted = self.liveness.next_tick();
            let wanted = earliest.map_or(wanted, |deadline| deadline.min(wanted));
            if wanted < self.timer.deadline() {
                self.timer.as_mut().reset(wanted);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.on_timer(context)?;
        }
    }

    fn on_timer(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        let now = Instant::now();
        let (overdue, earliest, idle) = {
            let mut state = self.calls.lock();
            let overdue = match state.earliest_deadline {
                Some(at) if at <= now => state.expire(now),
                _ => Vec::new(),
            };
            (overdue, state.earliest_deadline, state.pending.is_empty())
        };
        for id in overdue {
            let answer = Err::<(), _>(Unanswered::Failed(deadline_passed()));
            push_answer(&mut self.outbox, id, answer, usize::MAX);
        }
        let verdict = self.liveness.tick(now);
        match verdict {
            Verdict::Dead(silence) => return Err(ConnectionLost::Silent(silence)),
            Verdict::SendPing => self.outbox.push_raw_frame(FrameKind::Ping, &[]),
            Verdict::Alive => {}
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

impl<S, D, B, F> Future for Server<S, D, B, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch,
    B: Fn(Arc<D>, context::Context, D::Request) -> F + Unpin,
    F: Future<Output = Result<D::Response, Unanswered>> + Send + 'static,
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
            // The connection ends either way; the sentence is a courtesy.
            let _ = this.write(context);
        }
        let _ = this.link.poll_shutdown(context);
        Poll::Ready(reason)
    }
}

impl<S, D, B, F> Drop for Server<S, D, B, F> {
    /// Nobody will read the answers: stop working on them.
    fn drop(&mut self) {
        self.calls.lock().abort_all();
    }
}

/// Starts the calls of a round of frames.
struct Starter<'a, D, B, F> {
    dispatch: &'a Arc<D>,
    start: &'a B,
    slot: &'a mut Pin<Box<Option<F>>>,
    calls: &'a Arc<ServerCalls>,
    outbox: &'a mut Outbox,
    settings: &'a Settings,
    scope: &'a Scope,
    template: &'a context::Context,
    draining: bool,
    now: Instant,
}

impl<D, B, F> Starter<'_, D, B, F>
where
    D: Dispatch,
    B: Fn(Arc<D>, context::Context, D::Request) -> F,
    F: Future<Output = Result<D::Response, Unanswered>> + Send + 'static,
{
    fn handle(&mut self, kind: FrameKind, body: &[u8]) -> Result<(), ConnectionLost> {
        let protocol = |what: &dyn fmt::Display| ConnectionLost::Protocol(what.to_string());
        match kind {
            FrameKind::Call => self.handle_message(body)?,
            FrameKind::Batch => {
                for message in split_batch(body) {
                    self.handle_message(message.map_err(|error| protocol(&error))?)?;
                }
            }
            FrameKind::OneWay => match ClientMessage::parse(body) {
                Ok(ClientMessage::Request {
                    envelope, message, ..
                }) => self.begin(&Call {
                    id: None,
                    envelope,
                    message,
                }),
                Ok(ClientMessage::Cancel { .. }) => {
                    return Err(protocol(&"a one-way call cannot be cancelled"));
                }
                Err(error) => return Err(protocol(&error)),
            },
            FrameKind::Ping => self.outbox.push_raw_frame(FrameKind::Pong, body),
            FrameKind::Pong => {}
            FrameKind::GoAway | FrameKind::Refused | FrameKind::Load => {
                return Err(protocol(&format_args!(
                    "a server received a {kind:?} frame"
                )));
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, body: &[u8]) -> Result<(), ConnectionLost> {
        match ClientMessage::parse(body) {
            Ok(ClientMessage::Request {
                envelope,
                id,
                message,
            }) => self.begin(&Call {
                id: Some(id),
                envelope,
                message,
            }),
            Ok(ClientMessage::Cancel { id }) => self.calls.lock().cancel(id),
            Err(error) => return Err(ConnectionLost::Protocol(error.to_string())),
        }
        Ok(())
    }

    fn begin(&mut self, call: &Call<'_>) {
        if self.draining {
            return self.answer(call.id, Err(Unanswered::Refused(draining())));
        }
        if call.envelope.deadline.is_zero() {
            return self.answer(call.id, Err(Unanswered::Failed(deadline_passed())));
        }
        let request = match codec::decode::<D::Request>(call.message) {
            Ok(request) => request,
            Err(error) => {
                let detail = format!("the request cannot be decoded: {error}");
                let error = ServerError::new(io::ErrorKind::InvalidData, detail);
                return self.answer(call.id, Err(Unanswered::Failed(error)));
            }
        };
        let context = call.envelope.to_context(self.template, self.now);
        let begun = catch_unwind(AssertUnwindSafe(|| {
            let future = (self.start)(Arc::clone(self.dispatch), context, request);
            self.slot.set(Some(future));
        }));
        if let Err(panic) = begun {
            return self.answer(call.id, Err(panicked(&*panic)));
        }
        // A future that has to wait is polled again by its own task, with that task's waker.
        match poll_caught(self.slot, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => {
                self.answer(call.id, answer);
                // Some futures hold resources until they are dropped.
                self.slot.set(None);
            }
            Poll::Pending => self.spawn(call.id, Instant::from_std(context.deadline)),
        }
    }

    fn answer(&mut self, id: Option<u64>, answer: Result<D::Response, Unanswered>) {
        if let Some(id) = id {
            push_answer(self.outbox, id, answer, self.settings.max_send);
        }
    }

    /// Gives the future in the slot a task of its own.
    fn spawn(&mut self, id: Option<u64>, deadline: Instant) {
        let slot = std::mem::replace(self.slot, Box::pin(None));
        let future = self.scope.clone().wrap(Caught(slot));
        let Some(id) = id else {
            // Nobody can cancel a one-way call, and it outlives its connection.
            tokio::spawn(timeout_at(deadline, async {
                let _unwanted: Result<D::Response, Unanswered> = future.await;
            }));
            return;
        };
        let calls = Arc::clone(self.calls);
        let mut state = self.calls.lock();
        let task = tokio::spawn(async move {
            let answer = future.await;
            calls.finish(id, answer).await;
        });
        state.insert(
            id,
            Pending {
                task: task.abort_handle(),
                deadline,
            },
        );
    }
}

/// A method's future that answers an error if the method panics.
struct Caught<F>(Pin<Box<Option<F>>>);

impl<F, R> Future for Caught<F>
where
    F: Future<Output = Result<R, Unanswered>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        poll_caught(&mut self.get_mut().0, context)
    }
}

fn poll_caught<F, R>(
    slot: &mut Pin<Box<Option<F>>>,
    context: &mut Context<'_>,
) -> Poll<Result<R, Unanswered>>
where
    F: Future<Output = Result<R, Unanswered>>,
{
    let Some(future) = slot.as_mut().as_pin_mut() else {
        return Poll::Pending;
    };
    catch_unwind(AssertUnwindSafe(|| future.poll(context)))
        .unwrap_or_else(|panic| Poll::Ready(Err(panicked(&*panic))))
}

fn panicked(panic: &(dyn Any + Send)) -> Unanswered {
    let what = panic
        .downcast_ref::<&str>()
        .map(|what| (*what).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    let detail = match what {
        Some(what) => format!("the method panicked: {what}"),
        None => "the method panicked".to_owned(),
    };
    Unanswered::Failed(ServerError::new(io::ErrorKind::Other, detail))
}

fn deadline_passed() -> ServerError {
    let detail = "the deadline passed".to_owned();
    ServerError::new(io::ErrorKind::TimedOut, detail)
}

fn draining() -> Refusal {
    Refusal {
        reason: RefusalReason::Draining,
        retry_after_ms: 0,
        sentence: "the worker is about to stop".to_owned(),
    }
}
