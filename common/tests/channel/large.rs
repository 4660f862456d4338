//! Large messages: decoding or encoding one does not block other tasks.

use crate::harness::*;
use pyroxene_common::{
    channel::{AttemptError, CallFailure, ClientConnection, Dispatch, Settings, serve},
    message::EncodedRequest,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};
use tarpc::context;
use tokio::{io::duplex, task::yield_now};

/// Larger than the limit for blocking work.
const LARGE: usize = 17 * 1024 * 1024;

/// A gate: one thread waits until another one opens it.
struct Gate {
    /// Whether a thread has arrived, and whether the gate is open.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    const fn new() -> Self {
        Self {
            state: Mutex::new((false, false)),
            changed: Condvar::new(),
        }
    }

    fn update(&self, change: impl FnOnce(&mut (bool, bool))) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Blocks the thread until the gate opens. Returns whether it opened in time.
    fn wait_for(&self, state: impl Fn(&(bool, bool)) -> bool) -> bool {
        let guard = self.state.lock().unwrap();
        let patience = Duration::from_secs(20);
        let waited = self
            .changed
            .wait_timeout_while(guard, patience, |now| !state(now));
        !waited.unwrap().1.timed_out()
    }

    fn pass(&self) -> Result<(), &'static str> {
        self.update(|state| state.0 = true);
        match self.wait_for(|state| state.1) {
            true => Ok(()),
            false => Err("nobody opened the gate: everybody was held up"),
        }
    }
}

const AT_SERVER_DECODING: usize = 0;
const AT_SERVER_ENCODING: usize = 1;
const AT_CLIENT_DECODING: usize = 2;

static GATES: [Gate; 3] = [Gate::new(), Gate::new(), Gate::new()];

/// A value whose encoding or decoding waits at a gate.
struct Slow<const AT: usize>;

impl<const AT: usize> Serialize for Slow<AT> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if AT == AT_SERVER_ENCODING {
            GATES[AT].pass().map_err(ser::Error::custom)?;
        }
        serializer.serialize_unit()
    }
}

impl<'de, const AT: usize> Deserialize<'de> for Slow<AT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if AT != AT_SERVER_ENCODING {
            GATES[AT].pass().map_err(de::Error::custom)?;
        }
        <()>::deserialize(deserializer).map(|()| Self)
    }
}

#[derive(Serialize, Deserialize)]
enum Ask {
    Open(usize),
    Decode(String, Slow<AT_SERVER_DECODING>),
    /// A method that answers from a task of its own.
    Encode,
    Answer,
}

#[derive(Serialize, Deserialize)]
enum Say {
    Done,
    Encoded(String, Slow<AT_SERVER_ENCODING>),
    Decoded(String, Slow<AT_CLIENT_DECODING>),
}

struct Porter;

impl Dispatch for Porter {
    type Request = Ask;
    type Response = Say;

    async fn dispatch(self: Arc<Self>, _: context::Context, ask: Ask) -> Result<Say, CallFailure> {
        let text = || "x".repeat(LARGE);
        Ok(match ask {
            Ask::Open(gate) => {
                GATES[gate].update(|state| state.1 = true);
                Say::Done
            }
            Ask::Decode(..) => Say::Done,
            Ask::Encode => {
                yield_now().await;
                Say::Encoded(text(), Slow)
            }
            Ask::Answer => Say::Decoded(text(), Slow),
        })
    }
}

fn connect() -> ClientConnection<Say> {
    let (ours, theirs) = duplex(64 * 1024);
    tokio::spawn(async move { serve(theirs, Arc::new(Porter), session()).await });
    ClientConnection::new(ours, Settings::CLIENT)
}

async fn ask(connection: &ClientConnection<Say>, ask: &Ask) -> Result<Say, AttemptError> {
    let request = EncodedRequest::new(ask).unwrap();
    connection.call(&minutes(1), &request).await
}

/// While a call waits at the gate, another one on another connection opens it.
async fn others_are_served_meanwhile(gate: usize, slow: Ask) {
    let (busy, other) = (connect(), connect());
    let call = tokio::spawn(async move { ask(&busy, &slow).await });
    // This thread does not belong to the runtime.
    assert!(GATES[gate].wait_for(|state| state.0), "nobody arrived");
    within(ask(&other, &Ask::Open(gate))).await.unwrap();
    within(call).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_decodes_serves_others_meanwhile() {
    let slow = Ask::Decode("x".repeat(LARGE), Slow);
    others_are_served_meanwhile(AT_SERVER_DECODING, slow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_encodes_serves_others_meanwhile() {
    others_are_served_meanwhile(AT_SERVER_ENCODING, Ask::Encode).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_that_decodes_lets_others_go_on() {
    others_are_served_meanwhile(AT_CLIENT_DECODING, Ask::Answer).await;
}

#[tokio::test]
async fn a_runtime_of_one_thread_carries_large_messages_too() {
    let pair = pair();
    let large = "x".repeat(LARGE);
    let answer = pair.call(crate::probe::echo(large.clone())).await;
    assert_eq!(text(answer), large);
}
