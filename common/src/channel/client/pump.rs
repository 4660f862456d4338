//! The task that serves a client's connection: it writes the queued calls, and distributes the answers.

use super::state::{ClientConnectionShared, ClientConnectionState, ConnectionPhase};
use crate::{
    channel::{
        busy_poll::BusyPoll,
        callbacks::AnswerSink,
        error::{AttemptError, ConnectionLost},
        link::{Link, MAX_KEPT_BUFFER},
        liveness::{Liveness, LivenessDecision},
        settings::Settings,
        streams::{StreamTable, receiving},
    },
    codec,
    message::{CallProgress, GoAway, Load, RefusedCall, SessionAnswer},
    scope,
    wire::FrameKind,
};
use serde::de::DeserializeOwned;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tarpc::{Response, ServerError, trace};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};

/// How often the pump yields before it writes, while more calls are being queued.
const MAX_GATHER_ROUNDS: u32 = 4;

/// While more bytes than this are not written yet, those of streams wait.
const MAX_BEFORE_STREAMS: usize = 64 * 1024;

pub(super) struct Pump<S, R> {
    link: Link<S>,
    shared: Arc<ClientConnectionShared<R>>,
    liveness: Liveness,
    /// See [`Settings::max_buffered`].
    max_buffered: u64,
    timer: Pin<Box<Sleep>>,
    /// How often this round has yielded before writing, and how many bytes were queued then.
    gathers: u32,
    gathered_bytes: usize,
    spin: BusyPoll,
    /// The answers of one round. The vector is reused, to save allocations.
    answers: Vec<(u64, Result<R, AttemptError>)>,
    wakers: Vec<Waker>,
}

