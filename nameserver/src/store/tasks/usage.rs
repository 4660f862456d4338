//! How many tasks submitters have that have not ended, and how many bytes all their tasks take.
//!
//! Every transaction adds what it changed, once and at its end, to a shard of its own where others
//! write at the same time: so nobody waits for somebody else's commit.

use crate::store::{
    model::{Allowance, Quota, Usage},
    sql::{Connection, Kind, Relation, SqlResult},
    transaction::Transaction,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a task takes beyond its arguments and its result, in bytes.
pub(in crate::store) const TASK_BYTES: i64 = 300;

/// The row of all submitters together.
pub(in crate::store) const EVERYBODY: &str = "*";

/// What a transaction changes.
#[derive(Debug, Default)]
pub(in crate::store) struct Changes(BTreeMap<String, Usage>);

impl Changes {
    /// A submitter has so many more tasks that have not ended, and bytes.
    pub(in crate::store) fn add(&mut self, submitter: &str, tasks: i64, bytes: i64) {
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
pub(in crate::store) fn size(body: &[u8]) -> i64 {
    i64::try_from(body.len()).unwrap_or(i64::MAX)
}

/// Writes what a transaction changed. The rows stay locked until it has ended; they are taken in the
/// order of their names, so that nobody waits for each other.
pub(in crate::store) async fn write(transaction: &mut Transaction<'_>) -> SqlResult<()> {
    let changes = std::mem::take(&mut transaction.usage);
    let mut relation = Relation::new([
        ("submitter", Kind::Text),
        ("tasks", Kind::Int),
        ("bytes", Kind::Int),
    ]);
    for (submitter, usage) in &changes.0 {
        relation.push([
            submitter.as_str().into(),
            usage.tasks.into(),
            usage.bytes.into(),
        ]);
    }
    let sql = |u: &str| {
        format!(
            "INSERT INTO task_usage (submitter, shard, tasks, bytes) \
             SELECT submitter, $1, tasks, bytes FROM {u} WHERE true \
             ON CONFLICT (submitter, shard) DO UPDATE SET \
             tasks = task_usage.tasks + excluded.tasks, bytes = task_usage.bytes + excluded.bytes"
        )
    };
    let shard = [transaction.shard.into()];
    transaction.sql.rows_with(&relation, &shard, sql).await?;
    Ok(())
}

/// What some submitters have.
pub(in crate::store) async fn read(
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
    /// Looks what submitters have.
    pub(super) async fn look(
        transaction: &mut Transaction<'_>,
        mut submitters: BTreeSet<&str>,
    ) -> SqlResult<Self> {
        submitters.insert(EVERYBODY);
        let mut usage = read(&mut transaction.sql, &submitters).await?;
        for (name, change) in &transaction.usage.0 {
            let usage = usage.entry(name.clone()).or_default();
            usage.tasks += change.tasks;
            usage.bytes += change.bytes;
        }
        Ok(Self(usage))
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
