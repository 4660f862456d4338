//! Queries for tasks.

use super::{ARGUMENTS, RESULT};
use crate::{
    batches::counts,
    model::{
        AttemptKey, AttemptOutcome, StoredAttempt, StoredTask, StoredTaskFilter, StoredTaskId,
        StoredTaskPage, StoredTaskState, TaskCall, TaskCounts, TaskResult,
    },
    sql::{ColumnType, DatabaseRow, Dialect, Relation, SqlConnection, SqlResult, Value},
};
use std::{collections::HashSet, ops::RangeInclusive};

const COLUMNS: &str = "t.id, t.object, t.method, t.submitter, t.idempotency_key, t.priority, \
     t.state, t.submitted, t.due, t.deadline, t.max_attempts, t.attempt, t.ended, t.fraction, \
     t.note, t.error, t.worker, t.started, t.outcome, t.pinned, t.allowed_attempts, t.run_limit";

/// Reads [`COLUMNS`].
fn read(row: &DatabaseRow) -> SqlResult<StoredTask> {
    let ended = row.optional_int(12)?;
    let outcome = row
        .optional_int(18)?
        .map(AttemptOutcome::from_number)
        .transpose()?;
    let error = row.optional_text(15)?;
    let (attempt, max_attempts) = (row.int(11)?, row.int(10)?);
    // While the task waits for another attempt, all of its attempts are in the history.
    let last = row.optional_int(17)?.map(|started| -> SqlResult<_> {
        Ok(StoredAttempt {
            number: attempt,
            worker: row.optional_text(16)?,
            started,
            ended,
            outcome: outcome.filter(|_| ended.is_some()),
            error: error.clone(),
        })
    });
    Ok(StoredTask {
        id: StoredTaskId::from_bytes(&row.bytes(0)?)?,
        object: row.text(1)?,
        method: row.text(2)?,
        submitter: row.text(3)?,
        idempotency_key: row.optional_text(4)?,
        priority: row.int(5)?,
        state: StoredTaskState::from_number(row.int(6)?)?,
        submitted: row.int(7)?,
        due: row.int(8)?,
        deadline: row.optional_int(9)?,
        max_attempts,
        run_limit: row.int(21)?,
        // Each refusal allows one more attempt.
        counted_attempts: (max_attempts - (row.int(20)? - attempt)).max(0),
        worker: Some(row.text(19)?).filter(|worker| !worker.is_empty()),
        attempt,
        ended,
        fraction: row.optional_real(13)?,
        note: row.optional_text(14)?,
        error,
        arguments: None,
        result: None,
        attempts: last.transpose()?.into_iter().collect(),
    })
}

