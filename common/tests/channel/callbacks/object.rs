//! An object that calls back, and what clients host for it.

use crate::harness::{decode, encode, within};
pub(crate) use caller::{CallerRequest as Request, CallerResponse as Response};
pub(crate) use ear::{EarRequest, EarResponse};
use pyroxene_common::{
    Remote,
    channel::{AttemptError, Callback},
    interface::RemoteTarget,
};
use std::sync::{Arc, Mutex};
use tarpc::context::Context;
use tokio::sync::watch;

pyroxene_common::interface! {
    /// Hears.
    #[name = "Test.Ear"]
    #[version = 1]
    pub trait Ear in ear {
        /// The text in capitals.
        async fn hear(text: String) -> String;
        /// Never answers.
        async fn linger() -> ();
        /// The text, once there is a sign.
        async fn wait(text: String) -> String;
        /// Panics.
        async fn panic() -> ();
    }
}

pyroxene_common::interface! {
    /// Calls back.
    #[name = "Test.Caller"]
    #[version = 1]
    pub trait Caller in caller {
        /// Calls back at once.
        async fn call_back(ear: Remote<Ear>, text: String) -> Result<String, String>;
        /// Calls back, and waits for ever.
        async fn wait_for(ear: Remote<Ear>) -> ();
        /// Keeps it.
        async fn keep(ear: Option<Remote<Ear>>) -> ();
        /// Keeps many.
        async fn keep_all(ears: Vec<Remote<Ear>>) -> usize;
        /// Answers.
        async fn number() -> u64;
    }
}

/// What a client hosts. It tells how many calls linger, and gives those that wait a sign.
#[derive(Clone, Default)]
pub(crate) struct Listener {
    lingering: watch::Sender<usize>,
    sign: watch::Sender<bool>,
}

struct Lingers(watch::Sender<usize>);

impl Drop for Lingers {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Listener {
    fn begin(&self) -> Lingers {
        self.lingering.send_modify(|count| *count += 1);
        Lingers(self.lingering.clone())
    }

    /// Gives the sign.
    pub(crate) fn open(&self) {
        self.sign.send_replace(true);
    }

    pub(crate) async fn lingers(&self, wanted: usize) {
        let mut seen = self.lingering.subscribe();
        within(seen.wait_for(|count| *count == wanted))
            .await
            .unwrap();
    }
}

impl ear::Ear for Listener {
    async fn hear(self, _: Context, text: String) -> String {
        text.to_uppercase()
    }
    async fn linger(self, _: Context) {
        let _lingers = self.begin();
        std::future::pending::<()>().await;
    }
    async fn wait(self, _: Context, text: String) -> String {
        let _lingers = self.begin();
        let mut sign = self.sign.subscribe();
        sign.wait_for(|sign| *sign).await.unwrap();
        text
    }
    async fn panic(self, _: Context) {
        panic!("on purpose")
    }
}

/// What a worker hosts.
#[derive(Clone, Default)]
pub(crate) struct Object(pub(super) Arc<Mutex<Vec<Remote<Ear>>>>);

impl Object {
    pub(crate) fn kept(&self) -> Callback {
        callback(self.0.lock().unwrap().last().unwrap())
    }
}

impl caller::Caller for Object {
    async fn call_back(
        self,
        context: Context,
        ear: Remote<Ear>,
        text: String,
    ) -> Result<String, String> {
        let heard = hear(&callback(&ear), &context, &text).await;
        heard.map_err(|error| format!("{error:?}"))
    }
    async fn wait_for(self, context: Context, ear: Remote<Ear>) {
        let _ = linger(&callback(&ear), &context).await;
    }
    async fn keep(self, _: Context, ear: Option<Remote<Ear>>) {
        self.0.lock().unwrap().extend(ear);
    }
    async fn keep_all(self, _: Context, ears: Vec<Remote<Ear>>) -> usize {
        self.0.lock().unwrap().extend(ears.iter().cloned());
        ears.len()
    }
    async fn number(self, _: Context) -> u64 {
        7
    }
}

fn callback(ear: &Remote<Ear>) -> Callback {
    match ear.target() {
        RemoteTarget::Callback(callback) => callback.clone(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn hear(
    callback: &Callback,
    context: &Context,
    text: &str,
) -> Result<String, AttemptError> {
    let text = text.to_owned();
    let answer = callback
        .call(context, encode(&EarRequest::Hear { text }))
        .await?;
    match decode(&answer) {
        EarResponse::Hear(text) => Ok(text),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn linger(
    callback: &Callback,
    context: &Context,
) -> Result<Vec<u8>, AttemptError> {
    callback.call(context, encode(&EarRequest::Linger {})).await
}
