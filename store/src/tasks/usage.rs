//! How many tasks submitters have that have not ended, and how many bytes all their tasks take.
//!
//! Every transaction adds what it changed, once and at its end, to a shard of its own where others
//! write at the same time: so nobody waits for somebody else's commit.

use crate::{
    model::{Allowance, Quota, Usage},
    sql::{Connection, Kind, Relation, SqlResult},
    transaction::Transaction,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// What a task takes beyond its arguments and its result, in bytes.
pub(crate) const TASK_BYTES: i64 = 300;

/// The row of all submitters together.
pub(crate) const EVERYBODY: &str = "*";

/// What a transaction changes.
#[derive(Debug, Default)]
pub(crate) struct Changes(BTreeMap<String, Usage>);

impl Changes {
    /// A submitter has so many more tasks that have not ended, and bytes.
    pub(crate) fn add(&mut self, submitter: &str, tasks: i64, bytes: i64) {
        for name in [submitter, EVERYBODY] {
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

/// The name of the statement that adds changes, which no other program gives one of its own.
static ADD: LazyLock<String> =
    LazyLock::new(|| format!("pyroxene_usage_{:016x}", rand::random::<u64>()));

fn rows<'a>() -> Relation<'a, 4> {
    Relation::new([
        ("submitter", Kind::Text),
        ("shard", Kind::Int),
        ("tasks", Kind::Int),
        ("bytes", Kind::Int),
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

/// Makes [`commit`] ready on a new connection.
pub(crate) async fn prepare(sql: &mut Connection<'_>) -> SqlResult<()> {
    sql.prepare(&ADD, &rows(), add).await
}

/// Writes what a transaction changed, and commits it. The rows are taken in the order of their names, so
/// that nobody waits for each other.
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

/// For how long it is believed what a submitter had when it was last looked at, and what this process
/// has changed since. What others change in that time is not seen.
const BELIEVED: Duration = Duration::from_secs(1);

/// Of so many submitters it is kept.
const KEPT: usize = 4096;

/// What submitters had when they were last looked at, and what was changed here since.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashMap<String, (Usage, Instant)>>);

impl Seen {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Usage, Instant)>> {
        // Plain data: whole even if a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What these submitters have, if that is known of all.
    fn of(&self, submitters: &BTreeSet<&str>) -> Option<BTreeMap<String, Usage>> {
        let seen = self.lock();
        let known = submitters.iter().map(|name| {
            let (usage, at) = seen.get(*name)?;
            (at.elapsed() < BELIEVED).then(|| ((*name).to_owned(), *usage))
        });
        known.collect()
    }

    fn learn(&self, submitters: &BTreeSet<&str>, found: &BTreeMap<String, Usage>) {
        let mut seen = self.lock();
        if seen.len() + submitters.len() > KEPT {
            seen.clear();
        }
        let now = Instant::now();
        for name in submitters {
            let usage = found.get(*name).copied().unwrap_or_default();
            seen.insert((*name).to_owned(), (usage, now));
        }
    }

    /// A transaction with these changes was committed.
    pub(crate) fn change(&self, changes: &Changes) {
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

/// What some submitters have.
pub(crate) async fn read(
    sql: &mut Connection<'_>,
    submitters: &BTreeSet<&str>,
) -> SqlResult<BTreeMap<String, Usage>> {
    let mut relation = Relation::new([("name", Kind::Text)]);
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
        let usage = Usage {
            tasks: row.int(1)?,
            bytes: row.int(2)?,
        };
        found.insert(row.text(0)?, usage);
    }
    Ok(found)
}

/// What is left of allowances, as a batch uses them up.
#[derive(Debug)]
pub(super) struct Room(BTreeMap<String, Usage>);

impl Room {
    /// What submitters have, as far as that is known already.
    pub(super) fn known(
        transaction: &Transaction<'_>,
        submitters: &BTreeSet<&str>,
    ) -> Option<Self> {
        let usage = transaction.seen.of(submitters)?;
        Some(Self::within(transaction, usage))
    }

    /// Looks what submitters have.
    pub(super) async fn look(
        transaction: &mut Transaction<'_>,
        submitters: &BTreeSet<&str>,
    ) -> SqlResult<Self> {
        let usage = read(&mut transaction.sql, submitters).await?;
        transaction.seen.learn(submitters, &usage);
        Ok(Self::within(transaction, usage))
    }

    /// With what the transaction has changed so far.
    fn within(transaction: &Transaction<'_>, mut usage: BTreeMap<String, Usage>) -> Self {
        for (name, change) in &transaction.usage.0 {
            let usage = usage.entry(name.clone()).or_default();
            usage.tasks += change.tasks;
            usage.bytes += change.bytes;
        }
        Self(usage)
    }

    /// Uses so much more, or says what does not allow it.
    pub(super) fn take(
        &mut self,
        submitter: &str,
        more: Usage,
        allowance: &Allowance,
    ) -> Result<(), Quota> {
        let of = |name: &str| self.0.get(name).copied().unwrap_or_default();
        let (own, all) = (of(submitter), of(EVERYBODY));
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
        for name in [submitter, EVERYBODY] {
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
        let mut room = Room(BTreeMap::new());
        let allowance = Allowance {
            tasks: 3,
            bytes: 1000,
            all_tasks: 4,
            all_bytes: i64::MAX,
        };
        let more = |tasks, bytes| Usage { tasks, bytes };
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
        // What needs nothing is allowed also where there is too much already.
        let less = Allowance {
            tasks: 1,
            ..allowance
        };
        assert_eq!(room.take("ana", more(0, 0), &less), Ok(()));
    }
}
