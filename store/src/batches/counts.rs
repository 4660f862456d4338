//! The counts of batches, as a transaction changes them and as they are read.

use crate::{
    model::{StoredBatch, StoredBatchId, StoredTaskId, StoredTaskState},
    sql::{ColumnType, DatabaseRow, Relation, SqlConnection, SqlResult},
};
use std::{collections::BTreeMap, ops::RangeInclusive};

/// Reads the batch of a task from a column.
pub(crate) fn batch_of(row: &DatabaseRow, column: usize) -> SqlResult<Option<StoredBatchId>> {
    let id = row.optional_bytes(column)?;
    id.map(|id| StoredBatchId::from_bytes(&id)).transpose()
}

/// The changes of the counts of batches in a transaction.
#[derive(Debug, Default)]
pub(crate) struct BatchChanges(BTreeMap<StoredBatchId, BatchChange>);

#[derive(Debug, Default)]
struct BatchChange {
    total: i64,
    succeeded: i64,
    failed: i64,
    cancelled: i64,
    kept: i64,
}

impl BatchChange {
    fn add(&mut self, state: StoredTaskState, tasks: i64) {
        match state {
            StoredTaskState::Succeeded => self.succeeded += tasks,
            StoredTaskState::Failed => self.failed += tasks,
            StoredTaskState::Cancelled => self.cancelled += tasks,
            StoredTaskState::Queued | StoredTaskState::Delayed | StoredTaskState::Running => {}
        }
    }
}

impl BatchChanges {
    /// Counts new tasks.
    pub(super) fn added(&mut self, batch: StoredBatchId, tasks: usize) {
        let tasks = i64::try_from(tasks).unwrap_or(i64::MAX);
        let change = self.0.entry(batch).or_default();
        change.total += tasks;
        change.kept += tasks;
    }

    /// Counts a task that has ended, if it is in a batch.
    pub(crate) fn ended(&mut self, batch: Option<StoredBatchId>, state: StoredTaskState) {
        if let Some(batch) = batch {
            self.0.entry(batch).or_default().add(state, 1);
        }
    }

    /// Counts a task that is deleted.
    pub(super) fn purged(&mut self, batch: StoredBatchId) {
        self.0.entry(batch).or_default().kept -= 1;
    }

    /// How many tasks of a batch are added, or fewer than 0 if more are deleted.
    pub(super) fn kept(&self, batch: StoredBatchId) -> i64 {
        self.0.get(&batch).map_or(0, |change| change.kept)
    }

    /// Writes no change of a batch.
    pub(super) fn forget(&mut self, batch: StoredBatchId) {
        self.0.remove(&batch);
    }

    /// Counts a task that had ended in this state and is queued again, if it is in a batch.
    pub(crate) fn retried(&mut self, batch: Option<StoredBatchId>, state: StoredTaskState) {
        if let Some(batch) = batch {
            self.0.entry(batch).or_default().add(state, -1);
        }
    }
}

/// Writes the changes of a transaction. The rows are locked in the order of the batches, so that no two transactions wait for
/// each other.
pub(crate) async fn count(
    sql: &mut SqlConnection<'_>,
    changes: &BatchChanges,
    shard: i64,
) -> SqlResult<()> {
    let mut relation = Relation::new([
        ("batch", ColumnType::Bytes),
        ("shard", ColumnType::Int),
        ("total", ColumnType::Int),
        ("succeeded", ColumnType::Int),
        ("failed", ColumnType::Int),
        ("cancelled", ColumnType::Int),
        ("kept", ColumnType::Int),
    ]);
    for (batch, change) in &changes.0 {
        relation.push([
            batch.as_bytes().into(),
            shard.into(),
            change.total.into(),
            change.succeeded.into(),
            change.failed.into(),
            change.cancelled.into(),
            change.kept.into(),
        ]);
    }
    let add = |u: &str| {
        format!(
            "INSERT INTO batch_counts (batch, shard, total, succeeded, failed, cancelled, kept) \
             SELECT batch, shard, total, succeeded, failed, cancelled, kept FROM {u} WHERE true \
             ON CONFLICT (batch, shard) DO UPDATE SET total = batch_counts.total + excluded.total, \
             succeeded = batch_counts.succeeded + excluded.succeeded, \
             failed = batch_counts.failed + excluded.failed, \
             cancelled = batch_counts.cancelled + excluded.cancelled, \
             kept = batch_counts.kept + excluded.kept"
        )
    };
    sql.rows_with(&relation, &[], add).await?;
    Ok(())
}

/// A batch with its counts.
pub(crate) async fn find(
    sql: &mut SqlConnection<'_>,
    id: StoredBatchId,
) -> SqlResult<Option<StoredBatch>> {
    let sum = |column: &str| format!("CAST(coalesce(sum(c.{column}), 0) AS BIGINT)");
    let statement = format!(
        "SELECT b.submitter, b.created, {}, {}, {}, {}, \
         (SELECT count(*) FROM tasks t WHERE t.state = 2 AND t.batch = b.id) \
         FROM batches b LEFT JOIN batch_counts c ON c.batch = b.id WHERE b.id = $1 \
         GROUP BY b.id, b.submitter, b.created",
        sum("total"),
        sum("succeeded"),
        sum("failed"),
        sum("cancelled")
    );
    let Some(row) = sql.row(statement, &[id.as_bytes().into()]).await? else {
        return Ok(None);
    };
    let [total, succeeded, failed, cancelled, running] = [
        row.int(2)?,
        row.int(3)?,
        row.int(4)?,
        row.int(5)?,
        row.int(6)?,
    ];
    Ok(Some(StoredBatch {
        id,
        submitter: row.text(0)?,
        created: row.int(1)?,
        total,
        queued: total - succeeded - failed - cancelled - running,
        running,
        succeeded,
        failed,
        cancelled,
    }))
}

/// The first two batches of a range of ids.
pub(crate) async fn first_two(
    sql: &mut SqlConnection<'_>,
    ids: &RangeInclusive<StoredBatchId>,
) -> SqlResult<Vec<StoredBatchId>> {
    let statement = "SELECT id FROM batches WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT 2";
    let bounds = [ids.start().as_bytes().into(), ids.end().as_bytes().into()];
    let rows = sql.rows(statement, &bounds).await?;
    rows.iter()
        .map(|row| StoredBatchId::from_bytes(&row.bytes(0)?))
        .collect()
}

/// The ids of the first and the last task of a batch, if it has any.
pub(crate) async fn bounds(
    sql: &mut SqlConnection<'_>,
    batch: StoredBatchId,
) -> SqlResult<Option<RangeInclusive<StoredTaskId>>> {
    let end = |column: &str, order: &str| {
        format!(
            "(SELECT {column} FROM batch_chunks WHERE batch = $1 ORDER BY {column} {order} LIMIT 1)"
        )
    };
    let statement = format!("SELECT {}, {}", end("first", "ASC"), end("last", "DESC"));
    let row = sql.row(statement, &[batch.as_bytes().into()]).await?;
    let Some(row) = row else { return Ok(None) };
    let ends = row.optional_bytes(0)?.zip(row.optional_bytes(1)?);
    let range = ends.map(|(first, last)| {
        Ok(StoredTaskId::from_bytes(&first)?..=StoredTaskId::from_bytes(&last)?)
    });
    range.transpose()
}
