//! Batches: tasks that were submitted together, in chunks.
//!
//! A chunk is added once: its row has its number, and a second submission finds it. The ids of its tasks are between those
//! of its first and its last one, so no index is needed to find them, and a task of a batch costs little more than another.
//! The numbers of tasks that have ended are counted in the transactions that end them, as usage is (`tasks::usage`).
//! Those that run are counted when they are asked for: they are as few as the workers have capacity for.

pub(super) mod counts;

use super::{
    model::{ChunkOutcome, StoredBatchId, StoredTaskId, SubmissionOutcome},
    sql::SqlResult,
    tasks::submit::{self, IdentifiedTask},
    transaction::Transaction,
};
use std::collections::BTreeSet;

/// A chunk to add.
#[derive(Debug)]
pub(crate) struct IdentifiedChunk {
    pub(crate) batch: StoredBatchId,
    pub(crate) number: i64,
    pub(crate) fingerprint: i64,
    pub(crate) submitter: String,
    /// In the order of their ids.
    pub(crate) tasks: Vec<IdentifiedTask>,
}

/// Adds chunks. Returns the result of each.
///
/// All transactions add chunks in the same order, so that none waits for a row of another one that waits for it.
pub(crate) async fn submit(
    transaction: &mut Transaction<'_>,
    chunks: &[IdentifiedChunk],
) -> SqlResult<Vec<ChunkOutcome>> {
    let mut ordered: Vec<_> = chunks.iter().enumerate().collect();
    ordered.sort_by_key(|(_, chunk)| (chunk.batch, chunk.number));
    let mut outcomes = Vec::with_capacity(chunks.len());
    for (place, chunk) in ordered {
        outcomes.push((place, submit_chunk(transaction, chunk).await?));
    }
    outcomes.sort_by_key(|(place, _)| *place);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

async fn submit_chunk(
    transaction: &mut Transaction<'_>,
    chunk: &IdentifiedChunk,
) -> SqlResult<ChunkOutcome> {
    let (Some(first), Some(last)) = (chunk.tasks.first(), chunk.tasks.last()) else {
        return Ok(ChunkOutcome::Added(Vec::new()));
    };
    let is_new = open(transaction, chunk).await?;
    let batch = chunk.batch.as_bytes();
    let sql = "INSERT INTO batch_chunks (batch, number, fingerprint, first, last) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (batch, number) DO NOTHING";
    let values = [
        batch.into(),
        chunk.number.into(),
        chunk.fingerprint.into(),
        first.id.as_bytes().into(),
        last.id.as_bytes().into(),
    ];
    if transaction.sql.execute(sql, &values).await? == 0 {
        return existing(transaction, chunk).await;
    }
    let submitted = submit::submit(transaction, &chunk.tasks).await?;
    let too_much = submitted.iter().find_map(|(one, _)| match one.submission {
        SubmissionOutcome::TooMuch(quota) => Some(quota),
        _ => None,
    });
    if let Some(quota) = too_much {
        let sql = "DELETE FROM batch_chunks WHERE batch = $1 AND number = $2";
        let values = [batch.into(), chunk.number.into()];
        transaction.sql.execute(sql, &values).await?;
        if is_new {
            // Nobody else has seen it yet.
            let sql = "DELETE FROM batches WHERE id = $1";
            transaction.sql.execute(sql, &[batch.into()]).await?;
        }
        return Ok(ChunkOutcome::TooMuch(quota));
    }
    transaction.batches.added(chunk.batch, chunk.tasks.len());
    Ok(ChunkOutcome::Added(
        submitted.iter().map(|(one, _)| one.id).collect(),
    ))
}

/// Begins a batch, or makes sure that it stays until the transaction ends. Returns whether it is new.
async fn open(transaction: &mut Transaction<'_>, chunk: &IdentifiedChunk) -> SqlResult<bool> {
    let batch = chunk.batch.as_bytes();
    let sql = "INSERT INTO batches (id, submitter, created) VALUES ($1, $2, $3) \
               ON CONFLICT (id) DO NOTHING";
    let values = [
        batch.into(),
        chunk.submitter.as_str().into(),
        transaction.now.into(),
    ];
    loop {
        if transaction.sql.execute(sql, &values).await? > 0 {
            return Ok(true);
        }
        // A purge locks the row for update before it deletes the batch.
        let locking = transaction.sql.locking(" FOR KEY SHARE");
        let kept = format!("SELECT id FROM batches WHERE id = $1{locking}");
        if transaction.sql.row(kept, &[batch.into()]).await?.is_some() {
            return Ok(false);
        }
    }
}

/// The result for a chunk that was submitted before.
async fn existing(
    transaction: &mut Transaction<'_>,
    chunk: &IdentifiedChunk,
) -> SqlResult<ChunkOutcome> {
    let batch = chunk.batch.as_bytes();
    let sql = "SELECT t.id FROM batch_chunks c CROSS JOIN tasks t WHERE c.batch = $1 AND c.number = $2 \
               AND c.fingerprint = $3 AND t.id >= c.first AND t.id <= c.last AND t.batch = $1 ORDER BY t.id";
    let values = [batch.into(), chunk.number.into(), chunk.fingerprint.into()];
    let rows = transaction.sql.rows(sql, &values).await?;
    let ids = rows
        .iter()
        .map(|row| StoredTaskId::from_bytes(&row.bytes(0)?))
        .collect::<SqlResult<Vec<_>>>()?;
    if !ids.is_empty() {
        return Ok(ChunkOutcome::Added(ids));
    }
    let sql = "SELECT fingerprint FROM batch_chunks WHERE batch = $1 AND number = $2";
    let values = [batch.into(), chunk.number.into()];
    let row = transaction.sql.row(sql, &values).await?;
    let known = row.map(|row| row.int(0)).transpose()?;
    Ok(match known == Some(chunk.fingerprint) {
        true => ChunkOutcome::Added(ids),
        false => ChunkOutcome::Differs,
    })
}

/// The chunk of a batch after the one with this number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkPosition {
    pub(crate) batch: StoredBatchId,
    pub(crate) after: i64,
}

