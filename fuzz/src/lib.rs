//! Hostile input for everything that reads what strangers send.
//!
//! - [`targets`]: what is fed, and what must hold whatever it is fed.
//! - [`mutate`]: new inputs from the committed ones, the same for the same seed.
//! - [`runner`]: feeds a target its corpus, its past crashes and new inputs, and keeps what breaks it.
//! - [`seeds`]: the corpus to begin with, made of real messages.
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