pub(crate) async fn task(
    sql: &mut SqlConnection<'_>,
    id: StoredTaskId,
) -> SqlResult<Option<StoredTask>> {
    let statement = format!(
        "SELECT {COLUMNS}, \
         coalesce(t.arguments, (SELECT body FROM bodies b WHERE b.task = t.id AND b.kind = {ARGUMENTS})), \
         coalesce(t.result, (SELECT body FROM bodies b WHERE b.task = t.id AND b.kind = {RESULT})) \
         FROM tasks t WHERE t.id = $1"
    );
    let id: [Value<'_>; 1] = [id.as_bytes().into()];
    let Some(row) = sql.row(statement, &id).await? else {
        return Ok(None);
    };
    let mut task = read(&row)?;
    task.arguments = row.optional_bytes(22)?;
    task.result = row.optional_bytes(23)?;
    let statement = "SELECT number, worker, started, ended, outcome, error FROM attempts \
                     WHERE task = $1 ORDER BY number";
    let mut attempts = Vec::new();
    for row in sql.rows(statement, &id).await? {
        attempts.push(StoredAttempt {
            number: row.int(0)?,
            worker: row.optional_text(1)?,
            started: row.int(2)?,
            ended: Some(row.int(3)?),
            outcome: Some(AttemptOutcome::from_number(row.int(4)?)?),
            error: row.optional_text(5)?,
        });
    }
    // Between the two statements the last attempt may have moved to the history.
    let last = task.attempts.pop();
    attempts.extend(last.filter(|last| attempts.iter().all(|known| known.number != last.number)));
    task.attempts = attempts;
    Ok(Some(task))
}

/// One task as in a listing.
pub(crate) async fn task_summary(
    sql: &mut SqlConnection<'_>,
    id: StoredTaskId,
) -> SqlResult<Option<StoredTask>> {
    let statement = format!("SELECT {COLUMNS} FROM tasks t WHERE t.id = $1");
    let row = sql.row(statement, &[id.as_bytes().into()]).await?;
    row.as_ref().map(read).transpose()
}

/// The tasks of a submitter with the last of the idempotency keys in a range without its end, as in a listing.
pub(crate) async fn last_by_key(
    sql: &mut SqlConnection<'_>,
    submitter: &str,
    (first, end): (&str, &str),
    limit: i64,
) -> SqlResult<Vec<StoredTask>> {
    let statement = format!(
        "SELECT {COLUMNS} FROM tasks t WHERE t.submitter = $1 AND t.idempotency_key IS NOT NULL \
         AND t.idempotency_key >= $2 AND t.idempotency_key < $3 ORDER BY t.idempotency_key DESC LIMIT $4"
    );
    let values = [submitter.into(), first.into(), end.into(), limit.into()];
    let rows = sql.rows(statement, &values).await?;
    rows.iter().map(read).collect()
}

/// The sizes of a task's arguments and result in bytes. Neither is read.
pub(crate) async fn task_sizes(
    sql: &mut SqlConnection<'_>,
    id: StoredTaskId,
) -> SqlResult<Option<(i64, i64)>> {
    let size = |column: &str, kind: i64| {
        format!(
            "CAST(coalesce(length(t.{column}), (SELECT length(body) FROM bodies b \
             WHERE b.task = t.id AND b.kind = {kind}), 0) AS BIGINT)"
        )
    };
    let (arguments, result) = (size("arguments", ARGUMENTS), size("result", RESULT));
    let statement = format!("SELECT {arguments}, {result} FROM tasks t WHERE t.id = $1");
    let row = sql.row(statement, &[id.as_bytes().into()]).await?;
    row.map(|row| Ok((row.int(0)?, row.int(1)?))).transpose()
}

/// The first two tasks of a range of ids.
pub(crate) async fn first_two(
    sql: &mut SqlConnection<'_>,
    ids: &RangeInclusive<StoredTaskId>,
) -> SqlResult<Vec<StoredTaskId>> {
    let statement = "SELECT id FROM tasks WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT 2";
    let bounds = [ids.start().as_bytes().into(), ids.end().as_bytes().into()];
    let rows = sql.rows(statement, &bounds).await?;
    rows.iter()
        .map(|row| StoredTaskId::from_bytes(&row.bytes(0)?))
        .collect()
}

/// How many tasks are scanned for one page of a listing, whether they match or not.
const MAX_SCANNED: u32 = 10_000;

/// A page of tasks, newest first.
pub(crate) async fn tasks(
    sql: &mut SqlConnection<'_>,
    filter: &StoredTaskFilter,
    limit: u32,
) -> SqlResult<StoredTaskPage> {
    let bounds = match filter.batch {
        Some(batch) => match counts::bounds(sql, batch).await? {
            None => return Ok(StoredTaskPage::default()),
            bounds => bounds,
        },
        None => None,
    };
    let end = last_scanned(sql, filter, bounds.as_ref()).await?;
    let mut conditions = String::from("true");
    let mut values: Vec<Value<'_>> = vec![i64::from(limit).into()];
    let mut add = |condition: &str, value| {
        values.push(value);
        conditions.push_str(&format!(" AND {condition} ${}", values.len()));
    };
    if let Some(before) = &filter.before {
        add("t.id <", before.as_bytes().into());
    }
    if let Some(bounds) = &bounds {
        add("t.id >=", bounds.start().as_bytes().into());
        add("t.id <=", bounds.end().as_bytes().into());
    }
    if let Some(batch) = &filter.batch {
        add("t.batch =", batch.as_bytes().into());
    }
    if let Some(end) = &end {
        add("t.id >=", end.as_bytes().into());
    }
    if let Some(object) = &filter.object {
        add("t.object =", object.as_str().into());
    }
    if let Some(submitter) = &filter.submitter {
        add("t.submitter =", submitter.as_str().into());
    }
    if let Some(method) = &filter.method {
        add("t.method =", method.as_str().into());
    }
    if let Some(worker) = &filter.worker {
        add("t.worker =", worker.as_str().into());
    }
    // The state is not bound, so that the index of that state can be used.
    match filter.states.as_slice() {
        [] => {}
        [state] => conditions.push_str(&format!(" AND t.state = {}", *state as i64)),
        states => {
            let numbers: Vec<String> = states.iter().map(|s| (*s as i64).to_string()).collect();
            conditions.push_str(&format!(" AND t.state IN ({})", numbers.join(", ")));
        }
    }
    let statement =
        format!("SELECT {COLUMNS} FROM tasks t WHERE {conditions} ORDER BY t.id DESC LIMIT $1");
    let rows = sql.rows(statement, &values).await?;
    let tasks = rows.iter().map(read).collect::<SqlResult<Vec<_>>>()?;
    let last = tasks.last().map(|task| task.id);
    let is_full = usize::try_from(limit).is_ok_and(|limit| tasks.len() >= limit);
    let next = if is_full { last } else { end };
    Ok(StoredTaskPage { tasks, next })
}

/// The last task that is scanned for a page, if there may be more after it. All tasks of the page are within `bounds`.
async fn last_scanned<'f>(
    sql: &mut SqlConnection<'_>,
    filter: &'f StoredTaskFilter,
    bounds: Option<&'f RangeInclusive<StoredTaskId>>,
) -> SqlResult<Option<StoredTaskId>> {
    let StoredTaskFilter {
        states,
        object,
        method,
        worker,
        submitter,
        batch,
        before,
    } = filter;
    let others = [object, method, worker, submitter];
    // Failed tasks have an index, so none is scanned in vain.
    let is_quick = matches!(states.as_slice(), [] | [StoredTaskState::Failed]);
    if is_quick && batch.is_none() && others.iter().all(|other| other.is_none()) {
        return Ok(None);
    }
    let mut statement = String::from("SELECT id FROM tasks WHERE true");
    let mut values: Vec<Value<'_>> = Vec::new();
    let mut add = |condition: &str, id: &'f StoredTaskId| {
        values.push(id.as_bytes().into());
        statement.push_str(&format!(" AND id {condition} ${}", values.len()));
    };
    if let Some(before) = before {
        add("<", before);
    }
    if let Some(bounds) = bounds {
        add(">=", bounds.start());
        add("<=", bounds.end());
    }
    if let [StoredTaskState::Failed] = states.as_slice() {
        statement.push_str(" AND state = 4");
    }
    let skipped = MAX_SCANNED - 1;
    statement.push_str(&format!(" ORDER BY id DESC LIMIT 1 OFFSET {skipped}"));
    let row = sql.row(statement, &values).await?;
    row.map(|row| StoredTaskId::from_bytes(&row.bytes(0)?))
        .transpose()
}

