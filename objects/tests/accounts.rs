//! Tests of accounts, over either database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

#[path = "accounts/conformance.rs"]
mod conformance;
#[path = "accounts/disk.rs"]
mod disk;
#[path = "accounts/loss.rs"]
mod loss;
#[path = "accounts/model.rs"]
mod model;
#[path = "accounts/place.rs"]
mod place;
#[path = "accounts/postgres.rs"]
mod postgres;
#[path = "accounts/schema.rs"]
mod schema;
