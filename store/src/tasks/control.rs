//! Updates of running tasks, and the operations of users on tasks.

use super::{allowance::RemainingAllowance, finish::forget_middle, usage::ALL_SUBMITTERS};
use crate::{
    batches::counts::batch_of,
    model::{
        Allowance, AttemptKey, AttemptOutcome, AttemptProgress, CancelOutcome, RetryOutcome,
        StartedAttempt, StoredBatchId, StoredTaskId, StoredTaskState, TaskUsage,
    },
    sql::{ColumnType, Relation, SqlResult},
    transaction::Transaction,
};
use std::collections::{BTreeSet, HashSet};

/// Records the workers that attempts were sent to. Returns whether each attempt still counts.
pub(crate) async fn started(
    transaction: &mut Transaction<'_>,
    started: &[StartedAttempt],
) -> SqlResult<Vec<bool>> {
    let mut relation = Relation::new([
        ("id", ColumnType::Bytes),
        ("attempt", ColumnType::Int),
        ("owner", ColumnType::Int),
        ("worker", ColumnType::Text),
    ]);
    for started in started {
        relation.push([
            started.running.id.as_bytes().into(),
            started.running.attempt.into(),
            started.running.owner.into(),
            started.worker.as_str().into(),
        ]);
    }
    let sql = |u: &str| {
        format!(
            "UPDATE tasks SET worker = u.worker FROM {u} WHERE tasks.id = u.id \
             AND +tasks.state = 2 AND tasks.attempt = u.attempt AND tasks.owner = u.owner \
             RETURNING tasks.id, tasks.attempt, tasks.owner"
        )
    };
    let rows = transaction.sql.rows_with(&relation, &[], sql).await?;
    let current = rows
        .iter()
        .map(|row| Ok((row.bytes(0)?, row.int(1)?, row.int(2)?)))
        .collect::<SqlResult<HashSet<_>>>()?;
    let counts = |running: &AttemptKey| {
        let key = (
            running.id.as_bytes().to_vec(),
            running.attempt,
            running.owner,
        );
        current.contains(&key)
    };
    Ok(started.iter().map(|one| counts(&one.running)).collect())
}

/// Records the progress of attempts. Returns whether each attempt still counts.
pub(crate) async fn progress(
    transaction: &mut Transaction<'_>,
    progress: &[AttemptProgress],
) -> SqlResult<Vec<bool>> {
    let mut current = Vec::with_capacity(progress.len());
    for progress in progress {
        let running = &progress.running;
        let changed = transaction
            .sql
            .execute(
                "UPDATE tasks SET fraction = $4, note = $5 WHERE id = $1 AND state = 2 \
                 AND attempt = $2 AND owner = $3",
                &[
                    running.id.as_bytes().into(),
                    running.attempt.into(),
                    running.owner.into(),
                    progress.fraction.into(),
                    progress.note.as_deref().into(),
                ],
            )
            .await?;
        current.push(changed > 0);
    }
    Ok(current)
}

/// Cancels tasks. Their running attempts no longer count; the owners learn it from
/// [`superseded`](super::query::superseded).
pub(crate) async fn cancel(
    transaction: &mut Transaction<'_>,
    ids: &[StoredTaskId],
) -> SqlResult<Vec<CancelOutcome>> {
    let (state, outcome) = (
        StoredTaskState::Cancelled as i64,
        AttemptOutcome::Cancelled as i64,
    );
    let mut answers = Vec::with_capacity(ids.len());
    for id in ids {
        let sql = format!(
            "UPDATE tasks SET state = {state}, outcome = {outcome}, ended = $2 \
             WHERE id = $1 AND state < 3 RETURNING submitter, batch"
        );
        let values = [id.as_bytes().into(), transaction.now.into()];
        if let Some(row) = transaction.sql.row(sql, &values).await? {
            transaction.usage.add(&row.text(0)?, -1, 0);
            let batch = batch_of(&row, 1)?;
            transaction.batches.ended(batch, StoredTaskState::Cancelled);
            transaction.effects.ended_tasks.push(*id);
            answers.push(CancelOutcome::Cancelled);
            continue;
        }
        answers.push(match state_of(transaction, *id).await? {
            Some(state) => CancelOutcome::AlreadyEnded(state),
            None => CancelOutcome::Unknown,
        });
    }
    Ok(answers)
}

