//! The ends of attempts.

use super::{RESULT, inline, usage::size};
use crate::{
    batches::counts::batch_of,
    model::{
        AttemptEnding, AttemptKey, AttemptOutcome, FIRST_ATTEMPTS, FinishOutcome, FinishedAttempt,
        LAST_ATTEMPTS, StoredBatchId, StoredTaskId, StoredTaskState, TaskResult,
    },
    sql::{ColumnType, DatabaseRow, Relation, SqlResult, Value},
    task_state::{AttemptHistory, NextState, after_attempt},
    transaction::Transaction,
};
use std::collections::{BTreeSet, HashMap, hash_map::Entry};

pub(crate) async fn finish(
    transaction: &mut Transaction<'_>,
    finishes: &[FinishedAttempt],
) -> SqlResult<Vec<FinishOutcome>> {
    let mut states = succeed(transaction, finishes).await?;
    let others: Vec<&FinishedAttempt> = finishes
        .iter()
        .filter(|finish| !matches!(finish.ending, AttemptEnding::Succeeded { .. }))
        .collect();
    states.extend(fail(transaction, &others).await?);
    // Of several ends of one attempt in a batch, the first counts; hence the removal.
    let finished = finishes
        .iter()
        .map(|finish| match states.remove(&finish.running) {
            Some(state) => FinishOutcome::Accepted(state),
            None => FinishOutcome::Superseded,
        });
    Ok(finished.collect())
}

/// Writes results. Most ends are results, so one statement writes all of them.
///
/// The `+` keeps both planners from using the index of running tasks.
async fn succeed(
    transaction: &mut Transaction<'_>,
    finishes: &[FinishedAttempt],
) -> SqlResult<HashMap<AttemptKey, StoredTaskState>> {
    let mut relation = Relation::sharing(
        3,
        [
            ("id", ColumnType::Bytes),
            ("worker", ColumnType::Text),
            ("result", ColumnType::Bytes),
            ("attempt", ColumnType::Int),
            ("owner", ColumnType::Int),
        ],
    );
    let mut seen = HashMap::new();
    // All transactions lock tasks in the order of their ids.
    let mut ordered: Vec<&FinishedAttempt> = finishes.iter().collect();
    ordered.sort_by_key(|finish| finish.running.id);
    for finish in ordered {
        let AttemptEnding::Succeeded { result } = &finish.ending else {
            continue;
        };
        let running = &finish.running;
        let Entry::Vacant(place) = seen.entry(*running) else {
            continue;
        };
        place.insert((finish.worker.as_ref(), result));
        relation.push([
            running.id.as_bytes().into(),
            finish.worker.as_deref().into(),
            inline(result).into(),
            running.attempt.into(),
            running.owner.into(),
        ]);
    }
    let (state, outcome) = (
        StoredTaskState::Succeeded as i64,
        AttemptOutcome::Succeeded as i64,
    );
    let sql = |u: &str| {
        format!(
            "UPDATE tasks SET state = {state}, outcome = {outcome}, ended = $1, error = NULL, \
             worker = coalesce(u.worker, tasks.worker), result = u.result FROM {u} \
             WHERE tasks.id = u.id AND +tasks.state = 2 AND tasks.attempt = u.attempt \
             AND tasks.owner = u.owner \
             RETURNING tasks.id, tasks.attempt, tasks.owner, tasks.submitter, tasks.batch"
        )
    };
    let now = transaction.now;
    let rows = transaction
        .sql
        .rows_with(&relation, &[now.into()], sql)
        .await?;
    let mut accepted = HashMap::new();
    let mut large = HashMap::new();
    for row in &rows {
        let running = AttemptKey {
            id: StoredTaskId::from_bytes(&row.bytes(0)?)?,
            attempt: row.int(1)?,
            owner: row.int(2)?,
        };
        transaction.effects.ended_tasks.push(running.id);
        let batch = batch_of(row, 4)?;
        transaction.batches.ended(batch, StoredTaskState::Succeeded);
        accepted.insert(running, StoredTaskState::Succeeded);
        let Some((worker, result)) = seen.get(&running) else {
            continue;
        };
        transaction.usage.add(&row.text(3)?, -1, size(result));
        if inline(result).is_none() {
            large.insert(running.id, result.as_slice());
        } else if let Some(worker) = worker {
            transaction.effects.task_results.push(TaskResult {
                id: running.id,
                state: StoredTaskState::Succeeded,
                attempt: running.attempt,
                worker: Some((*worker).clone()),
                result: Some((*result).clone()),
                result_omitted: false,
                error: None,
            });
        }
    }
    keep_results(transaction, &large).await?;
    Ok(accepted)
}

