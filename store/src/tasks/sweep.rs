//! The effects of passing time on tasks: delays, deadlines, and owners that are gone.

use super::{
    finish::{ENDING_COLUMNS, EndingAttempt, end},
    millis,
};
use crate::{
    batches::counts::batch_of,
    leases,
    model::{
        AttemptEnding, AttemptKey, AttemptOutcome, FinishedAttempt, StoredTaskId, StoredTaskState,
        SweepResult,
    },
    sql::{DatabaseRow, SqlResult},
    transaction::Transaction,
};

/// How many tasks of each kind one sweep changes at most, so that no transaction takes long.
const MAX_PER_SWEEP: i64 = 1000;

/// The options of a sweep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SweepRequest {
    /// Whether tasks are taken over from owners that are gone.
    pub(crate) rescue: bool,
}

/// One sweep serves all callers.
pub(crate) async fn sweep(
    transaction: &mut Transaction<'_>,
    asked: &[SweepRequest],
) -> SqlResult<Vec<SweepResult>> {
    let (mut rescued, mut silent) = (0, None);
    if asked.iter().any(|asked| asked.rescue) {
        silent = leases::end_silent(transaction).await?.map(millis);
        rescued = rescue(transaction).await?;
    }
    let due = make_due(transaction).await?;
    let expired = expire(transaction).await?;
    let full = |count: usize| i64::try_from(count).is_ok_and(|count| count >= MAX_PER_SWEEP);
    let swept = SweepResult {
        due,
        expired,
        rescued,
        more: full(due) || full(expired) || full(rescued),
        next: next(transaction).await?.into_iter().chain(silent).min(),
    };
    Ok(vec![swept; asked.len()])
}

async fn make_due(transaction: &mut Transaction<'_>) -> SqlResult<usize> {
    let skip_locked = transaction.sql.locking(" FOR UPDATE SKIP LOCKED");
    let sql = format!(
        "WITH picked AS (SELECT id AS picked_id FROM tasks WHERE state = 1 AND due <= $1 \
         ORDER BY due LIMIT {MAX_PER_SWEEP}{skip_locked}) \
         UPDATE tasks SET state = 0 FROM picked WHERE tasks.id = picked_id RETURNING object"
    );
    let rows = transaction.sql.rows(sql, &[transaction.now.into()]).await?;
    for row in &rows {
        transaction.effects.queue(&row.text(0)?);
    }
    Ok(rows.len())
}

/// Fails tasks whose deadline passes before they are begun. Running tasks are ended by their owners.
async fn expire(transaction: &mut Transaction<'_>) -> SqlResult<usize> {
    let skip_locked = transaction.sql.locking(" FOR UPDATE SKIP LOCKED");
    let (failed, outcome) = (
        StoredTaskState::Failed as i64,
        AttemptOutcome::DeadlineExceeded as i64,
    );
    let sql = format!(
        "WITH picked AS (SELECT id AS picked_id FROM tasks WHERE deadline IS NOT NULL \
         AND state < 2 AND deadline <= $1 ORDER BY deadline LIMIT {MAX_PER_SWEEP}{skip_locked}) \
         UPDATE tasks SET state = {failed}, outcome = {outcome}, ended = $1, \
         error = 'the deadline passed before it was begun' \
         FROM picked WHERE tasks.id = picked_id RETURNING id, submitter, batch"
    );
    let rows = transaction.sql.rows(sql, &[transaction.now.into()]).await?;
    for row in &rows {
        transaction.usage.add(&row.text(1)?, -1, 0);
        let batch = batch_of(row, 2)?;
        transaction.batches.ended(batch, StoredTaskState::Failed);
        let id = StoredTaskId::from_bytes(&row.bytes(0)?)?;
        transaction.effects.ended_tasks.push(id);
    }
    Ok(rows.len())
}

/// Takes over tasks whose owner has no lease: that name server is dead, or was frozen.
async fn rescue(transaction: &mut Transaction<'_>) -> SqlResult<usize> {
    // Few owners, many tasks: from one owner to the next through the index.
    let owners = transaction
        .sql
        .rows(
            "WITH RECURSIVE owners (owner) AS (SELECT min(owner) FROM tasks WHERE state = 2 \
             UNION ALL SELECT (SELECT min(owner) FROM tasks WHERE state = 2 AND owner > owners.owner) \
             FROM owners WHERE owners.owner IS NOT NULL) \
             SELECT owner FROM owners WHERE owner IS NOT NULL AND owner NOT IN \
             (SELECT fence FROM leases)",
            &[],
        )
        .await?;
    let mut rescued = 0;
    for owner in owners {
        let owner = owner.int(0)?;
        let skip_locked = transaction.sql.locking(" FOR UPDATE SKIP LOCKED");
        let sql = format!(
            "SELECT {ENDING_COLUMNS} FROM tasks t WHERE t.state = 2 AND t.owner = $1 \
             ORDER BY t.owner LIMIT {MAX_PER_SWEEP}{skip_locked}"
        );
        let rows = transaction.sql.rows(sql, &[owner.into()]).await?;
        rescued += take_over(transaction, &rows).await?;
    }
    Ok(rescued)
}

async fn take_over(transaction: &mut Transaction<'_>, rows: &[DatabaseRow]) -> SqlResult<usize> {
    let attempts = rows
        .iter()
        .map(EndingAttempt::read)
        .collect::<SqlResult<Vec<_>>>()?;
    let finishes: Vec<FinishedAttempt> = attempts.iter().map(lost).collect();
    end(transaction, attempts.iter().zip(&finishes).collect()).await?;
    Ok(attempts.len())
}

fn lost(attempt: &EndingAttempt) -> FinishedAttempt {
    let running: AttemptKey = attempt.running;
    let at = match &attempt.worker {
        Some(worker) => format!(" while it was at worker '{worker}'"),
        None => String::new(),
    };
    let reason = format!("the name server that had it is gone{at}");
    FinishedAttempt {
        running,
        worker: None,
        ending: AttemptEnding::Lost { reason },
    }
}

/// The time until the next delay or deadline ends, in milliseconds.
async fn next(transaction: &mut Transaction<'_>) -> SqlResult<Option<i64>> {
    let row = transaction
        .sql
        .row(
            "SELECT (SELECT min(due) FROM tasks WHERE state = 1), \
             (SELECT min(deadline) FROM tasks WHERE deadline IS NOT NULL AND state < 2)",
            &[],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let times = [row.optional_int(0)?, row.optional_int(1)?];
    let first = times.into_iter().flatten().min();
    Ok(first.map(|time| time.saturating_sub(transaction.now).max(0)))
}
