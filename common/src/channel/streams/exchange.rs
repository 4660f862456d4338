//! How streams get in and out of requests and answers.
//!
//! A stream is encoded as its position in the message, and what makes its items is handed over beside the
//! encoding, through a thread-local that is set while the codec runs. In JSON it is the same: the items are
//! then texts in JSON. Outside of that a stream cannot be encoded or decoded.

use super::{failure::StreamError, inbox::Inbox, producer::Producer};
use futures::Stream as Items;
use std::{
    any::Any,
    cell::{Cell, RefCell},
    pin::Pin,
    sync::Arc,
};

/// Items as JSON texts.
pub(super) type JsonItems = Pin<Box<dyn Items<Item = Result<String, StreamError>> + Send>>;

/// A message holds no more streams than this.
const MAX_STREAMS: usize = 16;

/// Whether streams can be exchanged on this thread now, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Closed,
    Binary,
    Json,
}

thread_local! {
    static SENDING: Cell<Exchange> = const { Cell::new(Exchange::Closed) };
    static HAS_SENT: Cell<bool> = const { Cell::new(false) };
    static SENT: RefCell<Vec<Box<dyn Producer>>> = const { RefCell::new(Vec::new()) };
    static SENT_JSON: RefCell<Vec<JsonItems>> = const { RefCell::new(Vec::new()) };
    static RECEIVING: Cell<Exchange> = const { Cell::new(Exchange::Closed) };
    static HAS_RECEIVED: Cell<bool> = const { Cell::new(false) };
    static RECEIVED: RefCell<Vec<Arc<Inbox>>> = const { RefCell::new(Vec::new()) };
    static JSON_INPUTS: RefCell<Vec<Option<JsonItems>>> = const { RefCell::new(Vec::new()) };
    /// What the method that is polled on this thread keeps while its answer's streams run.
    static KEPT: RefCell<Vec<Box<dyn Any + Send>>> = const { RefCell::new(Vec::new()) };
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

/// What a method keeps while its answer's streams run.
pub(crate) type Kept = Option<Vec<Box<dyn Any + Send>>>;

/// Runs an encoder, and returns what makes the items of the streams that it encoded.
pub(crate) fn sending<T>(encode: impl FnOnce() -> T) -> (T, SentStreams) {
    let encoded = {
        let _opened = Opened::new(&SENDING, Exchange::Binary);
        encode()
    };
    match HAS_SENT.replace(false) {
        true => (encoded, Some(SENT.take())),
        false => (encoded, None),
    }
}

/// Runs a decoder, and returns the inboxes of the streams that it decoded.
pub(crate) fn receiving<T>(decode: impl FnOnce() -> T) -> (T, Option<Vec<Arc<Inbox>>>) {
    let decoded = {
        let _opened = Opened::new(&RECEIVING, Exchange::Binary);
        decode()
    };
    match HAS_RECEIVED.replace(false) {
        true => (decoded, Some(RECEIVED.take())),
        false => (decoded, None),
    }
}

/// Runs an encoder to JSON, and returns the streams that it encoded, as streams of JSON texts.
pub(super) fn sending_json<T>(encode: impl FnOnce() -> T) -> (T, Vec<JsonItems>) {
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

pub(super) fn form_of_sending() -> Exchange {
    SENDING.get()
}

pub(super) fn form_of_receiving() -> Exchange {
    RECEIVING.get()
}

/// Hands over what makes the items of a stream that is being encoded. Returns its position.
pub(super) fn send(producer: Box<dyn Producer>) -> Result<u32, String> {
    HAS_SENT.set(true);
    SENT.with_borrow_mut(|sent| add(sent, producer))
}

/// The same in JSON.
pub(super) fn send_json(items: JsonItems) -> Result<u32, String> {
    SENT_JSON.with_borrow_mut(|sent| add(sent, items))
}

/// Hands over the inbox of a stream that is being decoded, which is at this position.
pub(super) fn receive(position: u32, inbox: Arc<Inbox>) -> Result<(), String> {
    HAS_RECEIVED.set(true);
    RECEIVED.with_borrow_mut(|received| match add(received, inbox)? == position {
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

fn add<T>(list: &mut Vec<T>, element: T) -> Result<u32, String> {
    if list.len() >= MAX_STREAMS {
        return Err(format!("a message holds more than {MAX_STREAMS} streams"));
    }
    list.push(element);
    Ok(u32::try_from(list.len() - 1).unwrap_or(u32::MAX))
}

/// Keeps a value until the streams in the answer of the call that is polled on this thread have ended. It is
/// called in the poll that returns the answer.
pub fn keep_while_streaming(value: impl Any + Send) {
    HAS_KEPT.set(true);
    KEPT.with_borrow_mut(|kept| kept.push(Box::new(value)));
}

/// Takes what the call just polled on this thread keeps.
pub(crate) fn take_kept() -> Kept {
    match HAS_KEPT.replace(false) {
        true => Some(KEPT.take()),
        false => None,
    }
}