async fn keep_results(
    transaction: &mut Transaction<'_>,
    results: &HashMap<StoredTaskId, &[u8]>,
) -> SqlResult<()> {
    let mut relation = Relation::new([("id", ColumnType::Bytes), ("body", ColumnType::Bytes)]);
    for (id, body) in results {
        relation.push([id.as_bytes().into(), (*body).into()]);
    }
    let sql = |u: &str| {
        format!("INSERT INTO bodies (task, kind, body) SELECT id, {RESULT}, body FROM {u}")
    };
    transaction.sql.rows_with(&relation, &[], sql).await?;
    Ok(())
}

/// Writes all ends but results: the next state depends on the history of the task.
async fn fail(
    transaction: &mut Transaction<'_>,
    finishes: &[&FinishedAttempt],
) -> SqlResult<HashMap<AttemptKey, StoredTaskState>> {
    let mut relation = Relation::new([
        ("id", ColumnType::Bytes),
        ("attempt", ColumnType::Int),
        ("owner", ColumnType::Int),
    ]);
    let mut by_attempt = HashMap::new();
    for finish in finishes {
        let running = &finish.running;
        if by_attempt.insert(*running, *finish).is_none() {
            relation.push([
                running.id.as_bytes().into(),
                running.attempt.into(),
                running.owner.into(),
            ]);
        }
    }
    let locking = transaction.sql.locking(" FOR UPDATE OF t");
    let sql = |u: &str| {
        format!(
            "SELECT {ENDING_COLUMNS} FROM {u} CROSS JOIN tasks t WHERE t.id = u.id AND +t.state = 2 \
             AND t.attempt = u.attempt AND t.owner = u.owner ORDER BY t.id{locking}"
        )
    };
    let rows = transaction.sql.rows_with(&relation, &[], sql).await?;
    let mut ended = Vec::new();
    for row in &rows {
        let attempt = EndingAttempt::read(row)?;
        let running = attempt.running;
        if let Some(finish) = by_attempt.get(&running) {
            ended.push((attempt, *finish));
        }
    }
    let pairs = ended.iter().map(|(attempt, finish)| (attempt, *finish));
    end(transaction, pairs.collect()).await
}

/// The columns of a task `t` that are needed to end its attempt.
pub(super) const ENDING_COLUMNS: &str = "t.id, t.attempt, t.owner, t.object, t.allowed_attempts, t.losses, t.backoff, t.deadline, \
     t.worker, t.started, t.submitter, t.batch";

/// An attempt that ends now.
pub(super) struct EndingAttempt {
    pub(super) running: AttemptKey,
    object: String,
    history: AttemptHistory,
    pub(super) worker: Option<String>,
    started: i64,
    submitter: String,
    batch: Option<StoredBatchId>,
}

