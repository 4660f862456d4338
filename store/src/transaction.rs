//! What an operation works with, and what it leaves to be told.

use super::{
    model::{Settlement, TaskId, UnixMillis},
    sql::{Connection, SqlResult},
    tasks::usage::{self, Changes, Seen},
    timekeeper::{Timekeeper, step_watch::Reading},
};
use std::collections::BTreeSet;

/// A transaction that is under way.
pub(super) struct Transaction<'c> {
    pub(super) sql: Connection<'c>,
    /// The time at which all of it happens.
    pub(super) now: UnixMillis,
    /// How that was read.
    pub(super) reading: Reading,
    pub(super) time: &'c Timekeeper,
    /// What submitters had when they were last looked at.
    pub(super) seen: &'c Seen,
    /// Where it writes what tasks its submitters have: nobody else writes there at the same time, or
    /// seldom.
    pub(super) shard: i64,
    /// What it changed of that.
    pub(super) usage: Changes,
    /// What others are told once it is committed.
    pub(super) effects: Effects,
}

impl<'c> Transaction<'c> {
    pub(super) fn new(
        sql: Connection<'c>,
        time: &'c Timekeeper,
        seen: &'c Seen,
        reading: Reading,
        shard: i64,
    ) -> Self {
        Self {
            sql,
            seen,
            now: reading.shown,
            reading,
            time,
            shard,
            usage: Changes::default(),
            effects: Effects::default(),
        }
    }

    /// Ends it, with what it changed of what its submitters have. Gives what others are told.
    pub(super) async fn commit(mut self) -> SqlResult<Effects> {
        usage::commit(&mut self).await?;
        self.time.accept(&self.reading);
        self.seen.change(&self.usage);
        Ok(self.effects)
    }
}

/// What a transaction changed, as far as somebody may wait for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// Tasks of these objects may be claimed.
    pub(super) queued: BTreeSet<String>,
    /// Tasks that are in a final state.
    pub(super) settled: Vec<TaskId>,
    /// How some of them ended, as far as that is known without reading it.
    pub(super) ends: Vec<Settlement>,
    /// Topics that are longer.
    pub(super) topics: BTreeSet<String>,
    /// Whether static names changed.
    pub(super) names: bool,
    /// Whether revocations changed.
    pub(super) revocations: bool,
}

impl Effects {
    pub(super) fn queue(&mut self, object: &str) {
        if !self.queued.contains(object) {
            self.queued.insert(object.to_owned());
        }
    }
}