/// Cancels the tasks of chunks that have not ended. Returns the numbers of the chunks.
pub(crate) async fn cancel_chunk(
    transaction: &mut Transaction<'_>,
    positions: &[ChunkPosition],
) -> SqlResult<Vec<Option<i64>>> {
    let mut cancelled = Vec::with_capacity(positions.len());
    for position in positions {
        cancelled.push(cancel_next(transaction, *position).await?);
    }
    Ok(cancelled)
}

async fn cancel_next(
    transaction: &mut Transaction<'_>,
    ChunkPosition { batch, after }: ChunkPosition,
) -> SqlResult<Option<i64>> {
    let sql = "SELECT number, first, last FROM batch_chunks WHERE batch = $1 AND number > $2 \
               ORDER BY number LIMIT 1";
    let values = [batch.as_bytes().into(), after.into()];
    let Some(row) = transaction.sql.row(sql, &values).await? else {
        return Ok(None);
    };
    let (first, last) = (row.bytes(1)?, row.bytes(2)?);
    let ids = (first.as_slice(), last.as_slice());
    super::tasks::control::cancel_range(transaction, batch, ids).await?;
    row.int(0).map(Some)
}

/// Counts tasks that are deleted, one for each of these batches, and forgets a batch with its last task.
pub(super) async fn purged(
    transaction: &mut Transaction<'_>,
    tasks: &[StoredBatchId],
) -> SqlResult<()> {
    let touched: BTreeSet<StoredBatchId> = tasks.iter().copied().collect();
    let locking = transaction.sql.locking(" FOR UPDATE");
    for batch in &touched {
        // No chunk is added from here on, and no other purge counts.
        let sql = format!("SELECT id FROM batches WHERE id = $1{locking}");
        transaction.sql.row(sql, &[batch.as_bytes().into()]).await?;
    }
    for task in tasks {
        transaction.batches.purged(*task);
    }
    for batch in touched {
        let sql =
            "SELECT CAST(coalesce(sum(kept), 0) AS BIGINT) FROM batch_counts WHERE batch = $1";
        let row = transaction.sql.row(sql, &[batch.as_bytes().into()]).await?;
        let kept = row.map(|row| row.int(0)).transpose()?.unwrap_or(0);
        if kept + transaction.batches.kept(batch) > 0 {
            continue;
        }
        transaction.batches.forget(batch);
        for sql in [
            "DELETE FROM batch_counts WHERE batch = $1",
            "DELETE FROM batch_chunks WHERE batch = $1",
            "DELETE FROM batches WHERE id = $1",
        ] {
            transaction
                .sql
                .execute(sql, &[batch.as_bytes().into()])
                .await?;
        }
    }
    Ok(())
}