impl<S, R> Pump<S, R>
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: DeserializeOwned + Send + 'static,
{
    pub(super) fn new(
        stream: S,
        shared: Arc<ClientConnectionShared<R>>,
        settings: Settings,
    ) -> Self {
        let now = Instant::now();
        let liveness = Liveness::new(settings.keepalive, now);
        Self {
            link: Link::new(stream, settings.max_receive, MAX_KEPT_BUFFER),
            timer: Box::pin(sleep_until(liveness.next_tick())),
            liveness,
            max_buffered: settings.max_buffered as u64,
            shared,
            gathers: 0,
            gathered_bytes: 0,
            spin: BusyPoll::new(settings.busy_poll),
            answers: Vec::new(),
            wakers: Vec::new(),
        }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, ConnectionLost> {
        self.link.begin_turn();
        match self.write(context) {
            Ok(true) => return Ok(Poll::Pending),
            Ok(false) => self.read(context)?,
            Err(reason) => {
                // Frames that the peer sent before it closed the connection still count: answers, and the
                // reason why it left.
                if matches!(reason, ConnectionLost::Io(_)) {
                    self.link.read_to_the_end();
                    self.read(context)?;
                }
                return Err(reason);
            }
        }
        let busy = self.tick(context)?;
        let is_cut_short = self.link.end_turn(context);
        if !is_cut_short && !self.link.has_unwritten() && self.shared.has_stream_output() {
            // They came while others were being written, and nothing else wakes this task for them.
            context.waker().wake_by_ref();
        }
        if busy && !is_cut_short && !self.link.is_mid_message() {
            self.spin.wait(Instant::now(), context);
        }
        Ok(self.poll_end())
    }

    fn read(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        while let Poll::Ready(count) = self.link.poll_read(context) {
            let now = Instant::now();
            self.liveness.on_activity(now);
            self.spin.on_received(now);
            self.receive()?;
            if count? == 0 {
                return Err(ConnectionLost::Closed);
            }
        }
        Ok(())
    }

    /// Writes the queued bytes. Returns whether it yielded first, to let more calls be queued.
    fn write(&mut self, context: &mut Context<'_>) -> Result<bool, ConnectionLost> {
        {
            let mut state = self.shared.lock();
            if let ConnectionPhase::Lost(reason) = &state.phase {
                return Err(reason.clone());
            }
            // An empty outbox has not grown, so the pump never yields for it.
            if self.gathers < MAX_GATHER_ROUNDS
                && state.calls.waiting() > 1
                && state.outbox.len() > self.gathered_bytes
            {
                // Several callers are active. Let those that are ready to run queue their calls too: one
                // write for all of them costs no more than one for the first.
                self.gathers += 1;
                self.gathered_bytes = state.outbox.len();
                context.waker().wake_by_ref();
                return Ok(true);
            }
            self.gathers = 0;
            self.gathered_bytes = 0;
            self.link.take(&mut state.outbox);
            state.pump = Some(context.waker().clone());
            take_streams(&self.shared, &mut self.link, &mut state, context);
        }
        if self.link.has_unwritten() {
            let written = self.link.write_some(context);
            if written.proves_life {
                self.liveness.on_activity(Instant::now());
            }
            self.note_written(written.bytes);
            if let Some(error) = written.error {
                return Err(error.into());
            }
        }
        Ok(false)
    }

    fn note_written(&self, bytes: u64) {
        let mut state = self.shared.lock();
        state.written += bytes;
        while let Some(first) = state.on_written.front()
            && first.end <= state.written
        {
            if let Some(notify) = state.on_written.pop_front().and_then(|entry| entry.notify) {
                // The caller of a one-way call may have stopped waiting.
                let _ = notify.send(());
            }
        }
        let has_room = state.unwritten() < self.max_buffered;
        drop(state);
        if has_room && let Some(callbacks) = self.shared.callbacks.get() {
            callbacks.on_room();
        }
    }

    /// Handles the frames that were read.
    fn receive(&mut self) -> Result<(), ConnectionLost> {
        let mut news = ReceivedFrames::default();
        let taken_in = self.take_in(&mut news);
        // Answers that arrived before an invalid frame are still delivered.
        self.deliver(news)?;
        taken_in
    }

    fn take_in(&mut self, news: &mut ReceivedFrames) -> Result<(), ConnectionLost> {
        while let Some((kind, body)) = self.link.next_frame().map_err(protocol)? {
            body.read(|body| news.take_in(kind, body, &mut self.answers, &self.shared))?;
        }
        Ok(())
    }

    fn deliver(&mut self, news: ReceivedFrames) -> Result<(), ConnectionLost> {
        let mut state = self.shared.lock();
        let mut heard = Vec::new();
        for CallProgress {
            request_id,
            progress,
        } in news.progress
        {
            // Progress from a peer is clamped to the same bounds as our own.
            let progress = scope::clamp_progress(progress.fraction, progress.note);
            heard.extend(state.calls.listener(request_id).zip(progress));
        }
        for (id, answer) in self.answers.drain(..) {
            self.wakers.extend(state.calls.complete(id, answer));
        }
        for answer in news.sessions {
            state.sessions.answer(answer);
        }
        if news.load.is_some() {
            state.load = news.load;
        }
        for pong in &news.pongs {
            // A peer that sends pings but never reads must not fill this side's memory.
            if state.unwritten() < self.max_buffered {
                state.outbox.push_raw_frame(FrameKind::Pong, pong);
            }
        }
        if !news.pongs.is_empty()
            && let Some(pump) = state.pump.take()
        {
            self.wakers.push(pump);
        }
        if news.go_away == Some(GoAway::Draining) && matches!(state.phase, ConnectionPhase::Open) {
            state.close_to_calls(ConnectionPhase::GoingAway);
        }
        drop(state);
        for (listener, progress) in heard {
            listener.send_replace(Some(progress));
        }
        self.wake_callers();
        match news.go_away {
            Some(GoAway::ProtocolError(sentence)) => Err(ConnectionLost::Rejected(sentence)),
            Some(GoAway::Draining) | None => Ok(()),
        }
    }

    fn wake_callers(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    /// Handles deadlines and keepalive. Returns whether calls await answers.
    fn tick(&mut self, context: &mut Context<'_>) -> Result<bool, ConnectionLost> {
        loop {
            let (busy, earliest, doubted) = {
                let mut state = self.shared.lock();
                let doubted = std::mem::take(&mut state.suspected);
                (
                    state.calls.waiting() > 0 || self.shared.has_streams(),
                    state.calls.earliest_deadline(),
                    doubted,
                )
            };
            if doubted {
                self.liveness.suspect();
            }
            self.liveness.set_busy(busy, Instant::now());
            let wanted = self.liveness.next_tick();
            let wanted = earliest.map_or(wanted, |deadline| deadline.min(wanted));
            // Moving a timer costs more than an occasional early expiry.
            if wanted < self.timer.deadline() {
                self.timer.as_mut().reset(wanted);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Ok(busy);
            }
            self.on_timer(Instant::now())?;
        }
    }

    fn on_timer(&mut self, now: Instant) -> Result<(), ConnectionLost> {
        let verdict = self.liveness.tick(now);
        let mut state = self.shared.lock();
        if state.calls.earliest_deadline().is_some_and(|at| at <= now) {
            let (wakers, overdue) = state.calls.expire(now);
            self.wakers.extend(wakers);
            for id in overdue {
                state.push_cancel(id, trace::Context::default());
            }
        }
        if verdict == LivenessDecision::SendPing {
            state.outbox.push_raw_frame(FrameKind::Ping, &[]);
        }
        if state.calls.waiting() == 0 && !self.shared.has_streams() {
            self.link.shrink();
        }
        let mut next = self.liveness.next_tick();
        if let Some(deadline) = state.calls.earliest_deadline() {
            next = next.min(deadline);
        }
        if !state.outbox.is_empty()
            && let Some(pump) = state.pump.take()
        {
            self.wakers.push(pump);
        }
        drop(state);
        self.wake_callers();
        self.timer.as_mut().reset(next);
        match verdict {
            LivenessDecision::Dead(silence) => Err(ConnectionLost::Silent(silence)),
            LivenessDecision::Alive | LivenessDecision::SendPing => Ok(()),
        }
    }

    /// Whether the connection can end: no handle is left or the peer wants to close it, and no call awaits an
    /// answer.
    fn poll_end(&self) -> Poll<()> {
        // A client that hosts callbacks can be called without making calls.
        let abandoned = self.shared.is_abandoned() && !self.shared.hosts_callbacks();
        let state = self.shared.lock();
        let leaving = abandoned || matches!(state.phase, ConnectionPhase::GoingAway);
        let idle = state.calls.waiting() == 0
            && state.outbox.is_empty()
            && !self.link.has_unwritten()
            && !self.shared.has_streams()
            && !self.shared.has_stream_output();
        if leaving && idle {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// The contents of a round of frames, except for answers.
#[derive(Default)]
struct ReceivedFrames {
    go_away: Option<GoAway>,
    load: Option<Load>,
    pongs: Vec<Vec<u8>>,
    progress: Vec<CallProgress>,
    sessions: Vec<SessionAnswer>,
}

impl ReceivedFrames {
    fn take_in<R: DeserializeOwned + Send + 'static>(
        &mut self,
        kind: FrameKind,
        body: &[u8],
        answers: &mut Vec<(u64, Result<R, AttemptError>)>,
        shared: &Arc<ClientConnectionShared<R>>,
    ) -> Result<(), ConnectionLost> {
        match kind {
            FrameKind::Call => {
                let (response, received) = receiving(|| codec::decode(body));
                let response: Response<R> = response.map_err(protocol)?;
                if let Some(received) = received {
                    if !received.callbacks.is_empty() {
                        return Err(protocol("an answer hands over a callback"));
                    }
                    let streams = shared.streams();
                    streams.receive(response.request_id, received.inboxes, false)?;
                }
                answers.push((response.request_id, response.message.map_err(attempt_error)));
            }
            FrameKind::Refused => {
                let refused: RefusedCall = codec::decode(body).map_err(protocol)?;
                let answer = Err(AttemptError::Refused(refused.refusal));
                answers.push((refused.request_id, answer));
            }
            FrameKind::GoAway => self.go_away = Some(codec::decode(body).map_err(protocol)?),
            FrameKind::Load => self.load = Some(codec::decode(body).map_err(protocol)?),
            FrameKind::Ping => self.pongs.push(body.to_vec()),
            FrameKind::Pong => {}
            FrameKind::Callback => {
                let callbacks = shared.callbacks.get();
                let callbacks = callbacks.ok_or_else(|| protocol("a call of no callback"))?;
                let sink: Arc<dyn AnswerSink> = Arc::clone(shared) as _;
                callbacks.on_call(body, &sink)?;
            }
            FrameKind::Metadata => {
                let callbacks = shared.callbacks.get();
                let callbacks = callbacks.ok_or_else(|| protocol("metadata of no callback"))?;
                callbacks.on_metadata(body)?;
            }
            FrameKind::Session => self.sessions.push(codec::decode(body).map_err(protocol)?),
            FrameKind::Progress => self.progress.push(codec::decode(body).map_err(protocol)?),
            FrameKind::StreamItems => streams(shared)?.on_items(body, |_| Some(None))?,
            FrameKind::StreamEnd => streams(shared)?.on_end(body)?,
            FrameKind::StreamCredit => streams(shared)?.on_credit(body)?,
            FrameKind::StreamStop => streams(shared)?.on_stop(body)?,
            FrameKind::Batch
            | FrameKind::OneWay
            | FrameKind::Credential
            | FrameKind::CallWithProgress
            | FrameKind::SessionCall
            | FrameKind::SessionEnd => {
                let what = format!("a client received a {kind:?} frame");
                return Err(ConnectionLost::Protocol(what));
            }
        }
        Ok(())
    }
}

/// The streams of a connection on which a frame of a stream has arrived.
fn streams<R>(shared: &ClientConnectionShared<R>) -> Result<&Arc<StreamTable>, ConnectionLost> {
    let streams = shared.streams.get();
    streams.ok_or_else(|| protocol("a frame of a stream, although there is no stream"))
}

fn protocol(error: impl std::fmt::Display) -> ConnectionLost {
    ConnectionLost::Protocol(error.to_string())
}

/// The error of a response that holds an error instead of an answer.
fn attempt_error(error: ServerError) -> AttemptError {
    match error.kind {
        io::ErrorKind::TimedOut => AttemptError::DeadlineExceeded { sent: true },
        _ => AttemptError::Failed(error),
    }
}

// No field is ever pinned in place.
impl<S: Unpin, R> Unpin for Pump<S, R> {}

impl<S, R> Future for Pump<S, R>
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: DeserializeOwned + Send + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let reason = match this.turn(context) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => ConnectionLost::GoneAway,
            Err(reason) => reason,
        };
        tracing::debug!(%reason, "connection ended");
        fail(&this.shared, reason);
        // The stream is dropped next. Where possible, this closes it in order first.
        let _ = this.link.poll_shutdown(context);
        Poll::Ready(())
    }
}

impl<S, R> Drop for Pump<S, R> {
    /// The runtime may drop the task at its shutdown. The waiting callers must get an error then.
    fn drop(&mut self) {
        let reason = ConnectionLost::Abandoned("the runtime stopped");
        fail(&self.shared, reason);
    }
}

/// Takes the frames of streams, unless others are not written yet: calls go first, and wait for little.
fn take_streams<S, R>(
    shared: &ClientConnectionShared<R>,
    link: &mut Link<S>,
    state: &mut ClientConnectionState<R>,
    context: &Context<'_>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(streams) = shared.streams.get() else {
        return;
    };
    streams.register(context);
    if link.unwritten() < MAX_BEFORE_STREAMS && streams.has_output() {
        streams.take_output(|output| {
            state.outbox.skip(output.len());
            link.take(output);
        });
    }
}

/// Ends every call and every stream of a connection that was lost.
fn fail<R>(shared: &ClientConnectionShared<R>, reason: ConnectionLost) {
    let wakers = shared.lock().fail_calls(reason.clone());
    if let Some(streams) = shared.streams.get() {
        streams.break_all(&reason);
    }
    if let Some(callbacks) = shared.callbacks.get() {
        callbacks.lose();
    }
    for waker in wakers {
        waker.wake();
    }
}
