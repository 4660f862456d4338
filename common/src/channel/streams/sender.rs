//! The task that sends the items of one stream.

use super::{
    exchange::take_kept,
    frames::{ITEMS_HEAD, StreamEnd, StreamId, StreamOutcome},
    inputs::{Input, StreamInputs},
    keeper::Keep,
    producer::{Bounds, Chunk, Next, Producer},
    sender_state::SenderState,
    table::StreamTable,
    window::Credit,
};
use crate::scope::Scope;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Small items are sent together up to this size, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;

/// How many chunks are made before other tasks get their turn.
const CHUNKS_PER_TURN: usize = 8;

/// Sends the streams of one call.
pub(crate) struct CallSenders<'a> {
    pub(crate) table: &'a Arc<StreamTable>,
    pub(crate) call: u64,
    pub(crate) deadline: Instant,
}

impl CallSenders<'_> {
    /// Starts to send the streams of an answer. Their producers run in the scope of the call.
    pub(crate) fn start(&self, producers: Vec<Box<dyn Producer>>, scope: &Scope, kept: Keep) {
        for (position, producer) in producers.into_iter().enumerate() {
            let source = Source::Running(producer);
            let scope = Some(scope.clone());
            drop(self.spawn(position, Credit::FIRST, source, scope, Arc::clone(&kept)));
        }
    }

    /// Registers the streams in the parameters of a call that is about to be sent. They begin once the peer
    /// has accepted the call. Dropping the result stops them.
    pub(crate) fn start_inputs(&self, inputs: &StreamInputs, keep: &Keep) -> SentInputs {
        let senders = inputs
            .streams
            .iter()
            .enumerate()
            .filter_map(|(position, input)| {
                let source = Source::Waiting(Arc::clone(input));
                self.spawn(position, Credit::NONE, source, None, Arc::clone(keep))
            });
        SentInputs(senders.collect())
    }

    fn spawn(
        &self,
        position: usize,
        credit: Credit,
        source: Source,
        scope: Option<Scope>,
        keep: Keep,
    ) -> Option<Arc<SenderState>> {
        let stream = StreamId {
            call: self.call,
            position: u8::try_from(position).unwrap_or(u8::MAX),
        };
        let state = SenderState::new(credit);
        self.table.add_sender(stream, &state).ok()?;
        let mut chunk = Chunk::default();
        chunk.bytes.extend(stream.items_head());
        tokio::spawn(Sender {
            table: Arc::clone(self.table),
            stream,
            state: Arc::clone(&state),
            source,
            scope,
            chunk,
            next: Next::More,
            sent: 0,
            deadline: Box::pin(sleep_until(self.deadline)),
            keep: Some(keep),
        });
        Some(state)
    }
}

/// The streams in the parameters of a call that was sent. Dropping it stops them.
#[derive(Debug, Default)]
pub(crate) struct SentInputs(Vec<Arc<SenderState>>);

impl SentInputs {
    /// Lets them go on: the method has answered, and may still read them.
    pub(crate) fn release(&mut self) {
        self.0.clear();
    }
}

impl Drop for SentInputs {
    fn drop(&mut self) {
        for sender in &self.0 {
            sender.stop();
        }
    }
}

enum Source {
    /// No credit has come yet.
    Waiting(Arc<Input>),
    Running(Box<dyn Producer>),
    Over,
}

struct Sender {
    table: Arc<StreamTable>,
    stream: StreamId,
    state: Arc<SenderState>,
    source: Source,
    /// The scope of the method that made the stream.
    scope: Option<Scope>,
    chunk: Chunk,
    /// What follows the chunk.
    next: Next,
    sent: u64,
    deadline: Pin<Box<Sleep>>,
    /// `None` once the stream has ended.
    keep: Option<Keep>,
}

impl Sender {
    /// Goes on until it has to wait. The result is how the stream ended.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<StreamOutcome> {
        for _ in 0..CHUNKS_PER_TURN {
            let credit = {
                let mut state = self.state.lock();
                if state.is_stopped {
                    return Poll::Ready(StreamOutcome::Stopped);
                }
                if !state
                    .task
                    .as_ref()
                    .is_some_and(|task| task.will_wake(context.waker()))
                {
                    state.task = Some(context.waker().clone());
                }
                state.credit
            };
            if self.chunk.items == 0 && matches!(self.next, Next::More | Next::Later) {
                if !credit.allows_one() {
                    return Poll::Pending;
                }
                self.fill(context, credit);
            }
            if self.chunk.items > 0 {
                let items = u64::from(self.chunk.items);
                match self.table.poll_send(&mut self.chunk, context) {
                    Poll::Ready(Ok(())) => self.sent += items,
                    Poll::Ready(Err(sentence)) => {
                        return Poll::Ready(StreamOutcome::Failed(sentence));
                    }
                    Poll::Pending => return Poll::Pending,
                }
                self.chunk.clear(ITEMS_HEAD);
                if self.chunk.bytes.is_empty() {
                    self.chunk.bytes.extend(self.stream.items_head());
                }
            }
            match &mut self.next {
                Next::More => {}
                Next::Later => return Poll::Pending,
                Next::End => return Poll::Ready(StreamOutcome::Complete),
                Next::Broken(sentence) => {
                    return Poll::Ready(StreamOutcome::Failed(std::mem::take(sentence)));
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Fills the chunk with items that are ready.
    fn fill(&mut self, context: &mut Context<'_>, credit: Credit) {
        if let Source::Waiting(input) = &self.source {
            self.source = input.take().map_or(Source::Over, Source::Running);
        }
        let Source::Running(producer) = &mut self.source else {
            self.next = Next::End;
            return;
        };
        let allowed = usize::try_from(credit.bytes)
            .unwrap_or(0)
            .saturating_add(ITEMS_HEAD);
        let bounds = Bounds {
            bytes: allowed.min(CHUNK_BYTES),
            items: u32::try_from(credit.items).unwrap_or(u32::MAX),
        };
        let chunk = &mut self.chunk;
        let scope = self.scope.as_ref();
        let filled = catch_unwind(AssertUnwindSafe(|| match scope {
            Some(scope) => scope.enter(|| producer.fill(context, chunk, bounds)),
            None => producer.fill(context, chunk, bounds),
        }));
        self.next = filled.unwrap_or_else(|_| Next::Broken("the stream panicked".to_owned()));
        // A stream may call methods of its own, which keep nothing here.
        drop(take_kept());
        if matches!(self.next, Next::End | Next::Broken(_)) {
            self.source = Source::Over;
        }
        let size = self.chunk.len().saturating_sub(ITEMS_HEAD);
        self.state.lock().credit.take(size, self.chunk.items);
    }

    /// Ends the stream, if it has not ended yet.
    fn end(&mut self, outcome: StreamOutcome) {
        let keep = self.keep.take();
        if let (Some(keep), StreamOutcome::Failed(_)) = (&keep, &outcome) {
            keep.stream_failed();
        }
        // What makes the items, and what was kept for it, ends before the peer hears of the end.
        self.source = Source::Over;
        drop(keep);
        self.table.send_end(&StreamEnd {
            stream: self.stream,
            items: self.sent,
            outcome,
        });
    }
}

impl Future for Sender {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let outcome = match this.poll_send(context) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending if this.deadline.as_mut().poll(context).is_ready() => {
                StreamOutcome::DeadlineExceeded
            }
            Poll::Pending => return Poll::Pending,
        };
        this.end(outcome);
        Poll::Ready(())
    }
}

impl Drop for Sender {
    /// The runtime may drop the task at its shutdown.
    fn drop(&mut self) {
        self.end(StreamOutcome::Stopped);
    }
}
