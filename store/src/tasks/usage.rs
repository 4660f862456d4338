//! For each submitter, the number of tasks that have not ended, and the bytes of all its tasks.
//!
//! Every transaction adds its changes once, at its end. Where transactions run in parallel, each adds to its
//! own shard, so that none waits for another one's commit.

use crate::{
    model::{Allowance, Quota, TaskUsage},
    sql::{ColumnType, Relation, SqlConnection, SqlResult},
    transaction::Transaction,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
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
pub(crate) async fn commit(transaction: &mut Transaction<'_>) -> SqlResult<()> {
    let mut changes = rows();
    for (submitter, usage) in &transaction.usage.0 {
        changes.push([
            submitter.as_str().into(),
            transaction.shard.into(),
            usage.tasks.into(),
            usage.bytes.into(),
        ]);
    }
    transaction.sql.commit_with(&ADD, &changes, add).await
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
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (TaskUsage, Instant)>> {
        // Plain data: consistent even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The usage of these submitters, if all of them are cached.
    fn of(&self, submitters: &BTreeSet<&str>) -> Option<BTreeMap<String, TaskUsage>> {
        let seen = self.lock();
        let known = submitters.iter().map(|name| {
            let (usage, at) = seen.get(*name)?;
            (at.elapsed() < CACHE_TTL).then(|| ((*name).to_owned(), *usage))
        });
        known.collect()
    }

    fn insert_all(&self, submitters: &BTreeSet<&str>, found: &BTreeMap<String, TaskUsage>) {
        let mut seen = self.lock();
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
        let mut seen = self.lock();
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

/// The rest of allowances, as a batch uses them up.
#[derive(Debug)]
pub(super) struct RemainingAllowance(BTreeMap<String, TaskUsage>);

impl RemainingAllowance {
    /// From the cached usage, if all submitters are cached.
    pub(super) fn from_cache(
        transaction: &Transaction<'_>,
        submitters: &BTreeSet<&str>,
    ) -> Option<Self> {
        let usage = transaction.usage_cache.of(submitters)?;
        Some(Self::within(transaction, usage))
    }

    /// From the usage in the store.
    pub(super) async fn from_store(
        transaction: &mut Transaction<'_>,
        submitters: &BTreeSet<&str>,
    ) -> SqlResult<Self> {
        let usage = read(&mut transaction.sql, submitters).await?;
        transaction.usage_cache.insert_all(submitters, &usage);
        Ok(Self::within(transaction, usage))
    }

    /// Includes the changes of the transaction so far.
    fn within(transaction: &Transaction<'_>, mut usage: BTreeMap<String, TaskUsage>) -> Self {
        for (name, change) in &transaction.usage.0 {
            let usage = usage.entry(name.clone()).or_default();
            usage.tasks += change.tasks;
            usage.bytes += change.bytes;
        }
        Self(usage)
    }

    /// Uses more of an allowance, or returns the quota that would be exceeded.
    pub(super) fn take(
        &mut self,
        submitter: &str,
        more: TaskUsage,
        allowance: &Allowance,
    ) -> Result<(), Quota> {
        let of = |name: &str| self.0.get(name).copied().unwrap_or_default();
        let (own, all) = (of(submitter), of(ALL_SUBMITTERS));
        let exceeds =
            |used: i64, more: i64, most: i64| more > 0 && used.saturating_add(more) > most;
        let quotas = [
            (Quota::Tasks, own.tasks, more.tasks, allowance.tasks),
            (Quota::Bytes, own.bytes, more.bytes, allowance.bytes),
            (Quota::AllTasks, all.tasks, more.tasks, allowance.all_tasks),
            (Quota::AllBytes, all.bytes, more.bytes, allowance.all_bytes),
        ];
        let exceeded = quotas
            .into_iter()
            .find(|(_, used, more, most)| exceeds(*used, *more, *most));
        if let Some((quota, ..)) = exceeded {
            return Err(quota);
        }
        for name in [submitter, ALL_SUBMITTERS] {
            let usage = self.0.entry(name.to_owned()).or_default();
            usage.tasks += more.tasks;
            usage.bytes += more.bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_uses_up_what_its_submitters_and_all_together_may_have() {
        let mut room = RemainingAllowance(BTreeMap::new());
        let allowance = Allowance {
            tasks: 3,
            bytes: 1000,
            all_tasks: 4,
            all_bytes: i64::MAX,
        };
        let more = |tasks, bytes| TaskUsage { tasks, bytes };
        assert_eq!(room.take("ana", more(2, 100), &allowance), Ok(()));
        assert_eq!(
            room.take("ana", more(2, 100), &allowance),
            Err(Quota::Tasks)
        );
        assert_eq!(
            room.take("ana", more(1, 901), &allowance),
            Err(Quota::Bytes)
        );
        assert_eq!(
            room.take("bob", more(3, 1), &allowance),
            Err(Quota::AllTasks)
        );
        assert_eq!(room.take("bob", more(2, 1), &allowance), Ok(()));
        // A change that needs nothing is allowed even above the allowance.
        let less = Allowance {
            tasks: 1,
            ..allowance
        };
        assert_eq!(room.take("ana", more(0, 0), &less), Ok(()));
    }
}
