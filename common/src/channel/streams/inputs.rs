//! The streams and callbacks in the parameters of a call, at its caller.

use super::{
    exchange::{sending_callbacks, sending_request},
    producer::Producer,
};
use crate::channel::callbacks::HostedCallback;
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The streams in the parameters of a call. Nothing is taken from them until a worker has accepted the call,
/// so a call that was refused can go to another worker. Also the callbacks, which exist as long as this.
#[derive(Clone, Debug, Default)]
pub struct StreamInputs {
    pub(super) streams: Vec<Arc<Input>>,
    pub(in crate::channel) callbacks: Vec<Arc<HostedCallback>>,
}

/// A stream in the parameters of a call.
pub(super) struct Input {
    producer: Mutex<Option<Box<dyn Producer>>>,
    is_taken: AtomicBool,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input(taken: {:?})", self.is_taken)
    }
}

impl Input {
    pub(super) fn new(producer: Box<dyn Producer>) -> Arc<Self> {
        Arc::new(Self {
            producer: Mutex::new(Some(producer)),
            is_taken: AtomicBool::new(false),
        })
    }

    /// Takes the stream, once.
    pub(super) fn take(&self) -> Option<Box<dyn Producer>> {
        self.is_taken.store(true, Ordering::Release);
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        producer.take()
    }
}

impl StreamInputs {
    /// Runs the encoder of a request, and collects the streams and callbacks in it.
    pub fn collect<T>(encode: impl FnOnce() -> T) -> (T, Self) {
        let (encoded, sent) = sending_request(encode);
        let inputs = Self {
            streams: sent.producers.into_iter().map(Input::new).collect(),
            callbacks: sent.callbacks,
        };
        (encoded, inputs)
    }

    /// The same for a method without streams: `None` if it hands over nothing.
    pub fn collect_callbacks<T>(encode: impl FnOnce() -> T) -> (T, Option<Self>) {
        let (encoded, sent) = sending_callbacks(encode);
        let inputs = sent.map(|sent| Self {
            streams: Vec::new(),
            callbacks: sent.callbacks,
        });
        (encoded, inputs)
    }

    /// Whether there are no streams.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether items may have been taken from one of them, so that the call cannot be made again.
    pub fn are_taken(&self) -> bool {
        let mut inputs = self.streams.iter();
        inputs.any(|input| input.is_taken.load(Ordering::Acquire))
    }
}
