//! The vocabulary of the tests: brokers of real processes, load on them, and waiting.
//!
//! Everything that a test starts ends with it, however it ends: processes are killed when they are
//! dropped, and end by themselves when this process does. What they wrote on standard error is
//! shown when a test fails.

mod broker;
mod command;
pub(crate) mod http;
mod keys;
pub(crate) mod ledger;
mod load;
#[path = "../../objects/tests/accounts/postgres.rs"]
pub(crate) mod postgres;
pub(crate) mod process;
mod secured;
#[path = "../machine/shim.rs"]
mod shim;
mod terminal;
mod wait;
mod wiretap;

pub(crate) use broker::{Broker, OBJECTS, Plan, Terms};
pub(crate) use command::{Ran, start_command, start_command_with, start_program};
pub(crate) use keys::{Keys, write_private};
pub(crate) use load::Load;
pub(crate) use process::Process;
pub(crate) use secured::SecuredBroker;
pub(crate) use shim::Shim;
pub(crate) use terminal::Terminal;
pub(crate) use wait::{eventually, eventually_within, in_time};
pub(crate) use wiretap::Wiretap;

use std::time::{Duration, Instant};
use tarpc::context::{self, Context};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Where cargo built the program.
pub(crate) const PYROXENE: &str = env!("CARGO_BIN_EXE_pyroxene");

/// The context of a call with this much time.
pub(crate) fn within(time: Duration) -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + time;
    context
}

/// Seconds, for short.
pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Waits for the turn of a test that keeps the machine busy or measures time: there is one at a
/// time.
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    static TURN: Semaphore = Semaphore::const_new(1);
    TURN.acquire().await.expect("nobody closes it")
}
