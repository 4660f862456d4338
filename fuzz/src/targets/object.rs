//! The object that receives hostile calls.

use std::time::Duration;
use tarpc::context::Context;
use tokio::time::sleep;

pyroxene_common::interface! {
    /// Methods that answer at once, late, with much or with nothing.
    #[name = "Fuzz.Probe"]
    #[version = 1]
    pub trait Probe in probe {
        /// Returns the text.
        async fn echo(text: String) -> String;
        /// Returns the number after as many milliseconds, ten seconds at most.
        async fn pass(ms: u32) -> u32;
        /// Returns as many characters, 64 KiB at most.
        async fn produce(count: u64) -> String;
        /// Returns nothing.
        async fn note(numbers: Vec<u32>);
        /// Returns an error, unless there is a text.
        async fn insist(text: Option<String>) -> Result<String, String>;
    }
}

pub(crate) use probe::{ProbeRequest as Request, ProbeResponse as Response};

#[derive(Clone)]
pub(super) struct Object;

impl probe::Probe for Object {
    async fn echo(self, _: Context, text: String) -> String {
        text
    }
    async fn pass(self, _: Context, ms: u32) -> u32 {
        sleep(Duration::from_millis(ms.min(10_000).into())).await;
        ms
    }
    async fn produce(self, _: Context, count: u64) -> String {
        "x".repeat(usize::try_from(count.min(1 << 16)).unwrap())
    }
    async fn note(self, _: Context, _: Vec<u32>) {}
    async fn insist(self, _: Context, text: Option<String>) -> Result<String, String> {
        text.ok_or_else(|| "there is no text".to_owned())
    }
}
