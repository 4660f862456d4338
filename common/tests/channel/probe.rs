//! The object under test: methods that answer, wait, hang, panic and record notes on request.

use pyroxene_common::scope::progress;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tarpc::context::Context;
use tokio::sync::{Semaphore, watch};

pyroxene_common::interface! {
    /// Methods that misbehave on request.
    #[name = "Test.Probe"]
    #[version = 1]
    pub trait Probe in probe {
        /// Answers the text at the first poll.
        async fn echo(text: String) -> String;
        /// Answers the number after the gate.
        async fn pass(number: u32) -> u32;
        /// Never answers.
        async fn hang();
        /// Answers this many characters, up to a mebibyte.
        async fn produce(count: u64) -> String;
        /// Records a note.
        async fn note(number: u32);
        /// Records a note after the gate.
        async fn note_later(number: u32);
        /// Panics at the first poll.
        async fn panic_now(message: String);
        /// Panics after the gate.
        async fn panic_later(message: String);
        /// Reports its progress before each of this many passes of the gate: once for each step, or a
        /// thousand times for each step.
        async fn work(steps: u32, chatty: bool) -> u32;
        /// Reports its progress every ten milliseconds.
        async fn chatter(times: u32);
    }
}

pub(crate) use probe::{ProbeRequest as Request, ProbeResponse as Response};

/// What the test sees of the object, and the object itself.
#[derive(Clone)]
pub(crate) struct Object(Arc<Inner>);

struct Inner {
    gate: Semaphore,
    started: watch::Sender<usize>,
    dropped: watch::Sender<usize>,
    notes: watch::Sender<Vec<u32>>,
}

impl Object {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            gate: Semaphore::new(0),
            started: watch::Sender::new(0),
            dropped: watch::Sender::new(0),
            notes: watch::Sender::new(Vec::new()),
        }))
    }

    /// Lets this many calls pass the gate.
    pub(crate) fn open(&self, count: usize) {
        self.0.gate.add_permits(count);
    }

    /// Waits until this many calls have started to wait or hang.
    pub(crate) async fn started(&self, count: usize) {
        let mut started = self.0.started.subscribe();
        started.wait_for(|&seen| seen >= count).await.unwrap();
    }

    pub(crate) fn started_now(&self) -> usize {
        *self.0.started.borrow()
    }

    /// Waits until this many calls that started to wait or hang have ended in any way.
    pub(crate) async fn dropped(&self, count: usize) {
        let mut dropped = self.0.dropped.subscribe();
        dropped.wait_for(|&seen| seen >= count).await.unwrap();
    }

    /// Waits until this many notes were recorded, and returns them.
    pub(crate) async fn notes(&self, count: usize) -> Vec<u32> {
        let mut notes = self.0.notes.subscribe();
        let notes = notes.wait_for(|seen| seen.len() >= count).await.unwrap();
        notes.clone()
    }

    pub(crate) fn notes_now(&self) -> Vec<u32> {
        self.0.notes.borrow().clone()
    }

    fn enter(&self) -> Guard {
        self.0.started.send_modify(|count| *count += 1);
        Guard(Arc::clone(&self.0))
    }

    async fn gate(&self) {
        let _guard = self.enter();
        self.0.gate.acquire().await.unwrap().forget();
    }
}

struct Guard(Arc<Inner>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.dropped.send_modify(|count| *count += 1);
    }
}

impl probe::Probe for Object {
    async fn echo(self, _: Context, text: String) -> String {
        text
    }
    async fn pass(self, _: Context, number: u32) -> u32 {
        self.gate().await;
        number
    }
    async fn hang(self, _: Context) {
        let _guard = self.enter();
        std::future::pending().await
    }
    async fn produce(self, _: Context, count: u64) -> String {
        "x".repeat(usize::try_from(count.min(1 << 20)).unwrap())
    }
    async fn note(self, _: Context, number: u32) {
        self.0.notes.send_modify(|notes| notes.push(number));
    }
    async fn note_later(self, _: Context, number: u32) {
        self.gate().await;
        self.0.notes.send_modify(|notes| notes.push(number));
    }
    async fn panic_now(self, _: Context, message: String) {
        panic!("{message}");
    }
    async fn panic_later(self, _: Context, message: String) {
        self.gate().await;
        panic!("{message}");
    }
    async fn work(self, _: Context, steps: u32, chatty: bool) -> u32 {
        for step in 0..steps {
            for _ in 0..if chatty { 1000 } else { 0 } {
                progress(0.0, "nearly nothing");
            }
            progress(f64::from(step) / f64::from(steps), format!("step {step}"));
            self.gate().await;
        }
        steps
    }
    async fn chatter(self, _: Context, times: u32) {
        for time in 1..=times {
            progress(f64::from(time) / f64::from(times), "");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A flag that a test raises and checks.
#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) fn echo(text: impl Into<String>) -> Request {
    Request::Echo { text: text.into() }
}

pub(crate) fn hang() -> Request {
    Request::Hang {}
}

pub(crate) fn pass(number: u32) -> Request {
    Request::Pass { number }
}
