//! The store: all data that outlives the name servers of a domain.
//!
//! - [`Store`]: tasks, schedules, leases, exclusive and static names, topics and revocations, in SQLite or PostgreSQL.
//!   The operations are written once (`tasks`, `schedules`, `leases`, `exclusive_names`, `static_names`,
//!   `topics`, `revocations`), in SQL that both databases understand (`sql`).
//! - Tasks that are submitted together are in `batches`.
//! - Single calls of many callers are written together (`batch`, `writer`).
//! - The next state of a task after an attempt is decided without a database (`task_state`).
//! - An owner keeps its lease with a [`LeaseKeeper`]. Which lease is over, and whether the clock was set, is decided by elapsed time (`timekeeper`);
//!   `clock_steps` corrects times after the clock was set.
//! - Hints wake waiters; without a hint they poll (`hints`, `waiters`).
//!
//! Nothing here depends on sockets, workers or the directory.

mod backend;
mod batch;
mod batches;
mod check;
mod clock_steps;
pub mod database;
mod drains;
mod error;
mod exclusive_names;
mod handle;
mod health;
mod hints;
mod lease_keeper;
mod leases;
mod logouts;
mod model;
mod open;
mod options;
mod peers;
mod revocations;
mod schedules;
mod schema;
mod snapshots;
mod sql;
mod static_names;
mod task_state;
mod tasks;
mod timekeeper;
mod topics;
mod transaction;
mod transfer;
mod visitors;
mod waiters;
mod writer;

pub use crate::database::{InvalidStoreUrl, StoreUrl};
pub use error::StoreError;
pub use handle::Store;
pub use health::WriteFigures;
pub use hints::{Hint, HintReceiver};
pub use lease_keeper::{HeldLease, LeaseKeeper, LeaseRenewal, RENEW_EVERY};
pub use logouts::{LOGOUT_LIFE, MAX_LOGOUTS};
pub use model::*;
pub use options::{ManualTime, StoreClock, StoreOptions};
pub use schedules::SCHEDULE_KEYS;
pub use transfer::TransferError;

use sql::SqlResult;
use transaction::Transaction;

/// Takes the next number of a counter. Its row stays locked until the transaction ends, so numbers become
/// visible in their order.
async fn next_number(transaction: &mut Transaction<'_>, counter: &str) -> SqlResult<i64> {
    let sql = "UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value";
    let row = transaction.sql.row(sql, &[counter.into()]).await?;
    row.ok_or(sqlx::Error::RowNotFound)?.int(0)
}
