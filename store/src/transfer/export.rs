//! Reads everything in one snapshot, a page at a time.

use super::record::{
    AttemptRecord, BatchRecord, ExportRecord, ExportedBody, TaskRecord, TopicRecord, TransferError,
};
use crate::{
    batches::counts::batch_of,
    error::StoreError,
    model::{AttemptOutcome, StoredBatchId, StoredRevocation, StoredTaskId, StoredTaskState},
    schedules, schema,
    sql::{DatabaseRow, SqlConnection, SqlResult, Value},
    tasks::{ARGUMENTS, RESULT},
};
use std::io::Write;

/// How many rows are read at once.
const PAGE: i64 = 200;

/// The output, with the number of lines so far.
struct LineWriter<'o> {
    output: &'o mut (dyn Write + Send),
    count: u64,
}

impl LineWriter<'_> {
    fn write(&mut self, record: &ExportRecord) -> Result<(), TransferError> {
        serde_json::to_writer(&mut *self.output, record).map_err(std::io::Error::from)?;
        self.output.write_all(b"\n")?;
        self.count += 1;
        Ok(())
    }
}

/// Writes everything that the transaction of `sql` sees. Returns the number of lines.
pub(crate) async fn export(
    sql: &mut SqlConnection<'_>,
    output: &mut (dyn Write + Send),
) -> Result<u64, TransferError> {
    let mut lines = LineWriter { output, count: 0 };
    let version = schema::SCHEMA_VERSION;
    lines.write(&ExportRecord::Store { version })?;
    let counters = "SELECT name, value FROM counters ORDER BY name";
    for row in rows(sql, counters, &[]).await? {
        let (name, value) = read(|| Ok((row.text(0)?, row.int(1)?)))?;
        lines.write(&ExportRecord::Counter { name, value })?;
    }
    tasks(sql, &mut lines).await?;
    attempts(sql, &mut lines).await?;
    let names = "SELECT name, entry, revision FROM static_names ORDER BY name";
    for row in rows(sql, names, &[]).await? {
        lines.write(&read(|| {
            Ok(ExportRecord::StaticName {
                name: row.text(0)?,
                entry: row.optional_text(1)?,
                revision: row.int(2)?,
            })
        })?)?;
    }
    topics(sql, &mut lines).await?;
    let revocations = "SELECT name, until, issued FROM revocations ORDER BY name";
    for row in rows(sql, revocations, &[]).await? {
        lines.write(&ExportRecord::Revocation(read(|| {
            Ok(StoredRevocation {
                name: row.text(0)?,
                until: row.int(1)?,
                issued: row.int(2)?,
            })
        })?))?;
    }
    schedules(sql, &mut lines).await?;
    batches(sql, &mut lines).await?;
    let count = lines.count;
    lines.write(&ExportRecord::End { lines: count })?;
    lines.output.flush()?;
    Ok(lines.count)
}

async fn schedules(
    sql: &mut SqlConnection<'_>,
    lines: &mut LineWriter<'_>,
) -> Result<(), TransferError> {
    // No name is empty.
    let mut after = String::new();
    loop {
        let page = schedules::list(sql, &after, None).await;
        let page = page.map_err(StoreError::from)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after.clone_from(&last.name);
        for schedule in page {
            lines.write(&ExportRecord::Schedule(Box::new(schedule)))?;
        }
    }
}

async fn batches(
    sql: &mut SqlConnection<'_>,
    lines: &mut LineWriter<'_>,
) -> Result<(), TransferError> {
    let statement = format!(
        "SELECT b.id, b.submitter, b.created, CAST(coalesce(sum(c.total), 0) AS BIGINT), \
         CAST(coalesce(sum(c.succeeded), 0) AS BIGINT), CAST(coalesce(sum(c.failed), 0) AS BIGINT), \
         CAST(coalesce(sum(c.cancelled), 0) AS BIGINT), CAST(coalesce(sum(c.kept), 0) AS BIGINT) \
         FROM batches b LEFT JOIN batch_counts c ON c.batch = b.id WHERE b.id > $1 \
         GROUP BY b.id, b.submitter, b.created ORDER BY b.id LIMIT {PAGE}"
    );
    let mut after: Vec<u8> = Vec::new();
    loop {
        let page = rows(sql, statement.clone(), &[after.as_slice().into()]).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = read(|| last.bytes(0))?;
        for row in page {
            let id = read(|| row.bytes(0))?;
            let record = read(|| {
                Ok(BatchRecord {
                    id: StoredBatchId::from_bytes(&id)?.to_string(),
                    submitter: row.text(1)?,
                    created: row.int(2)?,
                    total: row.int(3)?,
                    succeeded: row.int(4)?,
                    failed: row.int(5)?,
                    cancelled: row.int(6)?,
                    kept: row.int(7)?,
                })
            })?;
            let batch = record.id.clone();
            lines.write(&ExportRecord::Batch(Box::new(record)))?;
            batch_chunks(sql, &id, &batch, lines).await?;
        }
    }
}

