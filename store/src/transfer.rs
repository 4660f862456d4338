//! Moves a domain from one store to another: everything but leases, as JSON lines.
//!
//! The first line says what the file is, and the last one how many lines there were, so that a part is not
//! mistaken for the whole. Leases are not exported: running tasks are taken over as if their name server had
//! died. Fences continue from their last values.

mod export;
mod record;

pub(super) use export::export;
pub use record::TransferError;
pub(super) use record::{ExportRecord, TaskRecord};

use super::{
    model::StoredBatchId,
    schedules,
    sql::{SqlConnection, SqlResult, Value},
    tasks::{
        ARGUMENTS, LARGEST_INLINE, RESULT,
        usage::{TASK_BYTES, size},
    },
    transaction::Transaction,
};
use record::{AttemptRecord, BatchRecord, TopicRecord};

/// The counter that exists while an import is not finished.
const IMPORTING: &str = "importing";

/// Whether an import into this store was begun and not finished.
pub(super) async fn is_unfinished(sql: &mut SqlConnection<'_>) -> SqlResult<bool> {
    let statement = "SELECT value FROM counters WHERE name = $1";
    Ok(sql.row(statement, &[IMPORTING.into()]).await?.is_some())
}

/// Whether the store has none of the data that an import writes.
pub(super) async fn is_empty(sql: &mut SqlConnection<'_>) -> SqlResult<bool> {
    let statement = "SELECT 1 FROM (SELECT 1 FROM tasks LIMIT 1) AS a UNION ALL \
                     SELECT 1 FROM (SELECT 1 FROM topics LIMIT 1) AS b UNION ALL \
                     SELECT 1 FROM (SELECT 1 FROM static_names LIMIT 1) AS c UNION ALL \
                     SELECT 1 FROM (SELECT 1 FROM revocations LIMIT 1) AS d UNION ALL \
                     SELECT 1 FROM (SELECT 1 FROM schedules LIMIT 1) AS e";
    Ok(sql.row(statement, &[]).await?.is_none())
}

/// Writes records. Existing rows stay, so that an import can be repeated.
pub(super) async fn import(
    transaction: &mut Transaction<'_>,
    records: &[ExportRecord],
) -> SqlResult<Vec<()>> {
    for record in records {
        let sql = &mut transaction.sql;
        match record {
            ExportRecord::Store { .. } => {
                let statement = "INSERT INTO counters (name, value) VALUES ($1, 1) \
                                 ON CONFLICT (name) DO NOTHING";
                sql.execute(statement, &[IMPORTING.into()]).await?;
            }
            ExportRecord::End { .. } => {
                let statement = "DELETE FROM counters WHERE name = $1";
                sql.execute(statement, &[IMPORTING.into()]).await?;
            }
            ExportRecord::Counter { name, value } => {
                let statement = "INSERT INTO counters (name, value) VALUES ($1, $2) \
                                 ON CONFLICT (name) DO UPDATE SET value = excluded.value \
                                 WHERE counters.value < excluded.value";
                let values = [name.as_str().into(), (*value).into()];
                sql.execute(statement, &values).await?;
            }
            ExportRecord::Task(task) => import_task(transaction, task).await?,
            ExportRecord::Attempt(attempt) => import_attempt(sql, attempt).await?,
            ExportRecord::StaticName {
                name,
                entry,
                revision,
            } => {
                let statement = "INSERT INTO static_names (name, entry, revision) \
                                 VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
                let entry = entry.as_deref().into();
                let values = [name.as_str().into(), entry, (*revision).into()];
                sql.execute(statement, &values).await?;
            }
            ExportRecord::Topic(topic) => import_topic(sql, topic).await?,
            ExportRecord::Entry {
                topic,
                sequence,
                at,
                body,
            } => {
                let size = i64::try_from(body.0.len()).unwrap_or(i64::MAX);
                let statement = "INSERT INTO entries (topic, sequence, at, size, body) \
                                 SELECT id, $2, $3, $4, $5 FROM topics WHERE name = $1 \
                                 ON CONFLICT (topic, sequence) DO NOTHING";
                let values = [
                    topic.as_str().into(),
                    (*sequence).into(),
                    (*at).into(),
                    size.into(),
                    body.0.as_slice().into(),
                ];
                sql.execute(statement, &values).await?;
            }
            ExportRecord::EntryKey {
                topic,
                key,
                sequence,
                at,
            } => {
                let statement = "INSERT INTO entry_keys (topic, key, sequence, at) \
                                 SELECT id, $2, $3, $4 FROM topics WHERE name = $1 \
                                 ON CONFLICT (topic, key) DO NOTHING";
                let values = [
                    topic.as_str().into(),
                    key.as_str().into(),
                    (*sequence).into(),
                    (*at).into(),
                ];
                sql.execute(statement, &values).await?;
            }
            ExportRecord::Revocation(revocation) => {
                let statement = "INSERT INTO revocations (name, until, issued) VALUES ($1, $2, $3) \
                                 ON CONFLICT (name) DO NOTHING";
                let values = [
                    revocation.name.as_str().into(),
                    revocation.until.into(),
                    revocation.issued.into(),
                ];
                sql.execute(statement, &values).await?;
            }
            ExportRecord::Batch(batch) => import_batch(sql, batch).await?,
            ExportRecord::BatchChunk {
                batch,
                number,
                fingerprint,
                first,
                last,
            } => {
                let statement = "INSERT INTO batch_chunks (batch, number, fingerprint, first, last) \
                                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (batch, number) DO NOTHING";
                let batch = record::parse_batch(batch)?;
                let (first, last) = (record::parse_id(first)?, record::parse_id(last)?);
                let values = [
                    batch.as_bytes().into(),
                    (*number).into(),
                    (*fingerprint).into(),
                    first.as_bytes().into(),
                    last.as_bytes().into(),
                ];
                sql.execute(statement, &values).await?;
            }
            ExportRecord::Schedule(schedule) => schedules::import(sql, schedule).await?,
        }
    }
    Ok(vec![(); records.len()])
}

