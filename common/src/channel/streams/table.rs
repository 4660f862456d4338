//! The streams of one connection.

use super::{
    failure::StreamFailure,
    frames::{ItemsFrame, StreamCredit, StreamEnd, StreamId, StreamOutcome, StreamStop},
    inbox::{Inbox, Upstream},
    keeper::Keep,
    producer::Chunk,
    sender_state::SenderState,
    window::{Credit, FIRST_BYTES, FIRST_ITEMS, Grant},
};
use crate::{
    byte_budget::BytePermit,
    channel::{error::ConnectionLost, outbox::Outbox},
    codec::{self, splice},
    frame::FrameHeader,
    message::LARGE_MESSAGE,
    wire::FrameKind,
};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::time::Instant;

/// Items of streams that may be queued for writing on a connection, in bytes. A producer beyond them waits.
const MAX_QUEUED: usize = 256 * 1024;

/// How much larger the windows of all streams of a connection may become together, in bytes.
const MAX_GROWTH: usize = 16 * 1024 * 1024;

/// How many waiting producers are woken when there is room. Each wakes another one if there is still room.
const WOKEN_AT_ONCE: usize = 16;

/// The streams of one connection, and their frames that are not written yet.
pub(crate) struct StreamTable {
    state: Mutex<TableState>,
    /// Whether frames wait to be written.
    has_output: AtomicBool,
    /// How many streams have not ended.
    open: AtomicUsize,
    /// The task of the connection. It is apart from the state of the connection, within whose lock an answer
    /// with streams may be dropped.
    connection: Mutex<Option<Waker>>,
    /// The greatest frame body that the peer accepts, in bytes.
    max_send: usize,
}

#[derive(Default)]
struct TableState {
    outbox: Outbox,
    receivers: HashMap<StreamId, Receiver>,
    senders: HashMap<StreamId, Arc<SenderState>>,
    /// Producers that wait for room in the outbox.
    waiting: VecDeque<Waker>,
    /// By how much windows have grown.
    growth: usize,
    lost: Option<ConnectionLost>,
}

/// A stream whose items come from the peer.
struct Receiver {
    /// `None` once its reader wants no more. Items may arrive until the producer has noticed.
    inbox: Option<Arc<Inbox>>,
    /// What the producer may still send.
    credit: Credit,
    received: u64,
    growth: usize,
    /// Kept until the end.
    keep: Option<Keep>,
}

impl fmt::Debug for StreamTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamTable({} open)", self.open())
    }
}

