//! The fault campaign: a broker of real processes under steady load. Faults are injected at random from a
//! seed, while every promise is checked. See `README.md` beside this file.
//!
//! - [`plan`]: the faults, which depend only on the seed.
//! - [`daemon`] and [`stage`]: the processes and their supervision, the machines and the networks.
//! - [`conductor`]: injects faults, heals them, and keeps enough processes healthy for calls to succeed.
//! - [`load`]: the steady load of clients, the answers that they got, and the checks of these answers.
//!
//! The harness in `tests/it` starts processes, breaks networks and machines, and keeps ledgers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a campaign that cannot go on must fail"
)]

mod arguments;
mod daemon;
mod injector;
#[allow(dead_code, unused_imports, reason = "each program uses a part of it")]
#[path = "../it"]
mod it {
    pub(crate) mod bank;
    pub(crate) mod exclusive;
    pub(crate) mod fault_proxy;
    pub(crate) mod harness;
}
mod broker;
mod load;
mod plan;
mod report;

use arguments::Arguments;
use broker::CampaignBroker;
use injector::FaultInjector;
use it::{bank, exclusive, fault_proxy, harness};
use load::Load;
use report::CampaignReport;
use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if harness::ledger::is_host() {
        runtime.block_on(harness::ledger::host());
        return ExitCode::SUCCESS;
    }
    let Some(arguments) = Arguments::read() else {
        return ExitCode::SUCCESS;
    };
    runtime.block_on(run(&arguments))
}

/// Runs one campaign, and reports its result.
async fn run(arguments: &Arguments) -> ExitCode {
    println!("campaign {arguments}");
    let verdict = CampaignReport::default();
    let stage = CampaignBroker::start(arguments.store, &verdict).await;
    let load = Load::start(&stage, &verdict).await;
    let injected = FaultInjector::new(&stage, &verdict).inject(arguments).await;
    load.finish(&stage).await;
    let dir = stage.stop().await;
    let violations = verdict.violations();
    for violation in &violations {
        println!("VIOLATION: {violation}");
    }
    println!(
        "{injected} faults injected, {} violations; {}",
        violations.len(),
        verdict.counts()
    );
    if violations.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("the logs of the daemons are in {}", dir.keep().display());
    println!("to inject the same faults again: cargo test --test campaign -- {arguments}");
    ExitCode::FAILURE
}
