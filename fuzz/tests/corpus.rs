//! Runs every target with its corpus, its past crashes and a fixed number of new inputs.

#![allow(
    clippy::expect_used,
    reason = "a test that meets a surprise should end"
)]

use pyroxene_fuzz::{
    runner::{committed, run},
    seeds,
    targets::{Verdict, answers, frames, hello, json, pyro, requests, streams, tickets},
};
use std::{fs, path::Path};

/// Runs a future to its end in virtual time, which advances when no task can run.
fn in_virtual_time(future: impl Future<Output = Verdict>) -> Verdict {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("there is no runtime").block_on(future)
}

fn fuzz(name: &str, iterations: u64, target: impl Fn(&[u8]) -> Verdict) {
    run(
        name,
        Path::new(env!("CARGO_TARGET_TMPDIR")),
        iterations,
        target,
    );
}

#[test]
fn answers() {
    fuzz("answers", 6_000, |bytes| {
        in_virtual_time(answers::run(bytes))
    });
}

#[test]
fn frames() {
    fuzz("frames", 5_000, |bytes| in_virtual_time(frames::run(bytes)));
}

#[test]
fn streams() {
    fuzz("streams", 3_000, |bytes| {
        in_virtual_time(streams::run(bytes))
    });
}

#[test]
fn hello() {
    fuzz("hello", 15_000, |bytes| in_virtual_time(hello::run(bytes)));
}

#[test]
fn json() {
    fuzz("json", 60_000, json::run);
}

#[test]
fn pyro() {
    fuzz("pyro", 60_000, pyro::run);
}

#[test]
fn requests() {
    fuzz("requests", 60_000, requests::run);
}

#[test]
fn tickets() {
    fuzz("tickets", 10_000, tickets::run);
}

#[test]
fn the_corpus_has_the_seeds_of_this_version() {
    for seed in seeds::all() {
        let path = committed("corpus", seed.target).join(seed.name);
        let bytes = fs::read(&path).unwrap_or_default();
        let same = bytes == seed.bytes;
        assert!(
            same,
            "cargo run -p pyroxene-fuzz --example seeds writes {}",
            path.display()
        );
    }
}
