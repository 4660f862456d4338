//! Hostile input for all code that reads data from unauthenticated peers.
//!
//! - [`targets`]: the code under test, and the properties that must hold for every input.
//! - [`mutate`]: makes new inputs from the committed ones, the same inputs for the same seed.
//! - [`runner`]: runs a target with its corpus, its past crashes and new inputs, and saves inputs that break
//!   it.
//! - [`seeds`]: the initial corpus, made of real messages.
//!
//! The tests of this package run it; `README.md` says how to run it for longer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target that meets a surprise should end"
)]

pub mod mutate;
pub mod runner;
pub mod seeds;
pub mod targets;
