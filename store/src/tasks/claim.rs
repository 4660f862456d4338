//! Claims: queued tasks get an owner.
//!
//! For each object, submitters take turns. While both wait, a submitter with a hundred thousand queued tasks
//! gets no more of them started than one with ten.

use super::ARGUMENTS;
use crate::{
    model::{
        ClaimQueue, ClaimedQueue, ClaimedTask, Fence, LeaseLost, StoredTaskId, TaskClaim, URGENT,
    },
    sql::{ColumnType, DatabaseRow, Relation, SqlResult, Value},
    transaction::Transaction,
};
use std::collections::{HashMap, HashSet};

/// How many submitters get a turn in one claim.
const MAX_SUBMITTERS_PER_CLAIM: i64 = 64;

pub(crate) async fn claim(
    transaction: &mut Transaction<'_>,
    claims: &[TaskClaim],
) -> SqlResult<Vec<Result<Vec<ClaimedQueue>, LeaseLost>>> {
    let mut answers = Vec::with_capacity(claims.len());
    for claim in claims {
        answers.push(claim_one(transaction, claim).await?);
    }
    Ok(answers)
}

async fn claim_one(
    transaction: &mut Transaction<'_>,
    claim: &TaskClaim,
) -> SqlResult<Result<Vec<ClaimedQueue>, LeaseLost>> {
    if !holds_lease(transaction, claim.owner).await? {
        return Ok(Err(LeaseLost));
    }
    let queued = queues_with_tasks(transaction, claim).await?;
    let mut lanes = Vec::with_capacity(claim.queues.len());
    for (lane, has_tasks) in claim.queues.iter().zip(queued) {
        lanes.push(match has_tasks {
            true => claim_queue(transaction, claim.owner, lane).await?,
            false => ClaimedQueue::default(),
        });
    }
    Ok(Ok(lanes))
}

/// Whether a lease exists. If so, it exists until the transaction ends.
pub(super) async fn holds_lease(
    transaction: &mut Transaction<'_>,
    owner: Fence,
) -> SqlResult<bool> {
    // A transaction that ends this lease locks the row for update. So it either sees the tasks that are
    // claimed here, or ends the lease first. A renewal is not blocked.
    let sql = format!(
        "SELECT fence FROM leases WHERE fence = $1{}",
        transaction.sql.locking(" FOR KEY SHARE")
    );
    Ok(transaction.sql.row(sql, &[owner.into()]).await?.is_some())
}

fn pinned(lane: &ClaimQueue) -> &str {
    lane.worker.as_deref().unwrap_or("")
}

/// Which queues have tasks.
async fn queues_with_tasks(
    transaction: &mut Transaction<'_>,
    claim: &TaskClaim,
) -> SqlResult<Vec<bool>> {
    // A single queue is tried at once.
    if claim.queues.len() <= 1 {
        return Ok(vec![true; claim.queues.len()]);
    }
    let queued = super::query::queued(&mut transaction.sql).await?;
    let queued: HashSet<(&str, &str)> = queued
        .iter()
        .map(|(object, worker)| (&**object, worker.as_deref().unwrap_or("")))
        .collect();
    let is_queued = |lane: &ClaimQueue| queued.contains(&(&*lane.object, pinned(lane)));
    Ok(claim.queues.iter().map(is_queued).collect())
}

/// A submitter with queued tasks.
#[derive(Debug)]
struct WaitingSubmitter {
    submitter: String,
    /// The priority of its first task.
    top_priority: i64,
    /// How many of its tasks may still be claimed.
    remaining: u32,
}

async fn claim_queue(
    transaction: &mut Transaction<'_>,
    owner: Fence,
    lane: &ClaimQueue,
) -> SqlResult<ClaimedQueue> {
    let mut turns = submitters_in_turn(transaction, lane).await?;
    let mut taking = QueueClaim {
        owner,
        lane,
        remaining: lane.limit,
        claimed: ClaimedQueue::default(),
        large_indexes: Vec::new(),
    };
    let mut urgent: Vec<&mut WaitingSubmitter> = turns
        .iter_mut()
        .filter(|one| one.top_priority > URGENT)
        .collect();
    urgent.sort_by_key(|one| -one.top_priority);
    for one in urgent {
        taking.take(transaction, one, u32::MAX, URGENT + 1).await?;
    }
    while taking.remaining > 0 && !turns.is_empty() {
        let count = u32::try_from(turns.len()).unwrap_or(u32::MAX);
        let each = (taking.remaining / count).max(1);
        let mut more = Vec::new();
        for mut one in turns {
            if taking.take(transaction, &mut one, each, i64::MIN).await? {
                more.push(one);
            }
        }
        turns = more;
    }
    taking.fetch_large(transaction).await?;
    Ok(taking.claimed)
}

