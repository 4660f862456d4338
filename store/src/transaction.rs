//! The context of an operation, and the effects that it reports.

use super::{
    batches::counts::{self, BatchChanges},
    model::{StoredTaskId, TaskResult, UnixMillis},
    sql::{SqlConnection, SqlResult},
    tasks::usage::{self, UsageCache, UsageChanges},
    timekeeper::{Timekeeper, step_watch::ClockReading},
};
use std::collections::BTreeSet;

/// A transaction in progress.
pub(super) struct Transaction<'c> {
    pub(super) sql: SqlConnection<'c>,
    /// The time at which all of it happens.
    pub(super) now: UnixMillis,
    /// The reading of the clock behind `now`.
    pub(super) reading: ClockReading,
    pub(super) time: &'c Timekeeper,
    /// The usage of submitters when it was last read.
    pub(super) usage_cache: &'c UsageCache,
    /// The shard to which it adds usage. No other transaction writes there at the same time, or seldom.
    pub(super) shard: i64,
    /// Its changes of usage.
    pub(super) usage: UsageChanges,
    /// Its changes of the counts of batches.
    pub(super) batches: BatchChanges,
    /// What others are told after the commit.
    pub(super) effects: Effects,
}

impl<'c> Transaction<'c> {
    pub(super) fn new(
        sql: SqlConnection<'c>,
        time: &'c Timekeeper,
        usage_cache: &'c UsageCache,
        reading: ClockReading,
        shard: i64,
    ) -> Self {
        Self {
            sql,
            usage_cache,
            now: reading.clock_time,
            reading,
            time,
            shard,
            usage: UsageChanges::default(),
            batches: BatchChanges::default(),
            effects: Effects::default(),
        }
    }

    /// Commits, together with the changes of counts and usage. Returns the effects to report.
    pub(super) async fn commit(mut self) -> SqlResult<Effects> {
        counts::count(&mut self.sql, &self.batches, self.shard).await?;
        usage::commit(&mut self.sql, &self.usage, self.shard).await?;
        self.time.accept(&self.reading);
        self.usage_cache.apply(&self.usage);
        Ok(self.effects)
    }
}

/// The changes of a transaction that others may wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// Tasks of these objects may be claimed.
    pub(super) queued: BTreeSet<String>,
    /// Tasks that are in a final state.
    pub(super) ended_tasks: Vec<StoredTaskId>,
    /// The results of some of them, as far as they are known without a query.
    pub(super) task_results: Vec<TaskResult>,
    /// Topics that have grown or were removed.
    pub(super) topics: BTreeSet<String>,
    /// Whether static names changed.
    pub(super) names: bool,
    /// Whether revocations or logouts changed.
    pub(super) revocations: bool,
    /// Whether schedules were added, or go on.
    pub(super) schedules: bool,
}

impl Effects {
    pub(super) fn queue(&mut self, object: &str) {
        if !self.queued.contains(object) {
            self.queued.insert(object.to_owned());
        }
    }
}
