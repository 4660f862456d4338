//! How streams and callbacks get in and out of requests and answers.
//!
//! A stream is encoded as its position in the message, and what makes its items is handed over beside the
//! encoding, through a thread-local that is set while the codec runs. In JSON it is the same: the items are
//! then texts in JSON. Outside of that a stream cannot be encoded or decoded.
//! A callback is encoded as its number, in requests alone, and the object is handed over in the same way.

use super::{
    failure::StreamError,
    inbox::Inbox,
    keeper::{Kept, StreamKeeper},
    producer::Producer,
};
use crate::{
    channel::callbacks::{Callback, HostedCallback, ReceivedCallback},
    message::SpokenVersion,
};
use futures::Stream as Items;
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    sync::Arc,
};

/// Items as JSON texts.
pub(super) type JsonItems = Pin<Box<dyn Items<Item = Result<String, StreamError>> + Send>>;

/// A message holds no more streams, and no more callbacks, than this.
const MAX_EXCHANGED: usize = 16;

/// Whether streams can be exchanged on this thread now, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Closed,
    /// A request.
    Request,
    /// A request of a method without streams. Some value within it may be a callback.
    Callbacks,
    /// An answer, or whatever is received.
    Binary,
    Json,
    /// Nothing is received: only the form of a message is read.
    Shape,
}

/// What was encoded beside a message.
pub(crate) struct Sent {
    /// What makes the items of its streams.
    pub(crate) producers: Vec<Box<dyn Producer>>,
    /// The callbacks that it hands over.
    pub(crate) callbacks: Vec<Arc<HostedCallback>>,
}

/// What was decoded beside a message.
pub(crate) struct Received {
    /// The inboxes of its streams.
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    /// The callbacks that it hands over.
    pub(crate) callbacks: Vec<Arc<ReceivedCallback>>,
}

thread_local! {
    static SENDING: Cell<Exchange> = const { Cell::new(Exchange::Closed) };
    static HAS_SENT: Cell<bool> = const { Cell::new(false) };
    static SENT: RefCell<Vec<Box<dyn Producer>>> = const { RefCell::new(Vec::new()) };
    static SENT_CALLBACKS: RefCell<Vec<Arc<HostedCallback>>> = const { RefCell::new(Vec::new()) };
    static RECEIVED_CALLBACKS: RefCell<Vec<Arc<ReceivedCallback>>> =
        const { RefCell::new(Vec::new()) };
    static SENT_JSON: RefCell<Vec<JsonItems>> = const { RefCell::new(Vec::new()) };
    static RECEIVING: Cell<Exchange> = const { Cell::new(Exchange::Closed) };
    static HAS_RECEIVED: Cell<bool> = const { Cell::new(false) };
    static RECEIVED: RefCell<Vec<Arc<Inbox>>> = const { RefCell::new(Vec::new()) };
    static JSON_INPUTS: RefCell<Vec<Option<JsonItems>>> = const { RefCell::new(Vec::new()) };
    /// What the method that is polled on this thread keeps while its answer's streams run.
    static KEPT: RefCell<Vec<Box<dyn StreamKeeper>>> = const { RefCell::new(Vec::new()) };
    static HAS_KEPT: Cell<bool> = const { Cell::new(false) };
}

