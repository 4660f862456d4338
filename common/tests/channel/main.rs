//! The call channel with normal, stalled and hostile peers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets a surprise should end"
)]

mod answers;
mod batches;
mod callback_limits;
mod callback_metadata;
mod callbacks;
mod deadlines;
mod drain;
mod harness;
mod hostile;
mod hosts;
mod large;
mod liveness;
mod loss;
mod memory;
mod metadata;
mod mutations;
mod one_way;
mod probe;
mod progress;
mod protocols;
mod sessions;
mod stock;
mod streams;