async fn import_task(transaction: &mut Transaction<'_>, task: &TaskRecord) -> SqlResult<()> {
    let sql = &mut transaction.sql;
    let inline = |body: &Option<record::ExportedBody>| {
        let body = body.as_ref().map(|body| body.0.clone());
        body.filter(|body| body.len() <= LARGEST_INLINE)
    };
    let (arguments, result) = (inline(&task.arguments), inline(&task.result));
    let statement = "INSERT INTO tasks (id, object, method, submitter, idempotency_key, priority, \
         state, due, deadline, attempt, allowed_attempts, max_attempts, losses, backoff, owner, \
         worker, outcome, submitted, started, ended, fraction, note, error, arguments, result, \
         pinned, retried, run_limit, certificate_role, batch) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30) ON CONFLICT (id) DO NOTHING";
    let id = task.id()?;
    let batch = task.batch.as_deref().map(record::parse_batch).transpose()?;
    let values: [Value<'_>; 30] = [
        id.as_bytes().into(),
        task.object.as_str().into(),
        task.method.as_str().into(),
        task.submitter.as_str().into(),
        task.idempotency_key.as_deref().into(),
        task.priority.into(),
        (task.state as i64).into(),
        task.due.into(),
        task.deadline.into(),
        task.attempt.into(),
        task.allowed_attempts.into(),
        task.max_attempts.into(),
        task.losses.into(),
        task.backoff.into(),
        task.owner.into(),
        task.worker.as_deref().into(),
        task.outcome.map(|outcome| outcome as i64).into(),
        task.submitted.into(),
        task.started.into(),
        task.ended.into(),
        task.fraction.into(),
        task.note.as_deref().into(),
        task.error.as_deref().into(),
        arguments.as_deref().into(),
        result.as_deref().into(),
        task.pinned.as_str().into(),
        task.retried.into(),
        task.run_limit.into(),
        task.certificate_role.as_deref().into(),
        batch.as_ref().map(StoredBatchId::as_bytes).into(),
    ];
    if sql.execute(statement, &values).await? == 0 {
        // The task exists already, with everything that belongs to it: they are written together.
        return Ok(());
    }
    let open = i64::from(!task.state.is_final());
    let bytes =
        [&task.arguments, &task.result].map(|body| body.as_ref().map_or(0, |body| size(&body.0)));
    let bytes = TASK_BYTES + bytes.iter().sum::<i64>();
    transaction.usage.add(&task.submitter, open, bytes);
    let sql = &mut transaction.sql;
    for (kind, body) in [(ARGUMENTS, &task.arguments), (RESULT, &task.result)] {
        let body = body.as_ref().map(|body| body.0.as_slice());
        let Some(body) = body.filter(|body| body.len() > LARGEST_INLINE) else {
            continue;
        };
        let statement = "INSERT INTO bodies (task, kind, body) VALUES ($1, $2, $3) \
                         ON CONFLICT (task, kind) DO NOTHING";
        let values = [id.as_bytes().into(), kind.into(), body.into()];
        sql.execute(statement, &values).await?;
    }
    Ok(())
}

async fn import_batch(sql: &mut SqlConnection<'_>, batch: &BatchRecord) -> SqlResult<()> {
    let id = record::parse_batch(&batch.id)?;
    let statement = "INSERT INTO batches (id, submitter, created) VALUES ($1, $2, $3) \
                     ON CONFLICT (id) DO NOTHING";
    let values = [
        id.as_bytes().into(),
        batch.submitter.as_str().into(),
        batch.created.into(),
    ];
    if sql.execute(statement, &values).await? == 0 {
        // It exists already, with its counts: they are written together.
        return Ok(());
    }
    let statement = "INSERT INTO batch_counts (batch, shard, total, succeeded, failed, cancelled, kept) \
                     VALUES ($1, 0, $2, $3, $4, $5, $6)";
    let values: [Value<'_>; 6] = [
        id.as_bytes().into(),
        batch.total.into(),
        batch.succeeded.into(),
        batch.failed.into(),
        batch.cancelled.into(),
        batch.kept.into(),
    ];
    sql.execute(statement, &values).await?;
    Ok(())
}

async fn import_attempt(sql: &mut SqlConnection<'_>, attempt: &AttemptRecord) -> SqlResult<()> {
    let statement = "INSERT INTO attempts (task, number, worker, started, ended, outcome, error) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (task, number) DO NOTHING";
    let id = record::parse_id(&attempt.task)?;
    let values: [Value<'_>; 7] = [
        id.as_bytes().into(),
        attempt.number.into(),
        attempt.worker.as_deref().into(),
        attempt.started.into(),
        attempt.ended.into(),
        (attempt.outcome as i64).into(),
        attempt.error.as_deref().into(),
    ];
    sql.execute(statement, &values).await?;
    Ok(())
}

async fn import_topic(sql: &mut SqlConnection<'_>, topic: &TopicRecord) -> SqlResult<()> {
    let statement = "INSERT INTO topics (name, first, head, bytes, keep_age, keep_bytes) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING";
    let values: [Value<'_>; 6] = [
        topic.name.as_str().into(),
        topic.first.into(),
        topic.head.into(),
        topic.bytes.into(),
        topic.keep_age.into(),
        topic.keep_bytes.into(),
    ];
    sql.execute(statement, &values).await?;
    Ok(())
}