impl EndingAttempt {
    /// Reads [`ENDING_COLUMNS`].
    pub(super) fn read(row: &DatabaseRow) -> SqlResult<Self> {
        let running = AttemptKey {
            id: StoredTaskId::from_bytes(&row.bytes(0)?)?,
            attempt: row.int(1)?,
            owner: row.int(2)?,
        };
        let tries = AttemptHistory {
            attempt: running.attempt,
            allowed: row.int(4)?,
            losses: row.int(5)?,
            backoff: row.int(6)?,
            deadline: row.optional_int(7)?,
        };
        Ok(Self {
            running,
            object: row.text(3)?,
            history: tries,
            worker: row.optional_text(8)?,
            started: row.int(9)?,
            submitter: row.text(10)?,
            batch: batch_of(row, 11)?,
        })
    }
}

/// Ends attempts whose rows are locked, and decides the next states of their tasks.
pub(super) async fn end(
    transaction: &mut Transaction<'_>,
    ended: Vec<(&EndingAttempt, &FinishedAttempt)>,
) -> SqlResult<HashMap<AttemptKey, StoredTaskState>> {
    let now = transaction.now;
    let silent = silent_workers(transaction, &ended).await?;
    let none = BTreeSet::new();
    let decided: Vec<(&EndingAttempt, &FinishedAttempt, NextState)> = ended
        .into_iter()
        .map(|(attempt, finish)| {
            let silent = silent.get(&attempt.running.id).unwrap_or(&none);
            let next = after_attempt(attempt.history, &finish.ending, silent, now, rand::random());
            (attempt, finish, next)
        })
        .collect();
    record_attempts(transaction, &decided).await?;
    let mut relation = Relation::new([
        ("id", ColumnType::Bytes),
        ("state", ColumnType::Int),
        ("due", ColumnType::Int),
        ("allowed", ColumnType::Int),
        ("losses", ColumnType::Int),
        ("outcome", ColumnType::Int),
        ("ended", ColumnType::Int),
        ("started", ColumnType::Int),
        ("worker", ColumnType::Text),
        ("error", ColumnType::Text),
        ("result", ColumnType::Bytes),
    ]);
    let mut large = HashMap::new();
    let mut states = HashMap::new();
    for (attempt, finish, next) in &decided {
        let id = attempt.running.id;
        let is_final = next.state.is_final();
        let value = match &finish.ending {
            AttemptEnding::Failed { value, .. } if is_final => value.as_deref(),
            _ => None,
        };
        if let Some(body) = value.filter(|body| inline(body).is_none()) {
            large.insert(id, body);
        }
        let worker = finish.worker.as_deref().or(attempt.worker.as_deref());
        relation.push([
            attempt.running.id.as_bytes().into(),
            (next.state as i64).into(),
            next.due.into(),
            next.allowed.into(),
            next.losses.into(),
            (next.outcome as i64).into(),
            is_final.then_some(now).into(),
            is_final.then_some(attempt.started).into(),
            worker.filter(|_| is_final).into(),
            next.error.as_deref().into(),
            value.and_then(inline).into(),
        ]);
        states.insert(attempt.running, next.state);
        if is_final {
            let bytes = value.map_or(0, size);
            transaction.usage.add(&attempt.submitter, -1, bytes);
            transaction.batches.ended(attempt.batch, next.state);
            transaction.effects.ended_tasks.push(id);
        } else if next.state == StoredTaskState::Queued {
            transaction.effects.queue(&attempt.object);
        }
    }
    let sql = |u: &str| {
        format!(
            "UPDATE tasks SET state = u.state, due = u.due, allowed_attempts = u.allowed, \
             losses = u.losses, outcome = u.outcome, ended = u.ended, started = u.started, \
             worker = u.worker, error = u.error, result = u.result, owner = NULL FROM {u} \
             WHERE tasks.id = u.id"
        )
    };
    transaction.sql.rows_with(&relation, &[], sql).await?;
    keep_results(transaction, &large).await?;
    Ok(states)
}