pub(crate) async fn counts(sql: &mut SqlConnection<'_>) -> SqlResult<TaskCounts> {
    let mut counts = TaskCounts::default();
    let statement = "SELECT state, count(*) FROM tasks GROUP BY state";
    for row in sql.rows(statement, &[]).await? {
        let place = match StoredTaskState::from_number(row.int(0)?)? {
            StoredTaskState::Queued => &mut counts.queued,
            StoredTaskState::Delayed => &mut counts.delayed,
            StoredTaskState::Running => &mut counts.running,
            StoredTaskState::Succeeded => &mut counts.succeeded,
            StoredTaskState::Failed => &mut counts.failed,
            StoredTaskState::Cancelled => &mut counts.cancelled,
        };
        *place = row.int(1)?;
    }
    Ok(counts)
}

/// The objects, and the single workers, for which tasks are queued: from one pair to the next through the
/// index, whatever the number of tasks.
pub(crate) async fn queued(
    sql: &mut SqlConnection<'_>,
) -> SqlResult<Vec<(String, Option<String>)>> {
    // SQLite seeks with the result of a subquery, but has none with two columns in a `FROM` that refer to
    // earlier tables. So there one of its tasks stands for a pair. For PostgreSQL it is the reverse.
    let statement = match sql.dialect() {
        Dialect::Sqlite => {
            "WITH RECURSIVE pairs (id) AS (\
             SELECT (SELECT id FROM tasks WHERE state = 0 ORDER BY object, pinned LIMIT 1) \
             UNION ALL SELECT (SELECT id FROM tasks WHERE state = 0 AND (object, pinned) > \
             (SELECT object, pinned FROM tasks WHERE tasks.id = pairs.id) \
             ORDER BY object, pinned LIMIT 1) FROM pairs WHERE pairs.id IS NOT NULL) \
             SELECT object, pinned FROM pairs JOIN tasks ON tasks.id = pairs.id"
        }
        Dialect::Postgres => {
            "WITH RECURSIVE pairs AS (\
             (SELECT object, pinned FROM tasks WHERE state = 0 ORDER BY object, pinned LIMIT 1) \
             UNION ALL SELECT next.object, next.pinned FROM pairs CROSS JOIN LATERAL \
             (SELECT object, pinned FROM tasks WHERE state = 0 \
             AND (object, pinned) > (pairs.object, pairs.pinned) \
             ORDER BY object, pinned LIMIT 1) AS next) SELECT object, pinned FROM pairs"
        }
    };
    let rows = sql.rows(statement, &[]).await?;
    let pair = |row: &DatabaseRow| {
        let worker = Some(row.text(1)?).filter(|worker| !worker.is_empty());
        Ok((row.text(0)?, worker))
    };
    rows.iter().map(pair).collect()
}