/// Cancels the tasks of a batch that have not ended, in a range of ids.
pub(crate) async fn cancel_range(
    transaction: &mut Transaction<'_>,
    batch: StoredBatchId,
    (first, last): (&[u8], &[u8]),
) -> SqlResult<()> {
    let (state, outcome) = (
        StoredTaskState::Cancelled as i64,
        AttemptOutcome::Cancelled as i64,
    );
    // Locked in the order in which ends of attempts lock them.
    let locking = transaction.sql.locking(" FOR UPDATE");
    let sql = format!(
        "UPDATE tasks SET state = {state}, outcome = {outcome}, ended = $4 WHERE id IN \
         (SELECT id FROM tasks WHERE id >= $1 AND id <= $2 AND batch = $3 AND state < 3 ORDER BY id{locking}) \
         RETURNING id, submitter"
    );
    let batch_id = batch.as_bytes().into();
    let values = [first.into(), last.into(), batch_id, transaction.now.into()];
    for row in transaction.sql.rows(sql, &values).await? {
        transaction.usage.add(&row.text(1)?, -1, 0);
        transaction
            .batches
            .ended(Some(batch), StoredTaskState::Cancelled);
        let id = StoredTaskId::from_bytes(&row.bytes(0)?)?;
        transaction.effects.ended_tasks.push(id);
    }
    Ok(())
}

/// A task to queue again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryRequest {
    pub(crate) id: StoredTaskId,
    /// The allowance of its submitter.
    pub(crate) allowance: Allowance,
}

/// Queues failed and cancelled tasks again, with as many attempts and as much time as they had at first.
pub(crate) async fn retry(
    transaction: &mut Transaction<'_>,
    asked: &[RetryRequest],
) -> SqlResult<Vec<RetryOutcome>> {
    let mut answers = Vec::with_capacity(asked.len());
    for retry in asked {
        answers.push(retry_one(transaction, *retry).await?);
    }
    Ok(answers)
}

async fn retry_one(
    transaction: &mut Transaction<'_>,
    RetryRequest { id, allowance }: RetryRequest,
) -> SqlResult<RetryOutcome> {
    let now = transaction.now;
    let locking = transaction.sql.locking(" FOR UPDATE");
    let sql = format!(
        "SELECT state, object, attempt, submitter, {RESULT_BYTES}, batch FROM tasks WHERE id = $1{locking}"
    );
    let row = transaction.sql.row(sql, &[id.as_bytes().into()]).await?;
    let Some(row) = row else {
        return Ok(RetryOutcome::Unknown);
    };
    let state = StoredTaskState::from_number(row.int(0)?)?;
    if ![StoredTaskState::Failed, StoredTaskState::Cancelled].contains(&state) {
        return Ok(RetryOutcome::NotRetryable(state));
    }
    let (submitter, result) = (row.text(3)?, row.int(4)?);
    let more = TaskUsage { tasks: 1, bytes: 0 };
    let mut room =
        RemainingAllowance::from_store(transaction, &BTreeSet::from([&*submitter, ALL_SUBMITTERS]))
            .await?;
    if let Err(quota) = room.take(&submitter, more, &allowance) {
        return Ok(RetryOutcome::TooMuch(quota));
    }
    transaction.usage.add(&submitter, 1, -result);
    transaction.batches.retried(batch_of(&row, 5)?, state);
    let only_id = [id.as_bytes().into()];
    // The last attempt moves to the history. A task that was never begun has none.
    transaction
        .sql
        .execute(
            "INSERT INTO attempts (task, number, worker, started, ended, outcome, error) \
             SELECT id, attempt, worker, started, ended, outcome, error FROM tasks \
             WHERE id = $1 AND started IS NOT NULL",
            &only_id,
        )
        .await?;
    let attempt = AttemptKey {
        id,
        attempt: row.int(2)?,
        owner: 0,
    };
    forget_middle(transaction, &[attempt]).await?;
    transaction
        .sql
        .execute(
            "UPDATE tasks SET state = 0, due = $2, retried = $2, \
             deadline = $2 + deadline - coalesce(retried, submitted), losses = 0, \
             allowed_attempts = attempt + max_attempts, owner = NULL, worker = NULL, \
             outcome = NULL, started = NULL, ended = NULL, fraction = NULL, note = NULL, \
             error = NULL, result = NULL WHERE id = $1",
            &[id.as_bytes().into(), now.into()],
        )
        .await?;
    transaction
        .sql
        .execute("DELETE FROM bodies WHERE task = $1 AND kind = 1", &only_id)
        .await?;
    transaction.effects.queue(&row.text(1)?);
    Ok(RetryOutcome::Queued)
}

/// The size of a task's result, for statements whose only table is `tasks`.
const RESULT_BYTES: &str = "CAST(coalesce(length(result), 0) + coalesce((SELECT length(body) FROM bodies \
     WHERE bodies.task = tasks.id AND kind = 1), 0) AS BIGINT)";

async fn state_of(
    transaction: &mut Transaction<'_>,
    id: StoredTaskId,
) -> SqlResult<Option<StoredTaskState>> {
    let sql = "SELECT state FROM tasks WHERE id = $1";
    let row = transaction.sql.row(sql, &[id.as_bytes().into()]).await?;
    row.map(|row| StoredTaskState::from_number(row.int(0)?))
        .transpose()
}