/// Sets a cell until it is dropped, also when the codec panics.
struct Opened(&'static std::thread::LocalKey<Cell<Exchange>>, Exchange);

impl Opened {
    fn new(cell: &'static std::thread::LocalKey<Cell<Exchange>>, form: Exchange) -> Self {
        Self(cell, cell.replace(form))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// What makes the items of the streams in a message. `None` in most messages: a list that is empty would have to be
/// looked at again wherever it is dropped.
pub(crate) type SentStreams = Option<Vec<Box<dyn Producer>>>;

/// Drops what an encoder that panicked has left on this thread: the next message must not hand it over.
fn forget_sent() {
    if HAS_SENT.replace(false) {
        SENT.take();
        SENT_CALLBACKS.take();
    }
}

/// Drops what a decoder that panicked has left.
fn forget_received() {
    if HAS_RECEIVED.replace(false) {
        RECEIVED.take();
        RECEIVED_CALLBACKS.take();
    }
}

/// Runs the encoder of a request, and returns what it encoded beside it.
pub(super) fn sending_request<T>(encode: impl FnOnce() -> T) -> (T, Sent) {
    forget_sent();
    let encoded = {
        let _opened = Opened::new(&SENDING, Exchange::Request);
        encode()
    };
    let sent = Sent {
        producers: SENT.take(),
        callbacks: SENT_CALLBACKS.take(),
    };
    HAS_SENT.set(false);
    (encoded, sent)
}

/// The same for a method without streams, whose requests hand nothing over as a rule: `None` then.
pub(super) fn sending_callbacks<T>(encode: impl FnOnce() -> T) -> (T, Option<Sent>) {
    forget_sent();
    let encoded = {
        let _opened = Opened::new(&SENDING, Exchange::Callbacks);
        encode()
    };
    let sent = HAS_SENT.replace(false).then(|| Sent {
        producers: Vec::new(),
        callbacks: SENT_CALLBACKS.take(),
    });
    (encoded, sent)
}

/// Runs the encoder of an answer, and returns what makes the items of the streams that it encoded.
pub(crate) fn sending<T>(encode: impl FnOnce() -> T) -> (T, SentStreams) {
    forget_sent();
    let encoded = {
        let _opened = Opened::new(&SENDING, Exchange::Binary);
        encode()
    };
    match HAS_SENT.replace(false) {
        true => (encoded, Some(SENT.take())),
        false => (encoded, None),
    }
}

/// Runs a decoder, and returns what it decoded beside the message, if there was something.
pub(crate) fn receiving<T>(decode: impl FnOnce() -> T) -> (T, Option<Received>) {
    forget_received();
    let decoded = {
        let _opened = Opened::new(&RECEIVING, Exchange::Binary);
        decode()
    };
    match HAS_RECEIVED.replace(false) {
        true => {
            let received = Received {
                inboxes: RECEIVED.take(),
                callbacks: RECEIVED_CALLBACKS.take(),
            };
            (decoded, Some(received))
        }
        false => (decoded, None),
    }
}

/// Runs an encoder to JSON, and returns the streams that it encoded, as streams of JSON texts.
pub(super) fn sending_json<T>(encode: impl FnOnce() -> T) -> (T, Vec<JsonItems>) {
    // An encoder that panicked may have left some.
    SENT_JSON.take();
    let encoded = {
        let _opened = Opened::new(&SENDING, Exchange::Json);
        encode()
    };
    (encoded, SENT_JSON.take())
}

/// Runs a decoder of JSON. A stream in it is the position of one of `inputs`, whose items are JSON texts.
pub(super) fn receiving_json<T>(inputs: Vec<JsonItems>, decode: impl FnOnce() -> T) -> T {
    let _opened = Opened::new(&RECEIVING, Exchange::Json);
    JSON_INPUTS.set(inputs.into_iter().map(Some).collect());
    let decoded = decode();
    JSON_INPUTS.take();
    decoded
}

/// Runs decoders that are only asked for the form of what they read: a stream is read as its items are.
pub(crate) fn tracing_shapes<T>(decode: impl FnOnce() -> T) -> T {
    let _opened = Opened::new(&RECEIVING, Exchange::Shape);
    decode()
}

/// Whether [`tracing_shapes`] runs.
pub(crate) fn is_tracing_shapes() -> bool {
    RECEIVING.get() == Exchange::Shape
}

pub(super) fn form_of_sending() -> Exchange {
    SENDING.get()
}

pub(super) fn form_of_receiving() -> Exchange {
    RECEIVING.get()
}

/// Hands over what makes the items of a stream that is being encoded. Returns its position.
pub(super) fn send(producer: Box<dyn Producer>) -> Result<u32, String> {
    HAS_SENT.set(true);
    SENT.with_borrow_mut(|sent| add(sent, producer, "streams"))
}

/// Hands over a callback that is being encoded. Returns its number.
pub(crate) fn hand_over(callback: &Callback) -> Result<u64, String> {
    if !matches!(SENDING.get(), Exchange::Request | Exchange::Callbacks) {
        return Err("a callback can be handed over only in the arguments of a call".to_owned());
    }
    let callback = callback.to_hand_over();
    let id = callback.id();
    HAS_SENT.set(true);
    SENT_CALLBACKS.with_borrow_mut(|sent| add(sent, callback, "callbacks"))?;
    Ok(id)
}

/// Receives a callback that is being decoded.
pub(crate) fn receive_callback(
    id: u64,
    spoken: Vec<SpokenVersion>,
) -> Result<Arc<ReceivedCallback>, String> {
    if RECEIVING.get() != Exchange::Binary {
        return Err("a callback cannot be received here".to_owned());
    }
    HAS_RECEIVED.set(true);
    let callback = ReceivedCallback::new(id, spoken);
    let received = Arc::clone(&callback);
    RECEIVED_CALLBACKS.with_borrow_mut(|all| add(all, received, "callbacks"))?;
    Ok(callback)
}

/// The same in JSON.
pub(super) fn send_json(items: JsonItems) -> Result<u32, String> {
    SENT_JSON.with_borrow_mut(|sent| add(sent, items, "streams"))
}

/// Hands over the inbox of a stream that is being decoded, which is at this position.
pub(super) fn receive(position: u32, inbox: Arc<Inbox>) -> Result<(), String> {
    HAS_RECEIVED.set(true);
    RECEIVED.with_borrow_mut(|all| match add(all, inbox, "streams")? == position {
        true => Ok(()),
        false => Err("the streams of a message are not in their order".to_owned()),
    })
}

/// The input at this position.
pub(super) fn receive_json(position: u32) -> Result<JsonItems, String> {
    JSON_INPUTS
        .with_borrow_mut(|inputs| inputs.get_mut(position as usize).and_then(Option::take))
        .ok_or_else(|| format!("there is no stream {position}"))
}

fn add<T>(list: &mut Vec<T>, element: T, what: &str) -> Result<u32, String> {
    if list.len() >= MAX_EXCHANGED {
        return Err(format!("a message holds more than {MAX_EXCHANGED} {what}"));
    }
    list.push(element);
    Ok(u32::try_from(list.len() - 1).unwrap_or(u32::MAX))
}

/// Keeps a value until the streams in the answer of the call that is polled on this thread have ended. It is
/// called in the poll that returns the answer.
pub fn keep_while_streaming(value: impl StreamKeeper) {
    HAS_KEPT.set(true);
    KEPT.with_borrow_mut(|kept| kept.push(Box::new(value)));
}

/// The output of a call within the process, with what it keeps while the streams of its answer run.
pub(crate) async fn with_kept<F: Future>(call: F) -> (F::Output, Kept) {
    let mut call = std::pin::pin!(call);
    std::future::poll_fn(|context| {
        call.as_mut()
            .poll(context)
            .map(|output| (output, take_kept()))
    })
    .await
}

/// Takes what the call just polled on this thread keeps.
pub(crate) fn take_kept() -> Kept {
    match HAS_KEPT.replace(false) {
        true => Some(KEPT.take()),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel::streams::Stream, codec};
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    #[test]
    fn what_a_codec_that_panics_has_left_is_not_in_the_next_message() {
        let stream = || Stream::new(futures::stream::iter([1_u32]));
        let panicking = |run: &dyn Fn()| {
            let run = || {
                run();
                resume_unwind(Box::new(()))
            };
            catch_unwind(AssertUnwindSafe(run)).unwrap_err()
        };
        let callback = Callback::Hosted(HostedCallback::new(|_, request| async { Ok(request) }));
        panicking(&|| {
            sending_request(|| {
                hand_over(&callback).unwrap();
                codec::encode(&stream()).unwrap();
                resume_unwind(Box::new(()))
            });
        });
        let (encoded, sent) = sending_request(|| codec::encode(&stream()).unwrap());
        assert_eq!(encoded, [0; 4]);
        assert_eq!((sent.producers.len(), sent.callbacks.len()), (1, 0));
        panicking(&|| {
            sending(|| {
                codec::encode(&stream()).unwrap();
                resume_unwind(Box::new(()))
            });
        });
        assert!(sending(|| ()).1.is_none());
        panicking(&|| {
            receiving(|| {
                codec::decode::<Stream<u32>>(&[0; 4]).unwrap();
                resume_unwind(Box::new(()))
            });
        });
        assert!(receiving(|| ()).1.is_none());
        panicking(&|| {
            sending_json(|| {
                serde_json::to_string(&stream()).unwrap();
                resume_unwind(Box::new(()))
            });
        });
        let (text, streams) = sending_json(|| serde_json::to_string(&stream()).unwrap());
        assert_eq!((text.as_str(), streams.len()), ("0", 1));
    }
}
