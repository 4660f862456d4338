//! Tests of the store on both databases: one suite for both, and some tests for each.

#![allow(missing_docs, reason = "tests are described by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod exclusive_names;
mod harness;

mod batches;
mod clock_steps;
mod crash;
mod disk;
mod leases;
mod ownership;
mod pooler;
mod postgres;
mod records;
mod schedules;
mod schema;
mod sqlite;
mod tasks;
mod topics;
mod transfer;
mod usage;
mod visitors;
mod waiting;
