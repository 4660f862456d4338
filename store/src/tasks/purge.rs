//! Deletion of old tasks.

use super::usage::TASK_BYTES;
use crate::{
    batches::{self, counts::batch_of},
    clock_steps,
    sql::{ColumnType, Relation, SqlResult, Value},
    transaction::Transaction,
};

/// How many tasks one purge deletes at most, so that no transaction takes long.
const MAX_PER_PURGE: i64 = 500;

/// Deletes tasks that ended longer ago than each of these ages, in milliseconds. Returns how many; if it is
/// not 0, there may be more.
pub(crate) async fn purge(transaction: &mut Transaction<'_>, ages: &[i64]) -> SqlResult<Vec<u64>> {
    let mut purged = Vec::with_capacity(ages.len());
    for age in ages {
        let before = clock_steps::before(transaction, *age).await?;
        purged.push(purge_before(transaction, before).await?);
    }
    Ok(purged)
}

async fn purge_before(transaction: &mut Transaction<'_>, before: i64) -> SqlResult<u64> {
    let skip_locked = transaction.sql.locking(" FOR UPDATE SKIP LOCKED");
    let sql = format!(
        "SELECT id, submitter, CAST({TASK_BYTES} + coalesce(length(arguments), 0) \
         + coalesce(length(trace), 0) + coalesce(length(result), 0) + coalesce((SELECT sum(length(body)) FROM bodies b \
         WHERE b.task = tasks.id), 0) AS BIGINT), batch \
         FROM tasks WHERE state > 2 AND ended < $1 ORDER BY ended LIMIT {MAX_PER_PURGE}{skip_locked}"
    );
    let rows = transaction.sql.rows(sql, &[before.into()]).await?;
    let mut of_batches = Vec::new();
    for row in &rows {
        transaction.usage.add(&row.text(1)?, 0, -row.int(2)?);
        of_batches.extend(batch_of(row, 3)?);
    }
    batches::purged(transaction, &of_batches).await?;
    let ids = rows
        .iter()
        .map(|row| row.bytes(0))
        .collect::<SqlResult<Vec<_>>>()?;
    let mut relation = Relation::new([("id", ColumnType::Bytes)]);
    for id in &ids {
        let id: Value<'_> = id.as_slice().into();
        relation.push([id]);
    }
    for statement in [
        "DELETE FROM bodies WHERE task IN",
        "DELETE FROM attempts WHERE task IN",
        "DELETE FROM tasks WHERE id IN",
    ] {
        let sql = |u: &str| format!("{statement} (SELECT u.id FROM {u})");
        transaction.sql.rows_with(&relation, &[], sql).await?;
    }
    Ok(ids.len() as u64)
}
