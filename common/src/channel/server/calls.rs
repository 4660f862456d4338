//! The calls of a server's connection that run in tasks of their own.

use super::{
    progress::{PendingReports, ProgressReport},
    response::push_answer,
};
use crate::{
    byte_budget::{ByteBudget, BytePermit},
    channel::{
        blocking::{is_worth_blocking, run_blocking},
        callbacks::PeerCallbacks,
        error::CallFailure,
        outbox::Outbox,
        settings::Settings,
        streams::{CallSenders, Kept, Producer, StreamTable},
    },
    codec::{self, zero_copy::LargeParts},
    message::LARGE_MESSAGE,
    scope::{Reporter, Scope},
    wire::FrameKind,
};
use serde::Serialize;
use std::{
    cell::Cell,
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Waker,
};
use tarpc::ServerError;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::Instant,
};

/// The state that a connection's task and the tasks of its calls share.
#[derive(Debug)]
pub(super) struct ServerCalls {
    state: Mutex<ServerCallsState>,
    /// Notified when the outbox was emptied.
    outbox_emptied: Notify,
    /// The number of running one-way calls.
    one_way: AtomicUsize,
    /// The turn to make a large answer, which one call at a time has.
    turn: Arc<Semaphore>,
    memory: ByteBudget,
    settings: Settings,
    /// The connection's streams, once there was one.
    streams: OnceLock<Arc<StreamTable>>,
    /// The calls to callbacks of the client, once one was handed over.
    pub(super) callbacks: OnceLock<Arc<PeerCallbacks>>,
    /// Whether the client has said that it knows metadata.
    pub(super) knows_metadata: AtomicBool,
}

/// Counts a running one-way call until it is dropped.
#[derive(Debug)]
pub(super) struct OneWayGuard(Arc<ServerCalls>);