async fn batch_chunks(
    sql: &mut SqlConnection<'_>,
    id: &[u8],
    batch: &str,
    lines: &mut LineWriter<'_>,
) -> Result<(), TransferError> {
    let statement = format!(
        "SELECT number, fingerprint, first, last FROM batch_chunks WHERE batch = $1 AND number > $2 \
         ORDER BY number LIMIT {PAGE}"
    );
    let mut after = -1;
    loop {
        let page = rows(sql, statement.clone(), &[id.into(), after.into()]).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = read(|| last.int(0))?;
        for row in page {
            lines.write(&read(|| {
                Ok(ExportRecord::BatchChunk {
                    batch: batch.to_owned(),
                    number: row.int(0)?,
                    fingerprint: row.int(1)?,
                    first: StoredTaskId::from_bytes(&row.bytes(2)?)?.to_string(),
                    last: StoredTaskId::from_bytes(&row.bytes(3)?)?.to_string(),
                })
            })?)?;
        }
    }
}

fn read<T>(read: impl FnOnce() -> SqlResult<T>) -> Result<T, TransferError> {
    read().map_err(|error| StoreError::from(error).into())
}

async fn rows(
    sql: &mut SqlConnection<'_>,
    statement: impl Into<std::borrow::Cow<'static, str>>,
    values: &[Value<'_>],
) -> Result<Vec<DatabaseRow>, TransferError> {
    let rows = sql.rows(statement, values).await;
    rows.map_err(|error| StoreError::from(error).into())
}

async fn tasks(
    sql: &mut SqlConnection<'_>,
    lines: &mut LineWriter<'_>,
) -> Result<(), TransferError> {
    let statement = format!(
        "SELECT id, object, method, submitter, idempotency_key, priority, state, due, deadline, \
         attempt, allowed_attempts, max_attempts, losses, backoff, owner, worker, outcome, \
         submitted, started, ended, fraction, note, error, arguments, result, pinned, retried, run_limit, \
         certificate_role, batch FROM tasks \
         WHERE id > $1 ORDER BY id LIMIT {PAGE}"
    );
    let mut after: Vec<u8> = Vec::new();
    loop {
        let page = rows(sql, statement.clone(), &[after.as_slice().into()]).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = read(|| last.bytes(0))?;
        for row in page {
            let id = read(|| row.bytes(0))?;
            let mut task = read(|| task(&row))?;
            // Large bodies are read one by one, so that no more than one task's are in memory.
            if task.arguments.is_none() {
                task.arguments = body(sql, &id, ARGUMENTS).await?;
            }
            if task.result.is_none() && task.state.is_final() {
                task.result = body(sql, &id, RESULT).await?;
            }
            lines.write(&ExportRecord::Task(Box::new(task)))?;
        }
    }
}

async fn body(
    sql: &mut SqlConnection<'_>,
    id: &[u8],
    kind: i64,
) -> Result<Option<ExportedBody>, TransferError> {
    let statement = "SELECT body FROM bodies WHERE task = $1 AND kind = $2";
    let found = rows(sql, statement, &[id.into(), kind.into()]).await?;
    let found = found.first().map(|row| read(|| row.bytes(0))).transpose()?;
    Ok(found.map(ExportedBody))
}

fn task(row: &DatabaseRow) -> SqlResult<TaskRecord> {
    Ok(TaskRecord {
        id: StoredTaskId::from_bytes(&row.bytes(0)?)?.to_string(),
        object: row.text(1)?,
        method: row.text(2)?,
        pinned: row.text(25)?,
        submitter: row.text(3)?,
        certificate_role: row.optional_text(28)?,
        idempotency_key: row.optional_text(4)?,
        priority: row.int(5)?,
        state: StoredTaskState::from_number(row.int(6)?)?,
        due: row.int(7)?,
        deadline: row.optional_int(8)?,
        attempt: row.int(9)?,
        allowed_attempts: row.int(10)?,
        max_attempts: row.int(11)?,
        losses: row.int(12)?,
        backoff: row.int(13)?,
        run_limit: row.int(27)?,
        owner: row.optional_int(14)?,
        worker: row.optional_text(15)?,
        outcome: row
            .optional_int(16)?
            .map(AttemptOutcome::from_number)
            .transpose()?,
        submitted: row.int(17)?,
        started: row.optional_int(18)?,
        ended: row.optional_int(19)?,
        fraction: row.optional_real(20)?,
        note: row.optional_text(21)?,
        error: row.optional_text(22)?,
        arguments: row.optional_bytes(23)?.map(ExportedBody),
        result: row.optional_bytes(24)?.map(ExportedBody),
        retried: row.optional_int(26)?,
        batch: batch_of(row, 29)?.map(|batch| batch.to_string()),
    })
}

async fn attempts(
    sql: &mut SqlConnection<'_>,
    lines: &mut LineWriter<'_>,
) -> Result<(), TransferError> {
    let statement = format!(
        "SELECT task, number, worker, started, ended, outcome, error FROM attempts \
         WHERE (task, number) > ($1, $2) ORDER BY task, number LIMIT {PAGE}"
    );
    let mut after: (Vec<u8>, i64) = (Vec::new(), 0);
    loop {
        let values = [after.0.as_slice().into(), after.1.into()];
        let page = rows(sql, statement.clone(), &values).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = read(|| Ok((last.bytes(0)?, last.int(1)?)))?;
        for row in page {
            lines.write(&read(|| {
                Ok(ExportRecord::Attempt(AttemptRecord {
                    task: StoredTaskId::from_bytes(&row.bytes(0)?)?.to_string(),
                    number: row.int(1)?,
                    worker: row.optional_text(2)?,
                    started: row.int(3)?,
                    ended: row.int(4)?,
                    outcome: AttemptOutcome::from_number(row.int(5)?)?,
                    error: row.optional_text(6)?,
                }))
            })?)?;
        }
    }
}

async fn topics(
    sql: &mut SqlConnection<'_>,
    lines: &mut LineWriter<'_>,
) -> Result<(), TransferError> {
    let statement = "SELECT id, name, first, head, bytes, keep_age, keep_bytes FROM topics \
                     ORDER BY name";
    for row in rows(sql, statement, &[]).await? {
        let (id, topic) = read(|| {
            let topic = TopicRecord {
                name: row.text(1)?,
                first: row.int(2)?,
                head: row.int(3)?,
                bytes: row.int(4)?,
                keep_age: row.optional_int(5)?,
                keep_bytes: row.optional_int(6)?,
            };
            Ok((row.int(0)?, topic))
        })?;
        let name = topic.name.clone();
        lines.write(&ExportRecord::Topic(topic))?;
        entries(sql, id, &name, lines).await?;
        entry_keys(sql, id, &name, lines).await?;
    }
    Ok(())
}

async fn entry_keys(
    sql: &mut SqlConnection<'_>,
    id: i64,
    topic: &str,
    lines: &mut LineWriter<'_>,
) -> Result<(), TransferError> {
    let keys = format!(
        "SELECT key, sequence, at FROM entry_keys WHERE topic = $1 AND key > $2 ORDER BY key \
         LIMIT {PAGE}"
    );
    // No key is empty.
    let mut after = String::new();
    loop {
        let page = rows(sql, keys.clone(), &[id.into(), after.as_str().into()]).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = read(|| last.text(0))?;
        for row in page {
            lines.write(&read(|| {
                Ok(ExportRecord::EntryKey {
                    topic: topic.to_owned(),
                    key: row.text(0)?,
                    sequence: row.int(1)?,
                    at: row.int(2)?,
                })
            })?)?;
        }
    }
}

async fn entries(
    sql: &mut SqlConnection<'_>,
    id: i64,
    topic: &str,
    lines: &mut LineWriter<'_>,
) -> Result<(), TransferError> {
    let keys = format!(
        "SELECT sequence FROM entries WHERE topic = $1 AND sequence > $2 ORDER BY sequence LIMIT \
         {PAGE}"
    );
    let mut after = 0;
    loop {
        let page = rows(sql, keys.clone(), &[id.into(), after.into()]).await?;
        if page.is_empty() {
            return Ok(());
        }
        for row in page {
            after = read(|| row.int(0))?;
            let entry = "SELECT at, body FROM entries WHERE topic = $1 AND sequence = $2";
            for row in rows(sql, entry, &[id.into(), after.into()]).await? {
                lines.write(&read(|| {
                    Ok(ExportRecord::Entry {
                        topic: topic.to_owned(),
                        sequence: after,
                        at: row.int(0)?,
                        body: ExportedBody(row.bytes(1)?),
                    })
                })?)?;
            }
        }
    }
}