impl StreamTable {
    /// The table of a connection without streams. The connection's task has to take a turn after it.
    pub(crate) fn new(max_send: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            has_output: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            connection: Mutex::default(),
            max_send,
        })
    }

    fn lock(&self) -> MutexGuard<'_, TableState> {
        // Nothing that holds the lock runs foreign code, so a poisoned state is still consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many streams have not ended, in both directions.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Registers the connection's task for output that comes from now on.
    pub(crate) fn register(&self, context: &Context<'_>) {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &mut *connection {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    /// Whether frames wait to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.has_output.load(Ordering::Acquire)
    }

    /// Passes the frames that wait to `take`, which empties the queue.
    pub(crate) fn take_output(&self, take: impl FnOnce(&mut Outbox)) {
        let waiting: Vec<Waker> = {
            let mut state = self.lock();
            self.has_output.store(false, Ordering::Release);
            take(&mut state.outbox);
            let count = state.waiting.len().min(WOKEN_AT_ONCE);
            state.waiting.drain(..count).collect()
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// Releases the lock, and wakes the connection if it does not know yet that there is output.
    fn has_queued(&self, state: MutexGuard<'_, TableState>) {
        drop(state);
        if !self.has_output.swap(true, Ordering::AcqRel) {
            let connection = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if let Some(connection) = connection {
                connection.wake();
            }
        }
    }

    /// Registers the streams of a request or an answer that has arrived. Those of a request get their first
    /// credit now; those of an answer had it from the beginning.
    pub(crate) fn receive(
        self: &Arc<Self>,
        call: u64,
        inboxes: Vec<Arc<Inbox>>,
        is_request: bool,
    ) -> Result<(), ConnectionLost> {
        for (position, inbox) in inboxes.into_iter().enumerate() {
            let stream = StreamId {
                call,
                position: u8::try_from(position).unwrap_or(u8::MAX),
            };
            {
                let mut state = self.lock();
                if let Some(lost) = state.lost.clone() {
                    drop(state);
                    inbox.finish(Err(StreamFailure::Lost(lost)));
                    continue;
                }
                if state.receivers.contains_key(&stream) {
                    return Err(protocol("a call's id was used again while its streams run"));
                }
                let receiver = Receiver {
                    inbox: Some(Arc::clone(&inbox)),
                    credit: Credit::FIRST,
                    received: 0,
                    growth: 0,
                    keep: None,
                };
                state.receivers.insert(stream, receiver);
                self.open.fetch_add(1, Ordering::Relaxed);
                if is_request {
                    let credit = StreamCredit {
                        stream,
                        bytes: u32::try_from(FIRST_BYTES).unwrap_or(u32::MAX),
                        items: u32::try_from(FIRST_ITEMS).unwrap_or(u32::MAX),
                    };
                    state.push(FrameKind::StreamCredit, &credit);
                    self.has_queued(state);
                }
            }
            if !inbox.attach(Arc::clone(self) as Arc<dyn Upstream>, stream) {
                self.stop(stream);
            }
        }
        Ok(())
    }

    /// Keeps a value until the streams of a call's answer have ended, and breaks them at the deadline.
    pub(crate) fn bind(&self, call: u64, deadline: Instant, keep: &Keep) {
        let mut state = self.lock();
        let of_call = state.receivers.iter_mut().filter(|(id, _)| id.call == call);
        for (_, receiver) in of_call {
            receiver.keep = Some(Arc::clone(keep));
            if let Some(inbox) = &receiver.inbox {
                inbox.set_deadline(deadline);
            }
        }
    }

    /// Handles a frame of items. `take_memory` takes memory for a number of bytes, if there is some.
    pub(crate) fn on_items(
        &self,
        body: &[u8],
        take_memory: impl FnOnce(usize) -> Option<Option<BytePermit>>,
    ) -> Result<(), ConnectionLost> {
        let frame = ItemsFrame::parse(body).map_err(|error| protocol(&error.to_string()))?;
        let inbox = {
            let mut state = self.lock();
            let Some(receiver) = state.receivers.get_mut(&frame.stream) else {
                return Err(protocol("items of an unknown stream, or after its end"));
            };
            let size = frame.items.len();
            if !receiver.credit.take_received(size, frame.count, frame.last) {
                return Err(protocol("a stream sent more than its reader has allowed"));
            }
            receiver.received += u64::from(frame.count);
            receiver.inbox.clone()
        };
        let Some(inbox) = inbox else {
            return Ok(());
        };
        match take_memory(frame.items.len()) {
            Some(memory) => {
                let shared = (body.len() >= LARGE_MESSAGE).then(|| splice::share(frame.items));
                inbox.push(frame.items, shared.flatten(), memory);
            }
            None => self.refuse(frame.stream),
        }
        Ok(())
    }

    /// Breaks a stream whose items find no memory. `body` is the beginning of their frame.
    pub(crate) fn refuse_items(&self, body: &[u8]) {
        if let Some((call, [position, ..])) = body.split_first_chunk::<8>() {
            self.refuse(StreamId {
                call: u64::from_le_bytes(*call),
                position: *position,
            });
        }
    }

    fn refuse(&self, stream: StreamId) {
        let mut state = self.lock();
        let inbox = state.receivers.get_mut(&stream);
        let inbox = inbox.and_then(|receiver| {
            // The frame was dropped, so the number of items is no longer known.
            receiver.received = u64::MAX;
            receiver.inbox.take()
        });
        let Some(inbox) = inbox else {
            return;
        };
        state.push(FrameKind::StreamStop, &StreamStop { stream });
        self.has_queued(state);
        let sentence = "there is no memory for its items at their reader (--message-memory)";
        inbox.finish(Err(StreamFailure::Failed(sentence.to_owned())));
    }

    /// Handles the end of a stream from the peer.
    pub(crate) fn on_end(&self, body: &[u8]) -> Result<(), ConnectionLost> {
        let end: StreamEnd = decode(body)?;
        let receiver = {
            let mut state = self.lock();
            let Some(receiver) = state.receivers.remove(&end.stream) else {
                return Err(protocol("the end of an unknown stream, or a second one"));
            };
            state.growth = state.growth.saturating_sub(receiver.growth);
            receiver
        };
        self.open.fetch_sub(1, Ordering::Relaxed);
        if receiver.received != end.items && receiver.received != u64::MAX {
            return Err(protocol(
                "a stream ended with another number of items than were sent",
            ));
        }
        if let Some(inbox) = receiver.inbox {
            inbox.finish(match end.outcome {
                StreamOutcome::Complete => Ok(()),
                StreamOutcome::Failed(sentence) => Err(StreamFailure::Failed(sentence)),
                StreamOutcome::DeadlineExceeded => Err(StreamFailure::DeadlineExceeded),
                StreamOutcome::Stopped => Err(StreamFailure::Cancelled),
            });
        }
        Ok(())
    }

    /// Handles credit from the peer. That of a stream that has ended meanwhile is of no use.
    pub(crate) fn on_credit(&self, body: &[u8]) -> Result<(), ConnectionLost> {
        let credit: StreamCredit = decode(body)?;
        let sender = self.lock().senders.get(&credit.stream).cloned();
        match sender.is_none_or(|sender| sender.add_credit(&credit)) {
            true => Ok(()),
            false => Err(protocol("a stream was given more credit than is possible")),
        }
    }

    /// Handles the wish of the peer to get no more items.
    pub(crate) fn on_stop(&self, body: &[u8]) -> Result<(), ConnectionLost> {
        let stop: StreamStop = decode(body)?;
        let sender = self.lock().senders.get(&stop.stream).cloned();
        if let Some(sender) = sender {
            sender.stop();
        }
        Ok(())
    }

    /// Registers a stream whose items go to the peer. Returns why it cannot, if the connection is lost.
    pub(super) fn add_sender(
        &self,
        stream: StreamId,
        sender: &Arc<SenderState>,
    ) -> Result<(), ConnectionLost> {
        let mut state = self.lock();
        if let Some(lost) = &state.lost {
            return Err(lost.clone());
        }
        state.senders.insert(stream, Arc::clone(sender));
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Queues items, once there is room for them. An error is a message: they can never be sent.
    pub(super) fn poll_send(
        &self,
        chunk: &mut Chunk,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), String>> {
        let len = chunk.len();
        if len > self.max_send {
            return Poll::Ready(Err(format!(
                "an item of {len} bytes exceeds the limit of {} bytes",
                self.max_send
            )));
        }
        let mut state = self.lock();
        if state.outbox.len() >= MAX_QUEUED && state.lost.is_none() {
            state.waiting.push_back(context.waker().clone());
            return Poll::Pending;
        }
        let header = FrameHeader {
            kind: FrameKind::StreamItems,
            len,
        };
        state.outbox.extend(&header.to_bytes());
        if chunk.blobs.is_empty() {
            state.outbox.extend(&chunk.bytes);
        } else {
            let (bytes, blobs) = (
                std::mem::take(&mut chunk.bytes),
                std::mem::take(&mut chunk.blobs),
            );
            codec::for_each_piece(bytes, blobs, |piece| state.outbox.push(piece));
        }
        let next = match state.outbox.len() < MAX_QUEUED {
            true => state.waiting.pop_front(),
            false => None,
        };
        self.has_queued(state);
        if let Some(next) = next {
            next.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Queues the end of a stream whose items went to the peer.
    pub(super) fn send_end(&self, end: &StreamEnd) {
        let mut state = self.lock();
        if state.senders.remove(&end.stream).is_none() {
            return;
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
        state.push(FrameKind::StreamEnd, end);
        let next = state.waiting.pop_front();
        self.has_queued(state);
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Breaks every stream, because the connection has ended.
    pub(crate) fn break_all(&self, reason: &ConnectionLost) {
        let (receivers, senders, waiting) = {
            let mut state = self.lock();
            if state.lost.is_some() {
                return;
            }
            state.lost = Some(reason.clone());
            state.outbox = Outbox::default();
            (
                std::mem::take(&mut state.receivers),
                std::mem::take(&mut state.senders),
                std::mem::take(&mut state.waiting),
            )
        };
        self.open.store(0, Ordering::Relaxed);
        for (_, receiver) in receivers {
            if let Some(inbox) = receiver.inbox {
                inbox.finish(Err(StreamFailure::Lost(reason.clone())));
            }
        }
        for (_, sender) in senders {
            sender.stop();
        }
        for waker in waiting {
            waker.wake();
        }
    }
}

impl Upstream for StreamTable {
    fn grant(&self, stream: StreamId, grant: Grant) -> usize {
        let mut state = self.lock();
        let growth = match state.growth + grant.growth <= MAX_GROWTH {
            true => grant.growth,
            false => 0,
        };
        let Some(receiver) = state.receivers.get_mut(&stream) else {
            return 0;
        };
        let credit = StreamCredit {
            stream,
            bytes: u32::try_from(grant.bytes + growth).unwrap_or(u32::MAX),
            items: u32::try_from(grant.items).unwrap_or(u32::MAX),
        };
        receiver.credit.add(&credit);
        receiver.growth += growth;
        state.growth += growth;
        state.push(FrameKind::StreamCredit, &credit);
        self.has_queued(state);
        growth
    }

    fn stop(&self, stream: StreamId) {
        let mut state = self.lock();
        let inbox = state.receivers.get_mut(&stream);
        let Some(_inbox) = inbox.and_then(|receiver| receiver.inbox.take()) else {
            return;
        };
        state.push(FrameKind::StreamStop, &StreamStop { stream });
        self.has_queued(state);
    }
}

impl TableState {
    /// Queues one of our own short frames, which can be neither too large nor unencodable.
    fn push<T: serde::Serialize>(&mut self, kind: FrameKind, body: &T) {
        if self.lost.is_none() {
            let _ = self.outbox.push_frame(kind, body, usize::MAX);
        }
    }
}

fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ConnectionLost> {
    codec::decode(body).map_err(|error| protocol(&error.to_string()))
}

fn protocol(what: &str) -> ConnectionLost {
    ConnectionLost::Protocol(what.to_owned())
}
