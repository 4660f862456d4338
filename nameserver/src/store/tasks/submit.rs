//! Submission.

use super::{ARGUMENTS, inline, millis};
use crate::store::{
    model::{NewTask, Submission, Submitted, TaskId, TaskState},
    sql::{Kind, Relation, SqlResult, Value},
    transaction::Transaction,
};
use std::{collections::HashSet, time::Duration};

/// A task with the id that it gets if it is new.
pub(in crate::store) type Named = (TaskId, NewTask, Lot);

/// Which tasks were submitted together: all of them are added, or none.
pub(in crate::store) type Lot = u64;

pub(in crate::store) async fn submit(
    transaction: &mut Transaction<'_>,
    tasks: &[Named],
) -> SqlResult<Vec<Submitted>> {
    let new = insert(transaction, tasks).await?;
    let is_new = |id: &TaskId| new.as_ref().is_none_or(|new| new.contains(id));
    let mut submitted = Vec::with_capacity(tasks.len());
    let mut large = Relation::new([("id", Kind::Bytes), ("body", Kind::Bytes)]);
    for (id, task, _) in tasks {
        if !is_new(id) {
            submitted.push(find_existing(transaction, *id, task).await?);
            continue;
        }
        let (id, submission) = (*id, Submission::New);
        submitted.push(Submitted { id, submission });
    }
    withdraw(transaction, tasks, &mut submitted).await?;
    for ((id, task, _), submitted) in tasks.iter().zip(&submitted) {
        if submitted.submission != Submission::New {
            continue;
        }
        if inline(&task.arguments).is_none() {
            large.push([id.as_bytes().into(), task.arguments.as_slice().into()]);
        }
        if task.delay.is_zero() {
            transaction.effects.queue(&task.object);
        }
    }
    let sql = |u: &str| {
        format!("INSERT INTO bodies (task, kind, body) SELECT id, {ARGUMENTS}, body FROM {u}")
    };
    transaction.sql.rows_with(&large, &[], sql).await?;
    Ok(submitted)
}

/// Takes back what was submitted together with a task whose key was used for another call. What
/// somebody else submitted too, under the same key in the same transaction, stays for them.
async fn withdraw(
    transaction: &mut Transaction<'_>,
    tasks: &[Named],
    submitted: &mut [Submitted],
) -> SqlResult<()> {
    let lots = tasks.iter().map(|(_, _, lot)| *lot);
    let taken = lots.clone().zip(&*submitted);
    let taken = taken.filter(|(_, one)| one.submission == Submission::KeyTaken);
    let refused: HashSet<Lot> = taken.map(|(lot, _)| lot).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let kept = lots.clone().zip(&*submitted);
    let kept = kept.filter(|(lot, _)| !refused.contains(lot));
    let kept: HashSet<TaskId> = kept.map(|(_, one)| one.id).collect();
    for (lot, one) in lots.zip(submitted) {
        if !refused.contains(&lot) || one.submission == Submission::KeyTaken {
            continue;
        }
        if one.submission == Submission::New && !kept.contains(&one.id) {
            let sql = "DELETE FROM tasks WHERE id = $1";
            let values = [one.id.as_bytes().into()];
            transaction.sql.execute(sql, &values).await?;
            one.submission = Submission::Withdrawn;
        }
    }
    Ok(())
}

/// Adds those whose key is not there. Gives the ids of the new ones, or nothing if all are new.
async fn insert(
    transaction: &mut Transaction<'_>,
    tasks: &[Named],
) -> SqlResult<Option<HashSet<TaskId>>> {
    let now = transaction.now;
    let mut relation = Relation::new([
        ("id", Kind::Bytes),
        ("object", Kind::Text),
        ("method", Kind::Text),
        ("pinned", Kind::Text),
        ("submitter", Kind::Text),
        ("idempotency_key", Kind::Text),
        ("priority", Kind::Int),
        ("state", Kind::Int),
        ("due", Kind::Int),
        ("deadline", Kind::Int),
        ("max_attempts", Kind::Int),
        ("backoff", Kind::Int),
        ("arguments", Kind::Bytes),
    ]);
    // Everybody takes the keys in the same order, so that nobody waits for each other.
    let mut ordered: Vec<&Named> = tasks.iter().collect();
    ordered.sort_by_key(|(_, task, _)| (&task.submitter, &task.idempotency_key));
    for (id, task, _) in ordered {
        let state = if task.delay > Duration::ZERO {
            TaskState::Delayed
        } else {
            TaskState::Queued
        };
        let after = |duration| now.saturating_add(millis(duration));
        relation.push([
            id.as_bytes().into(),
            task.object.as_str().into(),
            task.method.as_str().into(),
            task.worker.as_deref().unwrap_or("").into(),
            task.submitter.as_str().into(),
            task.idempotency_key.as_deref().into(),
            i64::from(task.priority).into(),
            (state as i64).into(),
            after(task.delay).into(),
            task.deadline.map(after).into(),
            i64::from(task.max_attempts).into(),
            millis(task.backoff).into(),
            inline(&task.arguments).into(),
        ]);
    }
    let keyed = tasks
        .iter()
        .any(|(_, task, _)| task.idempotency_key.is_some());
    let unless_known = if keyed {
        "ON CONFLICT (submitter, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING \
         RETURNING id"
    } else {
        ""
    };
    let sql = |u: &str| {
        format!(
            "INSERT INTO tasks (id, object, method, pinned, submitter, idempotency_key, priority, \
             state, due, deadline, attempt, allowed_attempts, max_attempts, losses, backoff, submitted, \
             arguments) \
             SELECT id, object, method, pinned, submitter, idempotency_key, priority, state, due, \
             deadline, 0, max_attempts, max_attempts, 0, backoff, $1, arguments FROM {u} WHERE true \
             {unless_known}"
        )
    };
    let rows = transaction
        .sql
        .rows_with(&relation, &[now.into()], sql)
        .await?;
    if !keyed {
        return Ok(None);
    }
    let ids = rows.iter().map(|row| TaskId::from_bytes(&row.bytes(0)?));
    Ok(Some(ids.collect::<SqlResult<_>>()?))
}

/// The task that has the key.
async fn find_existing(
    transaction: &mut Transaction<'_>,
    id: TaskId,
    task: &NewTask,
) -> SqlResult<Submitted> {
    let values: [Value<'_>; 2] = [
        task.submitter.as_str().into(),
        task.idempotency_key.as_deref().into(),
    ];
    let sql = format!(
        "SELECT id, object, method, coalesce(arguments, (SELECT body FROM bodies b WHERE b.task = \
         t.id AND b.kind = {ARGUMENTS})), pinned FROM tasks t WHERE submitter = $1 AND idempotency_key = $2 \
         AND idempotency_key IS NOT NULL"
    );
    let Some(row) = transaction.sql.row(sql, &values).await? else {
        // It was purged between the two statements, which can happen on PostgreSQL alone.
        return Err(sqlx::Error::Protocol(format!(
            "the task that had the idempotency key of {id} has just been removed; submit it again"
        )));
    };
    let id = TaskId::from_bytes(&row.bytes(0)?)?;
    // Arguments that are in the same batch are not among the bodies yet.
    let arguments = row.optional_bytes(3)?;
    let same = row.text(1)? == task.object
        && row.text(2)? == task.method
        && row.text(4)? == task.worker.as_deref().unwrap_or("")
        && arguments.is_none_or(|arguments| arguments == task.arguments);
    let submission = if same {
        Submission::Existing
    } else {
        Submission::KeyTaken
    };
    Ok(Submitted { id, submission })
}
