//! For each submitter, the number of tasks that have not ended, and the bytes of all its tasks.
//!
//! Every transaction adds its changes once, at its end. Where transactions run in parallel, each adds to its
//! own shard, so that none waits for another one's commit.

use crate::{
    model::TaskUsage,
    sql::{ColumnType, Relation, SqlConnection, SqlResult},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
    time::Duration,
};
use tokio::time::Instant;

/// The size of a task besides its arguments and its result, in bytes.
pub(crate) const TASK_BYTES: i64 = 300;

/// The row of all submitters together.
pub(crate) const ALL_SUBMITTERS: &str = "*";

/// The changes of usage in a transaction.
#[derive(Debug, Default)]
pub(crate) struct UsageChanges(BTreeMap<String, TaskUsage>);

impl UsageChanges {
    /// Adds to a submitter's number of tasks that have not ended, and to its bytes.
    pub(crate) fn add(&mut self, submitter: &str, tasks: i64, bytes: i64) {
        for name in [submitter, ALL_SUBMITTERS] {
            let usage = match self.0.get_mut(name) {
                Some(usage) => usage,
                None => self.0.entry(name.to_owned()).or_default(),
            };
            usage.tasks += tasks;
            usage.bytes += bytes;
        }
    }

    /// Adds these changes to the usage of submitters.
    pub(super) fn add_to(&self, usage: &mut BTreeMap<String, TaskUsage>) {
        for (name, change) in &self.0 {
            let usage = usage.entry(name.clone()).or_default();
            usage.tasks += change.tasks;
            usage.bytes += change.bytes;
        }
    }
}

/// The size of a body.
pub(crate) fn size(body: &[u8]) -> i64 {
    i64::try_from(body.len()).unwrap_or(i64::MAX)
}

/// The name of the prepared statement that adds changes. No other program uses it.
static ADD: LazyLock<String> =
    LazyLock::new(|| format!("pyroxene_usage_{:016x}", rand::random::<u64>()));

fn rows<'a>() -> Relation<'a, 4> {
    Relation::new([
        ("submitter", ColumnType::Text),
        ("shard", ColumnType::Int),
        ("tasks", ColumnType::Int),
        ("bytes", ColumnType::Int),
    ])
}

fn add(u: &str) -> String {
    format!(
        "INSERT INTO task_usage (submitter, shard, tasks, bytes) \
         SELECT submitter, shard, tasks, bytes FROM {u} WHERE true \
         ON CONFLICT (submitter, shard) DO UPDATE SET \
         tasks = task_usage.tasks + excluded.tasks, bytes = task_usage.bytes + excluded.bytes"
    )
}

/// Prepares the statement of [`commit`] on a new connection.
pub(crate) async fn prepare(sql: &mut SqlConnection<'_>) -> SqlResult<()> {
    sql.prepare(&ADD, &rows(), add).await
}

/// Writes the changes of a transaction, and commits it. The rows are locked in the order of their names, so
/// that no two transactions wait for each other.
pub(crate) async fn commit(
    sql: &mut SqlConnection<'_>,
    changes: &UsageChanges,
    shard: i64,
) -> SqlResult<()> {
    let mut added = rows();
    for (submitter, usage) in &changes.0 {
        added.push([
            submitter.as_str().into(),
            shard.into(),
            usage.tasks.into(),
            usage.bytes.into(),
        ]);
    }
    sql.commit_with(&ADD, &added, add).await
}

/// How long a cached usage is used, with the changes that this process made since. Changes of other processes
/// in that time are not seen.
const CACHE_TTL: Duration = Duration::from_secs(1);

/// The largest number of cached submitters.
const MAX_CACHED_SUBMITTERS: usize = 4096;

/// The usage of submitters when it was last read, with the changes that this process made since.
#[derive(Debug, Default)]
pub(crate) struct UsageCache(Mutex<HashMap<String, (TaskUsage, Instant)>>);

impl UsageCache {
    /// The usage of these submitters, if all of them are cached.
    pub(super) fn of(&self, submitters: &BTreeSet<&str>) -> Option<BTreeMap<String, TaskUsage>> {
        let seen = self.0.lock();
        let known = submitters.iter().map(|name| {
            let (usage, at) = seen.get(*name)?;
            (at.elapsed() < CACHE_TTL).then(|| ((*name).to_owned(), *usage))
        });
        known.collect()
    }

    pub(super) fn insert_all(
        &self,
        submitters: &BTreeSet<&str>,
        found: &BTreeMap<String, TaskUsage>,
    ) {
        let mut seen = self.0.lock();
        if seen.len() + submitters.len() > MAX_CACHED_SUBMITTERS {
            seen.clear();
        }
        let now = Instant::now();
        for name in submitters {
            let usage = found.get(*name).copied().unwrap_or_default();
            seen.insert((*name).to_owned(), (usage, now));
        }
    }

    /// Applies the changes of a committed transaction.
    pub(crate) fn apply(&self, changes: &UsageChanges) {
        if changes.0.is_empty() {
            return;
        }
        let mut seen = self.0.lock();
        for (name, change) in &changes.0 {
            if let Some((usage, _)) = seen.get_mut(name) {
                usage.tasks += change.tasks;
                usage.bytes += change.bytes;
            }
        }
    }
}

/// Reads the usage of some submitters.
pub(crate) async fn read(
    sql: &mut SqlConnection<'_>,
    submitters: &BTreeSet<&str>,
) -> SqlResult<BTreeMap<String, TaskUsage>> {
    let mut relation = Relation::new([("name", ColumnType::Text)]);
    for name in submitters {
        relation.push([(*name).into()]);
    }
    let statement = |u: &str| {
        format!(
            "SELECT submitter, CAST(sum(tasks) AS BIGINT), CAST(sum(bytes) AS BIGINT) \
             FROM task_usage WHERE submitter IN (SELECT u.name FROM {u}) GROUP BY submitter"
        )
    };
    let mut found = BTreeMap::new();
    for row in sql.rows_with(&relation, &[], statement).await? {
        let usage = TaskUsage {
            tasks: row.int(1)?,
            bytes: row.int(2)?,
        };
        found.insert(row.text(0)?, usage);
    }
    Ok(found)
}