/// The submitters with queued tasks, in the order of their turns: those after the one that had the last turn,
/// then the others.
async fn submitters_in_turn(
    transaction: &mut Transaction<'_>,
    lane: &ClaimQueue,
) -> SqlResult<Vec<WaitingSubmitter>> {
    // From one submitter to the next through the index, whatever the number of tasks.
    let next = |beyond: &str| {
        format!(
            "(SELECT submitter FROM tasks WHERE state = 0 AND object = $1 AND pinned = $2 \
             AND {beyond} ORDER BY submitter LIMIT 1)"
        )
    };
    let (first, second) = (next("submitter > $3"), next("submitter > later.submitter"));
    let again = next("submitter >= '' AND submitter <= $3");
    let others = next("submitter > earlier.submitter AND submitter <= $3");
    let sql = format!(
        "WITH RECURSIVE later (submitter) AS (SELECT {first} UNION ALL SELECT {second} FROM later \
         WHERE later.submitter IS NOT NULL), \
         earlier (submitter) AS (SELECT {again} UNION ALL SELECT {others} FROM earlier \
         WHERE earlier.submitter IS NOT NULL), \
         waiting AS (SELECT * FROM (SELECT submitter, 0 AS turn FROM later LIMIT {MAX_SUBMITTERS_PER_CLAIM}) AS a \
         UNION ALL SELECT * FROM (SELECT submitter, 1 AS turn FROM earlier LIMIT {MAX_SUBMITTERS_PER_CLAIM}) AS b) \
         SELECT submitter, (SELECT priority FROM tasks WHERE state = 0 AND object = $1 \
         AND pinned = $2 AND tasks.submitter = waiting.submitter ORDER BY priority DESC LIMIT 1) \
         FROM waiting WHERE submitter IS NOT NULL ORDER BY turn, submitter LIMIT {MAX_SUBMITTERS_PER_CLAIM}"
    );
    let values: [Value<'_>; 3] = [
        lane.object.as_str().into(),
        pinned(lane).into(),
        lane.last_submitter.as_str().into(),
    ];
    let rows = transaction.sql.rows(sql, &values).await?;
    let most_of: HashMap<&str, u32> = lane
        .max_of_submitter
        .iter()
        .map(|(submitter, most)| (&**submitter, *most))
        .collect();
    let mut turns = Vec::with_capacity(rows.len());
    for row in rows {
        let submitter = row.text(0)?;
        // Between the two look-ups all of them may have been claimed.
        let top = row.optional_int(1)?.unwrap_or(i64::MIN);
        let room = most_of
            .get(&*submitter)
            .copied()
            .unwrap_or(lane.max_per_submitter);
        turns.push(WaitingSubmitter {
            submitter,
            top_priority: top,
            remaining: room,
        });
    }
    Ok(turns)
}

/// A claim on one queue, in progress.
struct QueueClaim<'a> {
    owner: Fence,
    lane: &'a ClaimQueue,
    /// How many more tasks to claim.
    remaining: u32,
    claimed: ClaimedQueue,
    /// The indexes of the claimed tasks whose arguments are in `bodies`.
    large_indexes: Vec<usize>,
}

