//! The deadlines, the keepalive and the end of a drain of a server's connection.

use super::{
    Dispatch, ServerConnection, response::push_failure, start::deadline_passed,
    unread_answers::UnreadAnswers,
};
use crate::{
    channel::{
        error::{CallFailure, ConnectionLost},
        liveness::LivenessDecision,
    },
    wire::FrameKind,
};
use std::{sync::Arc, task::Context, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

/// During a drain, an idle client has this long to close the connection itself, so that a call that is
/// already on its way is not lost.
const DRAIN_LINGER: Duration = Duration::from_secs(1);

impl<S, D, B, F> ServerConnection<S, D, B, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch,
    B: Fn(Arc<D>, tarpc::context::Context, D::Request) -> F,
    F: Future<Output = Result<D::Response, CallFailure>> + Send + 'static,
{
    /// Handles deadlines and keepalive.
    pub(super) fn tick(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        loop {
            let now = Instant::now();
            let (busy, earliest, report) = {
                let state = self.calls.lock();
                // Reports wait while the link has unwritten bytes.
                let waits = !state.reports.is_empty() && !self.link.has_unwritten();
                let report = waits.then(|| state.reports.next_due(now)).flatten();
                let busy = !state.pending.is_empty() || self.calls.open_streams() > 0;
                (busy, state.earliest_deadline, report)
            };
            self.liveness.set_busy(busy, now);
            let unread = self.unread_answers.as_ref().map(UnreadAnswers::next_check);
            let idle = self.sessions.as_ref().and_then(|all| all.next_check());
            let intake = self.intake.deadline();
            let wanted = [earliest, report, self.hang_up_at(), intake, unread, idle]
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
        let done =
            state.pending.is_empty() && state.outbox.is_empty() && self.calls.open_streams() == 0;
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
        if let Some(sessions) = &mut self.sessions {
            sessions.end_idle(now);
        }
        let (overdue, earliest, idle) = {
            let mut state = self.calls.lock();
            let overdue = match state.earliest_deadline {
                Some(at) if at <= now => state.expire(now),
                _ => Vec::new(),
            };
            let idle = state.pending.is_empty() && self.calls.open_streams() == 0;
            (overdue, state.earliest_deadline, idle)
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