/// The workers that fell silent with each task whose attempt ends so: in this attempt, and in earlier ones
/// that are kept, since the task was submitted or retried by hand. After a clock was set back, some are not
/// found.
async fn silent_workers(
    transaction: &mut Transaction<'_>,
    ended: &[(&EndingAttempt, &FinishedAttempt)],
) -> SqlResult<HashMap<StoredTaskId, BTreeSet<String>>> {
    let mut silent: HashMap<StoredTaskId, BTreeSet<String>> = HashMap::new();
    let mut relation = Relation::new([("id", ColumnType::Bytes)]);
    for (attempt, finish) in ended {
        if !matches!(finish.ending, AttemptEnding::Silent { .. }) {
            continue;
        }
        let id = &attempt.running.id;
        let worker = finish.worker.as_ref().or(attempt.worker.as_ref());
        silent.entry(*id).or_default().extend(worker.cloned());
        relation.push([id.as_bytes().into()]);
    }
    let outcome = AttemptOutcome::Silent as i64;
    let sql = |u: &str| {
        format!(
            "SELECT a.task, a.worker FROM {u} CROSS JOIN attempts a CROSS JOIN tasks t \
             WHERE a.task = u.id AND t.id = u.id AND a.outcome = {outcome} \
             AND a.worker IS NOT NULL AND a.started >= coalesce(t.retried, 0)"
        )
    };
    for row in transaction.sql.rows_with(&relation, &[], sql).await? {
        let id = StoredTaskId::from_bytes(&row.bytes(0)?)?;
        silent.entry(id).or_default().insert(row.text(1)?);
    }
    Ok(silent)
}

/// Moves the attempt of each task that gets another one to the history.
async fn record_attempts(
    transaction: &mut Transaction<'_>,
    decided: &[(&EndingAttempt, &FinishedAttempt, NextState)],
) -> SqlResult<()> {
    let mut relation = Relation::new([
        ("task", ColumnType::Bytes),
        ("number", ColumnType::Int),
        ("worker", ColumnType::Text),
        ("started", ColumnType::Int),
        ("outcome", ColumnType::Int),
        ("error", ColumnType::Text),
    ]);
    for (attempt, finish, next) in decided {
        if next.state.is_final() {
            continue;
        }
        let worker: Option<&str> = finish.worker.as_deref().or(attempt.worker.as_deref());
        let row: [Value<'_>; 6] = [
            attempt.running.id.as_bytes().into(),
            attempt.running.attempt.into(),
            worker.into(),
            attempt.started.into(),
            (next.outcome as i64).into(),
            next.error.as_deref().into(),
        ];
        relation.push(row);
    }
    let sql = |u: &str| {
        format!(
            "INSERT INTO attempts (task, number, worker, started, ended, outcome, error) \
             SELECT task, number, worker, started, $1, outcome, error FROM {u}"
        )
    };
    let now = transaction.now;
    transaction
        .sql
        .rows_with(&relation, &[now.into()], sql)
        .await?;
    let recorded = decided.iter().filter(|(.., next)| !next.state.is_final());
    let recorded: Vec<AttemptKey> = recorded.map(|(attempt, ..)| attempt.running).collect();
    forget_middle(transaction, &recorded).await
}

/// Deletes one attempt for each recorded one that exceeds the first and the last ones to keep.
pub(super) async fn forget_middle(
    transaction: &mut Transaction<'_>,
    recorded: &[AttemptKey],
) -> SqlResult<()> {
    let forgotten: Vec<(StoredTaskId, i64)> = recorded
        .iter()
        .map(|running| (running.id, running.attempt - LAST_ATTEMPTS))
        .filter(|(_, number)| *number > FIRST_ATTEMPTS)
        .collect();
    let mut relation = Relation::new([("task", ColumnType::Bytes), ("number", ColumnType::Int)]);
    for (id, number) in &forgotten {
        relation.push([id.as_bytes().into(), (*number).into()]);
    }
    let sql = |u: &str| {
        format!("DELETE FROM attempts WHERE (task, number) IN (SELECT u.task, u.number FROM {u})")
    };
    transaction.sql.rows_with(&relation, &[], sql).await?;
    Ok(())
}
