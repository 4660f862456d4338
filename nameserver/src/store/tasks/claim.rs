//! Claims: queued tasks become their owner's.

use super::ARGUMENTS;
use crate::store::{
    model::{Claim, Claimed, Fence, LeaseLost, TaskId},
    sql::{Kind, Relation, Row, SqlResult, Value},
    transaction::Transaction,
};
use std::collections::{HashMap, HashSet};

pub(in crate::store) async fn claim(
    transaction: &mut Transaction<'_>,
    claims: &[Claim],
) -> SqlResult<Vec<Result<Vec<Claimed>, LeaseLost>>> {
    let mut answers = Vec::with_capacity(claims.len());
    for claim in claims {
        answers.push(claim_one(transaction, claim).await?);
    }
    Ok(answers)
}

async fn claim_one(
    transaction: &mut Transaction<'_>,
    claim: &Claim,
) -> SqlResult<Result<Vec<Claimed>, LeaseLost>> {
    let now = transaction.now;
    if !holds_lease(transaction, claim.owner).await? {
        return Ok(Err(LeaseLost));
    }
    let mut claimed = Vec::new();
    for wanted in with_tasks(transaction, claim).await? {
        let rows = take(transaction, claim.owner, wanted).await?;
        let mut of_object = rows
            .iter()
            .map(|row| read(row, wanted, now))
            .collect::<SqlResult<Vec<_>>>()?;
        fetch_large(transaction, &mut of_object).await?;
        claimed.extend(of_object.into_iter().map(|(task, _)| task));
    }
    claimed.sort_by_key(|task| (-task.priority, task.id));
    Ok(Ok(claimed))
}

/// Whether a lease holds, and goes on to until the transaction has ended.
pub(super) async fn holds_lease(
    transaction: &mut Transaction<'_>,
    owner: Fence,
) -> SqlResult<bool> {
    // Whoever ends this lease locks the row for update, and so sees what is claimed here, or ends it
    // first. A renewal is not in the way.
    let sql = format!(
        "SELECT fence FROM leases WHERE fence = $1{}",
        transaction.sql.locking(" FOR KEY SHARE")
    );
    Ok(transaction.sql.row(sql, &[owner.into()]).await?.is_some())
}

/// Tasks of an object that are asked for: those for any worker, or those for the one that is named.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    object: &'a str,
    /// Empty for those that any worker may run.
    worker: &'a str,
    limit: u32,
}

/// What is asked for and queued.
async fn with_tasks<'a>(
    transaction: &mut Transaction<'_>,
    claim: &'a Claim,
) -> SqlResult<Vec<Wanted<'a>>> {
    let for_any = claim.objects.iter().map(|(object, limit)| Wanted {
        object,
        worker: "",
        limit: *limit,
    });
    let for_one = claim.pinned.iter().map(|(object, worker, limit)| Wanted {
        object,
        worker,
        limit: *limit,
    });
    let asked = for_any.chain(for_one);
    // One alone is tried at once.
    if claim.objects.len() + claim.pinned.len() <= 1 {
        return Ok(asked.collect());
    }
    let queued = super::query::queued(&mut transaction.sql).await?;
    let queued: HashSet<(&str, &str)> = queued
        .iter()
        .map(|(object, worker)| (&**object, worker.as_deref().unwrap_or("")))
        .collect();
    let is_queued = |wanted: &Wanted<'_>| queued.contains(&(wanted.object, wanted.worker));
    Ok(asked.filter(is_queued).collect())
}

async fn take(
    transaction: &mut Transaction<'_>,
    owner: i64,
    wanted: Wanted<'_>,
) -> SqlResult<Vec<Row>> {
    let skip_locked = transaction.sql.locking(" FOR UPDATE SKIP LOCKED");
    let sql = format!(
        "WITH picked AS (SELECT id AS picked_id FROM tasks WHERE state = 0 AND object = $1 \
         AND pinned = $5 AND (deadline IS NULL OR deadline > $2) ORDER BY priority DESC, id LIMIT $3{skip_locked}) \
         UPDATE tasks SET state = 2, attempt = attempt + 1, owner = $4, started = $2, \
         worker = NULL, outcome = NULL, fraction = NULL, note = NULL FROM picked \
         WHERE tasks.id = picked_id \
         RETURNING id, method, submitter, attempt, priority, submitted, deadline, arguments"
    );
    let values: [Value<'_>; 5] = [
        wanted.object.into(),
        transaction.now.into(),
        i64::from(wanted.limit).into(),
        owner.into(),
        wanted.worker.into(),
    ];
    transaction.sql.rows(sql, &values).await
}

/// A claimed task, and whether its arguments are kept apart.
fn read(row: &Row, wanted: Wanted<'_>, now: i64) -> SqlResult<(Claimed, bool)> {
    let arguments = row.optional_bytes(7)?;
    let large = arguments.is_none();
    let task = Claimed {
        id: TaskId::from_bytes(&row.bytes(0)?)?,
        object: wanted.object.to_owned(),
        worker: (!wanted.worker.is_empty()).then(|| wanted.worker.to_owned()),
        method: row.text(1)?,
        submitter: row.text(2)?,
        attempt: row.int(3)?,
        priority: row.int(4)?,
        submitted: row.int(5)?,
        deadline: row.optional_int(6)?,
        started: now,
        arguments: arguments.unwrap_or_default(),
    };
    Ok((task, large))
}

async fn fetch_large(
    transaction: &mut Transaction<'_>,
    tasks: &mut [(Claimed, bool)],
) -> SqlResult<()> {
    let ids: Vec<TaskId> = tasks
        .iter()
        .filter(|(_, large)| *large)
        .map(|(task, _)| task.id)
        .collect();
    let mut relation = Relation::new([("id", Kind::Bytes)]);
    for id in &ids {
        relation.push([id.as_bytes().into()]);
    }
    let sql = |u: &str| {
        format!("SELECT task, body FROM {u} JOIN bodies ON task = u.id AND kind = {ARGUMENTS}")
    };
    let mut bodies = HashMap::new();
    for row in transaction.sql.rows_with(&relation, &[], sql).await? {
        bodies.insert(TaskId::from_bytes(&row.bytes(0)?)?, row.bytes(1)?);
    }
    for (task, _) in tasks.iter_mut().filter(|(_, large)| *large) {
        let missing = || sqlx::Error::Decode(format!("task {} has no arguments", task.id).into());
        task.arguments = bodies.remove(&task.id).ok_or_else(missing)?;
    }
    Ok(())
}