/// The calls of those of these tasks that there are.
pub(crate) async fn task_calls(
    sql: &mut SqlConnection<'_>,
    ids: &[StoredTaskId],
) -> SqlResult<Vec<TaskCall>> {
    let relation = relation_of(ids);
    let dialect = sql.dialect();
    let statement = |u: &str| {
        format!(
            "SELECT t.id, t.object, t.method, t.submitter FROM {}",
            dialect.lookup_join(u, "tasks", "id")
        )
    };
    let rows = sql.rows_with(&relation, &[], statement).await?;
    let call = |row: &DatabaseRow| {
        Ok(TaskCall {
            id: StoredTaskId::from_bytes(&row.bytes(0)?)?,
            object: row.text(1)?,
            method: row.text(2)?,
            submitter: row.text(3)?,
        })
    };
    rows.iter().map(call).collect()
}

fn relation_of(ids: &[StoredTaskId]) -> Relation<'_, 1> {
    let mut relation = Relation::new([("id", ColumnType::Bytes)]);
    for id in ids {
        relation.push([id.as_bytes().into()]);
    }
    relation
}

/// The results of those of these tasks that have ended, without large results.
pub(crate) async fn small_task_results(
    sql: &mut SqlConnection<'_>,
    ids: &[StoredTaskId],
) -> SqlResult<Vec<TaskResult>> {
    let left_out =
        format!("EXISTS (SELECT 1 FROM bodies b WHERE b.task = t.id AND b.kind = {RESULT})");
    let left_out = format!("CASE WHEN {left_out} THEN 1 ELSE 0 END");
    read_task_results(sql, ids, "t.result", &left_out).await
}

/// The results of those of these tasks that have ended.
pub(crate) async fn task_results(
    sql: &mut SqlConnection<'_>,
    ids: &[StoredTaskId],
) -> SqlResult<Vec<TaskResult>> {
    let large = format!("(SELECT body FROM bodies b WHERE b.task = t.id AND b.kind = {RESULT})");
    read_task_results(sql, ids, &format!("coalesce(t.result, {large})"), "0").await
}

async fn read_task_results(
    sql: &mut SqlConnection<'_>,
    ids: &[StoredTaskId],
    result: &str,
    left_out: &str,
) -> SqlResult<Vec<TaskResult>> {
    let relation = relation_of(ids);
    let dialect = sql.dialect();
    let statement = |u: &str| {
        format!(
            "SELECT t.id, t.state, t.error, {result}, t.attempt, t.worker, \
             CAST({left_out} AS BIGINT) FROM {} AND t.state > 2",
            dialect.lookup_join(u, "tasks", "id")
        )
    };
    let mut settled = Vec::new();
    for row in sql.rows_with(&relation, &[], statement).await? {
        settled.push(TaskResult {
            id: StoredTaskId::from_bytes(&row.bytes(0)?)?,
            state: StoredTaskState::from_number(row.int(1)?)?,
            error: row.optional_text(2)?,
            result: row.optional_bytes(3)?,
            attempt: row.int(4)?,
            worker: row.optional_text(5)?,
            result_omitted: row.int(6)? != 0,
        });
    }
    Ok(settled)
}

/// The attempts among these that no longer count.
pub(crate) async fn superseded(
    sql: &mut SqlConnection<'_>,
    running: &[AttemptKey],
) -> SqlResult<Vec<AttemptKey>> {
    let mut relation = Relation::new([
        ("id", ColumnType::Bytes),
        ("attempt", ColumnType::Int),
        ("owner", ColumnType::Int),
    ]);
    for running in running {
        relation.push([
            running.id.as_bytes().into(),
            running.attempt.into(),
            running.owner.into(),
        ]);
    }
    let dialect = sql.dialect();
    let statement = |u: &str| {
        format!(
            "SELECT u.id, u.attempt, u.owner FROM {} \
             AND t.state = 2 AND t.attempt = u.attempt AND t.owner = u.owner",
            dialect.lookup_join(u, "tasks", "id")
        )
    };
    let mut current = HashSet::new();
    for row in sql.rows_with(&relation, &[], statement).await? {
        current.insert(AttemptKey {
            id: StoredTaskId::from_bytes(&row.bytes(0)?)?,
            attempt: row.int(1)?,
            owner: row.int(2)?,
        });
    }
    let late = running.iter().filter(|running| !current.contains(running));
    Ok(late.copied().collect())
}

/// The running attempts of an owner.
pub(crate) async fn attempts_of_owner(
    sql: &mut SqlConnection<'_>,
    owner: i64,
) -> SqlResult<Vec<AttemptKey>> {
    let statement = "SELECT id, attempt FROM tasks WHERE state = 2 AND owner = $1";
    let rows = sql.rows(statement, &[owner.into()]).await?;
    let running = |row: &DatabaseRow| {
        Ok(AttemptKey {
            id: StoredTaskId::from_bytes(&row.bytes(0)?)?,
            attempt: row.int(1)?,
            owner,
        })
    };
    rows.iter().map(running).collect()
}
