//! Submission of tasks.

use super::{
    ARGUMENTS,
    allowance::RemainingAllowance,
    claim::holds_lease,
    inline, millis,
    usage::{ALL_SUBMITTERS, TASK_BYTES, size},
};
use crate::{
    model::{
        Allowance, ClaimedTask, Fence, NewStoredTask, StoredBatchId, StoredTaskId, StoredTaskState,
        SubmissionOutcome, SubmittedTask, TaskUsage, UnixMillis,
    },
    sql::{ColumnType, Relation, SqlResult, Value},
    transaction::Transaction,
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// A task to add.
#[derive(Debug)]
pub(crate) struct IdentifiedTask {
    /// The id that it gets if it is new.
    pub(crate) id: StoredTaskId,
    /// The same for all tasks that were submitted together: all of them are added, or none.
    pub(crate) batch: u64,
    pub(crate) task: NewStoredTask,
    /// The lease whose owner claims the task, if it is new and the lease exists.
    pub(crate) owner: Option<Fence>,
    /// The allowance of its submitter.
    pub(crate) allowance: Allowance,
}

/// How many bytes of its submitter a new task takes.
fn bytes_of(task: &NewStoredTask) -> i64 {
    let trace = task.trace.as_deref().unwrap_or_default();
    TASK_BYTES + size(&task.arguments) + size(trace.as_bytes())
}

/// The result of a submission, and the claim.
pub(crate) type SubmitResponse = (SubmittedTask, Option<ClaimedTask>);

pub(crate) async fn submit(
    transaction: &mut Transaction<'_>,
    tasks: &[IdentifiedTask],
) -> SqlResult<Vec<SubmitResponse>> {
    let owners = owners(transaction, tasks).await?;
    let new = insert(transaction, tasks, &owners).await?;
    let is_new = |id: &StoredTaskId| new.as_ref().is_none_or(|new| new.contains(id));
    let mut submitted = Vec::with_capacity(tasks.len());
    let mut large = Relation::new([("id", ColumnType::Bytes), ("body", ColumnType::Bytes)]);
    for IdentifiedTask { id, task, .. } in tasks {
        submitted.push(match is_new(id) {
            true => SubmittedTask {
                id: *id,
                submission: SubmissionOutcome::New,
            },
            false => find_existing(transaction, *id, task).await?,
        });
    }
    let refused = refuse(transaction, tasks, &submitted).await?;
    withdraw(transaction, tasks, &mut submitted, &refused).await?;
    let mut answers = Vec::with_capacity(tasks.len());
    for (named, submitted) in tasks.iter().zip(submitted) {
        let IdentifiedTask { id, task, .. } = named;
        if submitted.submission != SubmissionOutcome::New {
            answers.push((submitted, None));
            continue;
        }
        let bytes = bytes_of(task);
        transaction.usage.add(&task.submitter, 1, bytes);
        if inline(&task.arguments).is_none() {
            large.push([id.as_bytes().into(), task.arguments.as_slice().into()]);
        }
        let claimed = named
            .owner(&owners)
            .map(|_| claimed(named, transaction.now));
        if task.delay.is_zero() && claimed.is_none() {
            transaction.effects.queue(&task.object);
        }
        answers.push((submitted, claimed));
    }
    let sql = |u: &str| {
        format!("INSERT INTO bodies (task, kind, body) SELECT id, {ARGUMENTS}, body FROM {u}")
    };
    transaction.sql.rows_with(&large, &[], sql).await?;
    Ok(answers)
}

/// The batches of which no task is added: the key of one task was used for another call, or the tasks would
/// exceed the allowance of their submitter.
async fn refuse(
    transaction: &mut Transaction<'_>,
    tasks: &[IdentifiedTask],
    submitted: &[SubmittedTask],
) -> SqlResult<HashMap<u64, SubmissionOutcome>> {
    let all: Vec<(&IdentifiedTask, &SubmittedTask)> = tasks.iter().zip(submitted).collect();
    let taken = all
        .iter()
        .filter(|(_, one)| one.submission == SubmissionOutcome::KeyTaken);
    let mut refused: HashMap<u64, SubmissionOutcome> = taken
        .map(|(named, _)| (named.batch, SubmissionOutcome::Withdrawn))
        .collect();
    let is_bounded = |named: &IdentifiedTask| named.allowance != Allowance::UNLIMITED;
    if !tasks.iter().any(is_bounded) {
        return Ok(refused);
    }
    let submitters = tasks.iter().map(|named| named.task.submitter.as_str());
    let submitters: BTreeSet<&str> = submitters.chain([ALL_SUBMITTERS]).collect();
    let known = RemainingAllowance::from_cache(transaction, &submitters);
    let too_much = match known.map(|room| too_much(room, &all, &refused)) {
        Some(none) if none.is_empty() => none,
        // No batch is refused because of outdated usage.
        _ => {
            let room = RemainingAllowance::from_store(transaction, &submitters).await?;
            too_much(room, &all, &refused)
        }
    };
    refused.extend(too_much);
    Ok(refused)
}

/// The batches that exceed their allowance, except those that are refused already.
fn too_much(
    mut room: RemainingAllowance,
    all: &[(&IdentifiedTask, &SubmittedTask)],
    refused: &HashMap<u64, SubmissionOutcome>,
) -> HashMap<u64, SubmissionOutcome> {
    let mut too_much = HashMap::new();
    // Tasks that were submitted together have one submitter, and are next to each other.
    for lot in all.chunk_by(|(one, _), (next, _)| one.batch == next.batch) {
        let Some((first, _)) = lot.first() else {
            continue;
        };
        if refused.contains_key(&first.batch) {
            continue;
        }
        let new = lot
            .iter()
            .filter(|(_, one)| one.submission == SubmissionOutcome::New);
        let more = new.fold(TaskUsage::default(), |sum, (named, _)| TaskUsage {
            tasks: sum.tasks + 1,
            bytes: sum.bytes + bytes_of(&named.task),
        });
        if let Err(quota) = room.take(&first.task.submitter, more, &first.allowance) {
            too_much.insert(first.batch, SubmissionOutcome::TooMuch(quota));
        }
    }
    too_much
}

/// Deletes the refused tasks. A task that another batch of the transaction submitted too, under the same key,
/// stays.
async fn withdraw(
    transaction: &mut Transaction<'_>,
    tasks: &[IdentifiedTask],
    submitted: &mut [SubmittedTask],
    refused: &HashMap<u64, SubmissionOutcome>,
) -> SqlResult<()> {
    if refused.is_empty() {
        return Ok(());
    }
    let kept = tasks.iter().zip(&*submitted);
    let kept = kept.filter(|(named, _)| !refused.contains_key(&named.batch));
    let kept: HashSet<StoredTaskId> = kept.map(|(_, one)| one.id).collect();
    let mut ids = Vec::new();
    for (named, one) in tasks.iter().zip(submitted) {
        let Some(verdict) = refused.get(&named.batch) else {
            continue;
        };
        if one.submission == SubmissionOutcome::New && !kept.contains(&one.id) {
            ids.push(one.id);
            one.submission = *verdict;
        }
    }
    let mut withdrawn = Relation::new([("id", ColumnType::Bytes)]);
    for id in &ids {
        withdrawn.push([id.as_bytes().into()]);
    }
    let sql = |u: &str| format!("DELETE FROM tasks WHERE id IN (SELECT u.id FROM {u})");
    transaction.sql.rows_with(&withdrawn, &[], sql).await?;
    Ok(())
}

impl IdentifiedTask {
    /// The owner that claims it, if it is one of these.
    fn owner(&self, owners: &HashSet<Fence>) -> Option<Fence> {
        let owner = self.owner.filter(|_| self.task.delay.is_zero());
        owner.filter(|owner| owners.contains(owner))
    }
}

/// The owners whose leases exist, and cannot be ended before the claims are written, as for any claim.
async fn owners(
    transaction: &mut Transaction<'_>,
    tasks: &[IdentifiedTask],
) -> SqlResult<HashSet<Fence>> {
    let asked: BTreeSet<Fence> = tasks.iter().filter_map(|named| named.owner).collect();
    let mut owners = HashSet::new();
    for owner in asked {
        if holds_lease(transaction, owner).await? {
            owners.insert(owner);
        }
    }
    Ok(owners)
}

fn claimed(IdentifiedTask { id, task, .. }: &IdentifiedTask, now: UnixMillis) -> ClaimedTask {
    ClaimedTask {
        id: *id,
        object: task.object.clone(),
        method: task.method.clone(),
        arguments: task.arguments.clone(),
        submitter: task.submitter.clone(),
        certificate_role: task.certificate_role.clone(),
        worker: task.worker.clone(),
        trace: task.trace.clone(),
        attempt: 1,
        priority: i64::from(task.priority),
        submitted: now,
        started: now,
        deadline: task.deadline.map(|time| now.saturating_add(millis(time))),
        run_limit: millis(task.run_limit),
    }
}

/// Adds the tasks whose keys are new. Returns the ids of the new tasks, or `None` if all are new.
async fn insert(
    transaction: &mut Transaction<'_>,
    tasks: &[IdentifiedTask],
    owners: &HashSet<Fence>,
) -> SqlResult<Option<HashSet<StoredTaskId>>> {
    let now = transaction.now;
    let mut relation = Relation::sharing(
        4,
        [
            ("id", ColumnType::Bytes),
            ("arguments", ColumnType::Bytes),
            ("owner", ColumnType::Int),
            ("idempotency_key", ColumnType::Text),
            ("object", ColumnType::Text),
            ("method", ColumnType::Text),
            ("pinned", ColumnType::Text),
            ("submitter", ColumnType::Text),
            ("priority", ColumnType::Int),
            ("due", ColumnType::Int),
            ("deadline", ColumnType::Int),
            ("max_attempts", ColumnType::Int),
            ("backoff", ColumnType::Int),
            ("run_limit", ColumnType::Int),
            ("certificate_role", ColumnType::Text),
            ("trace", ColumnType::Text),
            ("batch", ColumnType::Bytes),
        ],
    );
    // All transactions take keys in the same order, so that no two wait for each other.
    let mut ordered: Vec<&IdentifiedTask> = tasks.iter().collect();
    ordered.sort_by_key(|named| (&named.task.submitter, &named.task.idempotency_key));
    for named in ordered {
        let IdentifiedTask { id, task, .. } = named;
        let after = |duration| now.saturating_add(millis(duration));
        let due = match task.delay.is_zero() {
            true => now,
            false => after(task.delay).max(now.saturating_add(1)),
        };
        relation.push([
            id.as_bytes().into(),
            inline(&task.arguments).into(),
            named.owner(owners).into(),
            task.idempotency_key.as_deref().into(),
            task.object.as_str().into(),
            task.method.as_str().into(),
            task.worker.as_deref().unwrap_or("").into(),
            task.submitter.as_str().into(),
            i64::from(task.priority).into(),
            due.into(),
            task.deadline.map(after).into(),
            i64::from(task.max_attempts).into(),
            millis(task.backoff).into(),
            millis(task.run_limit).into(),
            task.certificate_role.as_deref().into(),
            task.trace.as_deref().into(),
            task.batch.as_ref().map(StoredBatchId::as_bytes).into(),
        ]);
    }
    let keyed = |named: &IdentifiedTask| named.task.idempotency_key.is_some();
    let unless_known = if tasks.iter().any(keyed) {
        "ON CONFLICT (submitter, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING"
    } else {
        ""
    };
    let [queued, delayed, running] = [
        StoredTaskState::Queued,
        StoredTaskState::Delayed,
        StoredTaskState::Running,
    ]
    .map(|state| state as i64);
    let sql = |u: &str| {
        format!(
            "INSERT INTO tasks (id, object, method, pinned, submitter, idempotency_key, priority, \
             state, due, deadline, attempt, allowed_attempts, max_attempts, losses, backoff, submitted, \
             arguments, owner, started, run_limit, certificate_role, trace, batch) \
             SELECT id, object, method, pinned, submitter, idempotency_key, priority, \
             CASE WHEN owner IS NOT NULL THEN {running} WHEN due > $1 THEN {delayed} ELSE {queued} END, \
             due, deadline, CASE WHEN owner IS NULL THEN 0 ELSE 1 END, max_attempts, max_attempts, 0, \
             backoff, $1, arguments, owner, CASE WHEN owner IS NOT NULL THEN $1 END, run_limit, \
             certificate_role, trace, batch \
             FROM {u} WHERE true {unless_known}"
        )
    };
    let scalars = [now.into()];
    let added = transaction.sql.execute_with(&relation, &scalars, sql);
    if usize::try_from(added.await?) == Ok(tasks.len()) {
        return Ok(None);
    }
    Ok(Some(added_ids(transaction, tasks).await?))
}

/// The ids among these that were added. They are new ids, so no other task has them.
async fn added_ids(
    transaction: &mut Transaction<'_>,
    tasks: &[IdentifiedTask],
) -> SqlResult<HashSet<StoredTaskId>> {
    let mut relation = Relation::new([("id", ColumnType::Bytes)]);
    for named in tasks {
        relation.push([named.id.as_bytes().into()]);
    }
    let dialect = transaction.sql.dialect();
    let sql = |u: &str| format!("SELECT t.id FROM {}", dialect.lookup_join(u, "tasks", "id"));
    let rows = transaction.sql.rows_with(&relation, &[], sql).await?;
    let ids = rows
        .iter()
        .map(|row| StoredTaskId::from_bytes(&row.bytes(0)?));
    ids.collect()
}

/// The task that has the key.
async fn find_existing(
    transaction: &mut Transaction<'_>,
    id: StoredTaskId,
    task: &NewStoredTask,
) -> SqlResult<SubmittedTask> {
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
        // It was purged between the two statements, which can happen on PostgreSQL only.
        return Err(sqlx::Error::Protocol(format!(
            "the task that had the idempotency key of {id} has just been removed; submit it again"
        )));
    };
    let id = StoredTaskId::from_bytes(&row.bytes(0)?)?;
    // Arguments of the same batch are not in `bodies` yet.
    let arguments = row.optional_bytes(3)?;
    let same = row.text(1)? == task.object
        && row.text(2)? == task.method
        && row.text(4)? == task.worker.as_deref().unwrap_or("")
        && arguments.is_none_or(|arguments| arguments == task.arguments);
    let submission = if same {
        SubmissionOutcome::Existing
    } else {
        SubmissionOutcome::KeyTaken
    };
    Ok(SubmittedTask { id, submission })
}
