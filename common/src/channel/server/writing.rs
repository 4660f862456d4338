//! Writes the answers of a server's connection, and bounds those that wait.

use super::{Dispatch, ServerConnection, unread_answers::UnreadAnswers};
use crate::{
    channel::error::{CallFailure, ConnectionLost},
    message::LARGE_MESSAGE,
    wire::FrameKind,
};
use serde::Serialize;
use std::{sync::Arc, task::Context, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

/// While more bytes than this are not written yet, those of streams wait.
const MAX_BEFORE_STREAMS: usize = 64 * 1024;

/// The shortest time between two load reports on a connection.
const LOAD_INTERVAL: Duration = Duration::from_millis(100);

impl<S, D, B, F> ServerConnection<S, D, B, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch,
    B: Fn(Arc<D>, tarpc::context::Context, D::Request) -> F,
    F: Future<Output = Result<D::Response, CallFailure>> + Send + 'static,
{
    /// Registers for the answers of calls that run in their own tasks. Returns whether it yielded, to let
    /// more of them finish first.
    pub(super) fn collect(&mut self, context: &mut Context<'_>) -> bool {
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
    pub(super) fn take_finished(&mut self) -> bool {
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

    /// Moves the frames of streams to the link, unless others are not written yet. The answers that the
    /// streams belong to go first.
    fn take_streams(&mut self, context: &Context<'_>) {
        let Some(streams) = self.calls.known_streams().cloned() else {
            return;
        };
        streams.register(context);
        if !streams.has_output() || self.link.unwritten() >= MAX_BEFORE_STREAMS {
            return;
        }
        // Within the lock no other answer can be queued.
        let mut state = self.calls.lock();
        self.link.take(&mut state.outbox);
        streams.take_output(|output| self.link.take(output));
        drop(state);
        self.calls.wake_waiting_answers();
    }

    /// Whether reading has to wait. Running calls do not stop it, because cancel messages and pings must get
    /// through. One-way calls do, because there is no other way to slow their sender down.
    pub(super) fn is_full(&mut self) -> bool {
        if self.calls.is_full_of_one_way() {
            // The peer is silent because this side does not read.
            self.liveness.on_activity(Instant::now());
            return true;
        }
        self.link.has_unwritten()
    }

    /// Counts unwritten answers against the memory for messages, unless they are small.
    pub(super) fn count_unwritten(&mut self) {
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

    pub(super) fn write(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        loop {
            if self.take_finished() || !self.outbox.is_empty() {
                self.report_load();
            }
            self.link.take(&mut self.outbox);
            self.take_streams(context);
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
    pub(super) fn report_load(&mut self) {
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
    pub(super) fn push<T: Serialize>(&mut self, kind: FrameKind, body: &T) {
        let _ = self.outbox.push_frame(kind, body, usize::MAX);
    }
}