impl QueueClaim<'_> {
    /// Claims up to `most` tasks of a submitter, of at least this priority. Returns whether there may be more
    /// of them.
    async fn take(
        &mut self,
        transaction: &mut Transaction<'_>,
        of: &mut WaitingSubmitter,
        most: u32,
        priority: i64,
    ) -> SqlResult<bool> {
        if of.remaining == 0 {
            self.claimed.limited = true;
            return Ok(false);
        }
        let asked = most.min(self.remaining).min(of.remaining);
        if asked == 0 {
            return Ok(true);
        }
        let rows = self
            .update(transaction, &of.submitter, asked, priority)
            .await?;
        let read = |row| read(row, self.lane, &of.submitter, transaction.now);
        let mut tasks = rows.iter().map(read).collect::<SqlResult<Vec<_>>>()?;
        tasks.sort_by_key(|(task, _)| (-task.priority, task.id));
        for (task, is_large) in tasks {
            if is_large {
                self.large_indexes.push(self.claimed.tasks.len());
            }
            self.claimed.tasks.push(task);
        }
        let got = u32::try_from(rows.len()).unwrap_or(asked).min(asked);
        if got > 0 {
            self.claimed.last_submitter = Some(of.submitter.clone());
        }
        self.remaining -= got;
        of.remaining -= got;
        Ok(got == asked)
    }

    async fn update(
        &self,
        transaction: &mut Transaction<'_>,
        submitter: &str,
        limit: u32,
        priority: i64,
    ) -> SqlResult<Vec<DatabaseRow>> {
        let skip_locked = transaction.sql.locking(" FOR UPDATE SKIP LOCKED");
        let sql = format!(
            "WITH picked AS (SELECT id AS picked_id FROM tasks WHERE state = 0 AND object = $1 \
             AND pinned = $5 AND submitter = $6 AND priority >= $7 \
             AND (deadline IS NULL OR deadline > $2) \
             ORDER BY priority DESC, id LIMIT $3{skip_locked}) \
             UPDATE tasks SET state = 2, attempt = attempt + 1, owner = $4, started = $2, \
             worker = NULL, outcome = NULL, fraction = NULL, note = NULL FROM picked \
             WHERE tasks.id = picked_id \
             RETURNING id, method, attempt, priority, submitted, deadline, run_limit, arguments, \
             certificate_role, trace"
        );
        let values: [Value<'_>; 7] = [
            self.lane.object.as_str().into(),
            transaction.now.into(),
            i64::from(limit).into(),
            self.owner.into(),
            pinned(self.lane).into(),
            submitter.into(),
            priority.into(),
        ];
        transaction.sql.rows(sql, &values).await
    }

    async fn fetch_large(&mut self, transaction: &mut Transaction<'_>) -> SqlResult<()> {
        let tasks = &mut self.claimed.tasks;
        let ids: Vec<StoredTaskId> = self
            .large_indexes
            .iter()
            .filter_map(|index| Some(tasks.get(*index)?.id))
            .collect();
        let mut relation = Relation::new([("id", ColumnType::Bytes)]);
        for id in &ids {
            relation.push([id.as_bytes().into()]);
        }
        let sql = |u: &str| {
            format!("SELECT task, body FROM {u} JOIN bodies ON task = u.id AND kind = {ARGUMENTS}")
        };
        let mut bodies = HashMap::new();
        for row in transaction.sql.rows_with(&relation, &[], sql).await? {
            bodies.insert(StoredTaskId::from_bytes(&row.bytes(0)?)?, row.bytes(1)?);
        }
        for index in &self.large_indexes {
            let Some(task) = tasks.get_mut(*index) else {
                continue;
            };
            let missing =
                || sqlx::Error::Decode(format!("task {} has no arguments", task.id).into());
            task.arguments = bodies.remove(&task.id).ok_or_else(missing)?;
        }
        Ok(())
    }
}

/// A claimed task, and whether its arguments are in `bodies`.
fn read(
    row: &DatabaseRow,
    lane: &ClaimQueue,
    submitter: &str,
    now: i64,
) -> SqlResult<(ClaimedTask, bool)> {
    let arguments = row.optional_bytes(7)?;
    let large = arguments.is_none();
    let task = ClaimedTask {
        id: StoredTaskId::from_bytes(&row.bytes(0)?)?,
        object: lane.object.clone(),
        worker: lane.worker.clone(),
        method: row.text(1)?,
        submitter: submitter.to_owned(),
        certificate_role: row.optional_text(8)?,
        trace: row.optional_text(9)?,
        attempt: row.int(2)?,
        priority: row.int(3)?,
        submitted: row.int(4)?,
        deadline: row.optional_int(5)?,
        run_limit: row.int(6)?,
        started: now,
        arguments: arguments.unwrap_or_default(),
    };
    Ok((task, large))
}