impl Drop for OneWayGuard {
    fn drop(&mut self) {
        self.0.one_way.fetch_sub(1, Ordering::AcqRel);
        let server = self.0.lock().server.take();
        if let Some(server) = server {
            server.wake();
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct ServerCallsState {
    pub(super) outbox: Outbox,
    /// Bytes of answers that wait for space in the outbox.
    waiting: usize,
    /// Bytes of memory that are reserved for those answers.
    reserved: usize,
    pub(super) pending: HashMap<u64, RunningCall>,
    pub(super) earliest_deadline: Option<Instant>,
    serial: u64,
    pub(super) server: Option<Waker>,
    /// Progress reports that are not sent yet.
    pub(super) reports: PendingReports,
}

/// A call whose method has answered in a task of its own.
pub(super) struct FinishedCall<'a> {
    pub(super) id: u64,
    pub(super) serial: u64,
    pub(super) deadline: Instant,
    pub(super) scope: &'a Scope,
    /// What it keeps while the streams of its answer run.
    pub(super) kept: Cell<Kept>,
}

/// A call that runs in a task of its own.
#[derive(Debug)]
pub(super) struct RunningCall {
    pub(super) task: AbortHandle,
    /// Distinguishes it from an earlier call with the same id.
    pub(super) serial: u64,
    pub(super) deadline: Instant,
    /// Its progress reports, if the caller wants them.
    pub(super) watched: Option<Arc<ProgressReport>>,
}

impl ServerCalls {
    pub(super) fn new(settings: Settings, memory: ByteBudget) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            outbox_emptied: Notify::new(),
            one_way: AtomicUsize::new(0),
            turn: Arc::new(Semaphore::new(1)),
            memory,
            settings,
            streams: OnceLock::new(),
            callbacks: OnceLock::new(),
            knows_metadata: AtomicBool::new(false),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ServerCallsState> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the limit of calls in flight is reached.
    pub(super) fn is_full(&self) -> bool {
        self.lock().pending.len() + self.open_streams() >= self.settings.max_in_flight
    }

    /// The connection's streams.
    pub(super) fn streams(&self) -> &Arc<StreamTable> {
        self.streams
            .get_or_init(|| StreamTable::new(self.settings.max_send))
    }

    /// The calls to callbacks of the client, if one was handed over.
    pub(super) fn known_callbacks(&self) -> Option<&Arc<PeerCallbacks>> {
        self.callbacks.get()
    }

    /// The greatest body that the client accepts, in bytes.
    pub(super) fn max_send(&self) -> usize {
        self.settings.max_send
    }

    /// The connection's streams, if there was one.
    pub(super) fn known_streams(&self) -> Option<&Arc<StreamTable>> {
        self.streams.get()
    }

    /// How many streams have not ended.
    pub(super) fn open_streams(&self) -> usize {
        self.streams.get().map_or(0, |streams| streams.open())
    }

    /// Whether the limit of running one-way calls is reached.
    pub(super) fn is_full_of_one_way(&self) -> bool {
        self.one_way.load(Ordering::Acquire) >= self.settings.max_in_flight
    }

    /// Counts a one-way call until the returned value is dropped.
    pub(super) fn enter_one_way(self: &Arc<Self>) -> OneWayGuard {
        self.one_way.fetch_add(1, Ordering::AcqRel);
        OneWayGuard(Arc::clone(self))
    }

    /// Wakes the answers that wait for space in the outbox.
    pub(super) fn wake_waiting_answers(&self) {
        self.outbox_emptied.notify_waiters();
    }

    /// Waits until the queued and waiting answers are below their limit in bytes.
    pub(super) async fn room(&self) {
        loop {
            // Registered before the check, so that no notification in between is missed.
            let emptied = self.outbox_emptied.notified();
            {
                let state = self.lock();
                if state.outbox.len() + state.waiting < self.settings.max_buffered {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Waits for the turn to make a large answer.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.turn).acquire_owned().await.ok()
    }

    /// The reporter for the scope of a method whose caller wants progress reports.
    pub(super) fn reporter(self: &Arc<Self>, report: &Arc<ProgressReport>) -> Reporter {
        let (calls, report) = (Arc::downgrade(self), Arc::clone(report));
        Reporter::new(move |progress| {
            if !report.record(progress) {
                return;
            }
            let Some(calls) = calls.upgrade() else {
                return;
            };
            let server = {
                let mut state = calls.lock();
                state.reports.add(&report);
                state.server.take()
            };
            if let Some(server) = server {
                server.wake();
            }
        })
    }

    pub(super) fn memory(&self) -> &ByteBudget {
        &self.memory
    }

    /// How many bytes of memory are reserved for answers that have not reached the link yet.
    pub(super) fn reserved(&self) -> usize {
        let state = self.lock();
        state.outbox.reserved().saturating_add(state.reserved)
    }

    /// Queues the answer of a call that ran in its own task, once there is space for it. `memory` is the
    /// permit of the request, and `reserved` the memory that was reserved for the answer.
    pub(super) async fn finish<R: Serialize + Send + Sync + 'static>(
        self: &Arc<Self>,
        call: FinishedCall<'_>,
        answer: Result<R, CallFailure>,
        parts: LargeParts<R>,
        memory: Option<BytePermit>,
        mut reserved: Vec<BytePermit>,
    ) {
        let mut answer = Some(answer);
        let may_leave = !reserved.is_empty() || !self.lacks_memory_for(&answer, parts);
        if may_leave && self.try_finish(&call, &mut answer, parts, &mut reserved) {
            return;
        }
        // The answer has to wait. From now on the answer counts against the memory, instead of the request.
        let size = answer
            .as_ref()
            .and_then(|answer| answer.as_ref().ok())
            .map_or(0, size_of_answer);
        let mut memory = memory.unwrap_or_else(|| self.memory.take_over_limit(0));
        let others = self.memory.used().saturating_sub(memory.bytes());
        if !reserved.is_empty() {
            // The answer is counted already.
            memory.resize(0);
        } else if others.saturating_add(size) > self.memory.limit().saturating_mul(2) && others > 0
        {
            answer = Some(Err(CallFailure::Failed(answer_dropped_error(size, others))));
            memory.resize(0);
        } else {
            memory.resize(size);
        }
        let held = reserved.iter().map(BytePermit::bytes).sum();
        let _waiting = WaitingAnswer::new(self, memory, held);
        loop {
            // Registered before the outbox is checked, so that no notification in between is missed.
            let emptied = self.outbox_emptied.notified();
            if self.try_finish(&call, &mut answer, parts, &mut reserved) {
                return;
            }
            emptied.await;
        }
    }

    /// Whether an answer is large while messages already use more than their memory, so that it has to wait
    /// although its own connection has space for it.
    fn lacks_memory_for<R>(
        &self,
        answer: &Option<Result<R, CallFailure>>,
        parts: LargeParts<R>,
    ) -> bool {
        let Some(Ok(answer)) = answer else {
            return false;
        };
        let lent: usize = parts(answer).into_iter().map(<[u8]>::len).sum();
        lent >= LARGE_MESSAGE && self.memory.used() > self.memory.limit()
    }

    /// Queues the answer of the call with this id and serial, if there is space for it.
    fn try_finish<R: Serialize + Send + Sync + 'static>(
        self: &Arc<Self>,
        call: &FinishedCall<'_>,
        answer: &mut Option<Result<R, CallFailure>>,
        parts: LargeParts<R>,
        reserved: &mut Vec<BytePermit>,
    ) -> bool {
        let limit = self.settings.max_send;
        let (id, serial) = (call.id, call.serial);
        let mut streams = None;
        let has_room = |state: &ServerCallsState| state.outbox.len() < self.settings.max_buffered;
        if !has_room(&self.lock()) {
            return false;
        }
        let is_large = matches!(answer, Some(Ok(answer)) if is_worth_blocking(answer, parts));
        let mut state = self.lock();
        if !has_room(&state) {
            return false;
        }
        if is_large && state.awaits(id, serial) {
            // The lock is released while the answer is encoded.
            drop(state);
            let mut encoded = Outbox::default();
            if let Some(answer) = answer.take() {
                streams = run_blocking(|| push_answer(&mut encoded, id, answer, parts, limit));
            }
            state = self.lock();
            if state.take(id, serial) {
                state.outbox.append(encoded);
                state.outbox.keep(std::mem::take(reserved));
            } else {
                streams = None;
            }
        } else if state.take(id, serial)
            && let Some(answer) = answer.take()
        {
            streams = push_answer(&mut state.outbox, id, answer, parts, limit);
            state.outbox.keep(std::mem::take(reserved));
        }
        let server = state.server.take();
        drop(state);
        if let Some(streams) = streams {
            let kept = call.kept.take();
            self.start_streams(id, call.deadline, streams, call.scope, kept);
        }
        if let Some(server) = server {
            server.wake();
        }
        true
    }

    /// Sends the streams of an answer that was queued.
    pub(super) fn start_streams(
        &self,
        call: u64,
        deadline: Instant,
        streams: Vec<Box<dyn Producer>>,
        scope: &Scope,
        kept: Kept,
    ) {
        let senders = CallSenders {
            table: self.streams(),
            call,
            deadline,
        };
        senders.start(streams, scope, Arc::new(kept));
    }
}

/// Counts an answer that waits for space, in bytes.
struct WaitingAnswer {
    calls: Arc<ServerCalls>,
    memory: BytePermit,
    /// Memory that is reserved for the answer.
    reserved: usize,
}

impl WaitingAnswer {
    fn new(calls: &Arc<ServerCalls>, memory: BytePermit, reserved: usize) -> Self {
        let mut state = calls.lock();
        state.waiting += memory.bytes() + reserved;
        state.reserved += reserved;
        drop(state);
        Self {
            calls: Arc::clone(calls),
            memory,
            reserved,
        }
    }
}

impl Drop for WaitingAnswer {
    fn drop(&mut self) {
        let mut state = self.calls.lock();
        state.waiting -= self.memory.bytes() + self.reserved;
        state.reserved -= self.reserved;
        drop(state);
        // An answer that was given up frees space like one that was sent.
        self.calls.wake_waiting_answers();
    }
}

/// The encoded size of an answer in bytes. It is 0 if the encoder panics: the caller that encodes the answer
/// reports the panic.
fn size_of_answer<R: Serialize>(answer: &R) -> usize {
    catch_unwind(AssertUnwindSafe(|| codec::size(answer))).unwrap_or(0)
}

/// The error that replaces an answer for which there is no memory.
fn answer_dropped_error(size: usize, others: usize) -> ServerError {
    let detail = format!(
        "the answer of {size} bytes was dropped: messages take {others} bytes of memory here, because \
         answers wait to be read (--message-memory)"
    );
    ServerError::new(io::ErrorKind::OutOfMemory, detail)
}

impl ServerCallsState {
    /// The serial of the next inserted call.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn insert(&mut self, id: u64, pending: RunningCall) {
        let earliest = self.earliest_deadline.get_or_insert(pending.deadline);
        *earliest = (*earliest).min(pending.deadline);
        if let Some(earlier) = self.pending.insert(id, pending) {
            // The peer used an id twice; only the later call can be answered.
            earlier.task.abort();
        }
    }

    /// Whether a call still needs its answer. A cancelled or expired call does not.
    fn awaits(&self, id: u64, serial: u64) -> bool {
        let pending = self.pending.get(&id);
        pending.is_some_and(|call| call.serial == serial)
    }

    /// Removes a call that is about to be answered. Returns whether it was present.
    fn take(&mut self, id: u64, serial: u64) -> bool {
        self.awaits(id, serial) && self.pending.remove(&id).is_some()
    }

    pub(super) fn cancel(&mut self, id: u64) {
        if let Some(pending) = self.pending.remove(&id) {
            pending.task.abort();
        }
    }

    /// Stops the calls whose deadline has passed, and returns their ids.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<u64> {
        let overdue: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(&id, _)| id)
            .collect();
        for &id in &overdue {
            self.cancel(id);
        }
        self.earliest_deadline = self.pending.values().map(|pending| pending.deadline).min();
        overdue
    }

    /// Queues the progress reports that may be sent now.
    pub(super) fn push_reports(&mut self, now: Instant) {
        let pending = &self.pending;
        let due = self
            .reports
            .take_due(now, |id| pending.get(&id)?.watched.as_ref());
        for report in due {
            // A few hundred bytes: it can be neither too large nor unencodable.
            let _ = self
                .outbox
                .push_frame(FrameKind::Progress, &report, usize::MAX);
        }
    }

    pub(super) fn abort_all(&mut self) {
        for (_, pending) in self.pending.drain() {
            pending.task.abort();
        }
    }
}
