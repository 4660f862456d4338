//! Schedules: each is a row with its next due time. A step submits tasks and moves the row to its next due time in one
//! transaction. It counts only if the row is as the name server saw it, so several name servers make each step once.
//!
//! Which due times a schedule has, and what is done about them, is decided by the name servers.

use super::{
    model::{
        NewStoredSchedule, ScheduleAgenda, ScheduleChange, ScheduleOutcome, ScheduleStep,
        ScheduleVersion, StoredSchedule, StoredTask, StoredTaskId, SubmissionOutcome,
        SubmittedTask, UnixMillis,
    },
    sql::{DatabaseRow, Dialect, SqlConnection, SqlResult},
    tasks::{
        query,
        submit::{IdentifiedTask, submit},
    },
    transaction::Transaction,
};
use std::cmp::Reverse;

/// How many schedules one answer has at most.
const PAGE: i64 = 100;

/// A schedule that was dealt with this long after now, in milliseconds, was so before the clock was set back.
const AHEAD: i64 = 1000;

/// How the idempotency keys of the tasks of schedules begin. Name servers accept no other tasks with such keys.
pub const SCHEDULE_KEYS: &str = "schedule:";

/// For how many of its last tasks a schedule is asked.
const LAST_TASKS: i64 = 10;

const COLUMNS: &str = "name, id, submitter, certificate_role, revision, paused, created, handled, due, waiting, last, \
     last_task, problem, CASE WHEN EXISTS (SELECT 1 FROM tasks t WHERE t.id = s.last_task AND t.state < 3) \
     THEN CAST(1 AS BIGINT) ELSE 0 END, definition";

/// The idempotency key of the task of a due time: there is one task for it, whatever clocks and name servers do. Keys
/// have the order of due times.
pub(super) fn key_of_due(schedule: &StoredSchedule, due: UnixMillis) -> String {
    format!("{}{due:015}", key_prefix(schedule))
}

/// The idempotency key of a task that was asked for by hand, under a key of its own.
pub(super) fn key_by_hand(schedule: &StoredSchedule, key: &str) -> String {
    format!("{}now:{key}", key_prefix(schedule))
}

fn key_prefix(schedule: &StoredSchedule) -> String {
    // The id is before the name, which may have any characters: no prefix is the beginning of another one.
    format!("{SCHEDULE_KEYS}{}:{}:", schedule.id, schedule.name)
}

/// Makes changes. Returns the result of each.
pub(super) async fn change(
    transaction: &mut Transaction<'_>,
    changes: &[ScheduleChange],
) -> SqlResult<Vec<ScheduleOutcome>> {
    let mut order: Vec<(usize, &ScheduleChange)> = changes.iter().enumerate().collect();
    // Every transaction locks the counter before any row, and the rows in the order of names.
    order.sort_by_key(|&(_, change)| match change {
        ScheduleChange::Add(new) => (0, &*new.name),
        ScheduleChange::Step(step) => (1, &*step.of.name),
        ScheduleChange::Pause(of)
        | ScheduleChange::Resume { of, .. }
        | ScheduleChange::Remove(of) => (1, &*of.name),
    });
    let mut outcomes = Vec::with_capacity(changes.len());
    for (place, change) in order {
        outcomes.push((place, change_one(transaction, change).await?));
    }
    outcomes.sort_by_key(|(place, _)| *place);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

async fn change_one(
    transaction: &mut Transaction<'_>,
    change: &ScheduleChange,
) -> SqlResult<ScheduleOutcome> {
    let of = match change {
        ScheduleChange::Add(new) => return add(transaction, new).await,
        ScheduleChange::Step(step) => &step.of,
        ScheduleChange::Pause(of)
        | ScheduleChange::Resume { of, .. }
        | ScheduleChange::Remove(of) => of,
    };
    if !lock(transaction, of).await? {
        return Ok(ScheduleOutcome::Changed);
    }
    let name = of.name.as_str().into();
    match change {
        ScheduleChange::Add(_) => {}
        ScheduleChange::Step(step) => return make_step(transaction, step).await,
        ScheduleChange::Pause(_) => {
            let sql = "UPDATE schedules SET paused = 1, revision = revision + 1 WHERE name = $1";
            transaction.sql.execute(sql, &[name]).await?;
        }
        ScheduleChange::Resume { handled, due, .. } => {
            let sql = "UPDATE schedules SET paused = 0, revision = revision + 1, handled = $2, due = $3 \
                       WHERE name = $1 AND paused <> 0";
            let values = [name, (*handled).into(), (*due).into()];
            transaction.sql.execute(sql, &values).await?;
        }
        ScheduleChange::Remove(_) => {
            let sql = "DELETE FROM schedules WHERE name = $1";
            transaction.sql.execute(sql, &[name]).await?;
        }
    }
    transaction.effects.schedules = true;
    Ok(ScheduleOutcome::Done(Vec::new()))
}

/// Locks a schedule until the commit, if it is as the change expects.
async fn lock(transaction: &mut Transaction<'_>, of: &ScheduleVersion) -> SqlResult<bool> {
    let locking = transaction.sql.locking(" FOR UPDATE");
    let sql = format!("SELECT id, revision FROM schedules WHERE name = $1{locking}");
    let row = transaction.sql.row(sql, &[of.name.as_str().into()]).await?;
    let Some(row) = row else { return Ok(false) };
    let revision = row.int(1)?;
    Ok(row.int(0)? == of.id && of.revision.is_none_or(|expected| expected == revision))
}

async fn add(
    transaction: &mut Transaction<'_>,
    new: &NewStoredSchedule,
) -> SqlResult<ScheduleOutcome> {
    // Its row is locked until the commit: schedules are added one after the other.
    let id = super::next_number(transaction, "schedules").await?;
    if find(&mut transaction.sql, &new.name).await?.is_some() {
        return Ok(ScheduleOutcome::Exists);
    }
    let (own, all) = count(&mut transaction.sql, &new.submitter).await?;
    if own >= new.most {
        return Ok(ScheduleOutcome::TooMany { of_all: false });
    }
    if all >= new.most_of_all {
        return Ok(ScheduleOutcome::TooMany { of_all: true });
    }
    let schedule = StoredSchedule {
        name: new.name.clone(),
        id,
        submitter: new.submitter.clone(),
        certificate_role: new.certificate_role.clone(),
        revision: 1,
        paused: false,
        created: transaction.now,
        handled: new.from,
        due: Some(new.due),
        waiting: Vec::new(),
        last: None,
        last_task: None,
        is_open: false,
        problem: None,
        definition: new.definition.clone(),
    };
    import(&mut transaction.sql, &schedule).await?;
    transaction.effects.schedules = true;
    Ok(ScheduleOutcome::Done(Vec::new()))
}

/// Adds a schedule as it is, unless there is one of its name.
pub(super) async fn import(sql: &mut SqlConnection<'_>, new: &StoredSchedule) -> SqlResult<()> {
    let statement = "INSERT INTO schedules (name, id, submitter, certificate_role, revision, paused, created, handled, \
                     due, waiting, last, last_task, problem, definition) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (name) DO NOTHING";
    let waiting = written(&new.waiting)?;
    let values = [
        new.name.as_str().into(),
        new.id.into(),
        new.submitter.as_str().into(),
        new.certificate_role.as_deref().into(),
        new.revision.into(),
        i64::from(new.paused).into(),
        new.created.into(),
        new.handled.into(),
        new.due.into(),
        waiting.as_deref().into(),
        new.last.into(),
        new.last_task.as_ref().map(StoredTaskId::as_bytes).into(),
        new.problem.as_deref().into(),
        new.definition.as_str().into(),
    ];
    sql.execute(statement, &values).await?;
    Ok(())
}

/// Due times that wait, as the column has them.
fn written(waiting: &[UnixMillis]) -> SqlResult<Option<String>> {
    let text = (!waiting.is_empty()).then(|| serde_json::to_string(waiting));
    text.transpose()
        .map_err(|error| sqlx::Error::Encode(error.into()))
}

/// Makes a step of a schedule whose row is locked.
async fn make_step(
    transaction: &mut Transaction<'_>,
    step: &ScheduleStep,
) -> SqlResult<ScheduleOutcome> {
    // Each is a batch of its own: one that is refused does not take the others with it.
    let tasks = step.tasks.iter().map(|(task, _)| IdentifiedTask {
        id: StoredTaskId::generate(),
        batch: rand::random(),
        task: task.clone(),
        owner: None,
        allowance: step.allowance,
    });
    let submitted = match step.tasks.is_empty() {
        true => Vec::new(),
        false => submit(transaction, &tasks.collect::<Vec<_>>()).await?,
    };
    let submitted: Vec<SubmittedTask> = submitted.into_iter().map(|(one, _)| one).collect();
    let ids: Vec<StoredTaskId> = submitted
        .iter()
        .filter(|one| has_task(one))
        .map(|one| one.id)
        .collect();
    let refused = submitted.iter().find(|one| !has_task(one));
    if let Some(refused) = refused
        && ids.is_empty()
    {
        return Ok(match refused.submission {
            SubmissionOutcome::TooMuch(quota) => ScheduleOutcome::TooMuch(quota),
            _ => ScheduleOutcome::KeyTaken,
        });
    }
    let some_refused = refused.map(|_| some_refused(submitted.len() - ids.len(), submitted.len()));
    let keeps_last = step.by_hand && last_is_open(transaction, &step.of.name).await?;
    let mut new = step.tasks.iter().zip(&submitted);
    let new = new.rfind(|(_, one)| one.submission == SubmissionOutcome::New && !keeps_last);
    let waiting = written(&step.waiting)?;
    let sql = "UPDATE schedules SET revision = revision + 1, handled = $2, due = $3, waiting = $4, problem = $5, \
               last = coalesce($6, last), last_task = coalesce($7, last_task) WHERE name = $1";
    let values = [
        step.of.name.as_str().into(),
        step.handled.into(),
        step.due.into(),
        waiting.as_deref().into(),
        some_refused.as_deref().or(step.problem.as_deref()).into(),
        new.map(|((_, due), _)| *due).into(),
        new.map(|(_, one)| one.id.as_bytes()).into(),
    ];
    transaction.sql.execute(sql, &values).await?;
    Ok(ScheduleOutcome::Done(ids))
}

/// Whether the due time has its task now.
fn has_task(one: &SubmittedTask) -> bool {
    matches!(
        one.submission,
        SubmissionOutcome::New | SubmissionOutcome::Existing
    )
}

fn some_refused(refused: usize, all: usize) -> String {
    format!(
        "{refused} of {all} tasks were refused: the user's tasks have reached a limit, or the user has given their keys \
         to other calls"
    )
}

/// Whether the last task of a schedule has not ended.
async fn last_is_open(transaction: &mut Transaction<'_>, name: &str) -> SqlResult<bool> {
    let schedule = find(&mut transaction.sql, name).await?;
    Ok(schedule.is_some_and(|schedule| schedule.is_open))
}

/// How many schedules a submitter has, and all submitters together.
pub(super) async fn count(sql: &mut SqlConnection<'_>, submitter: &str) -> SqlResult<(i64, i64)> {
    let statement = "SELECT (SELECT count(*) FROM schedules WHERE submitter = $1), (SELECT count(*) FROM schedules)";
    let row = sql.row(statement, &[submitter.into()]).await?;
    let row = row.ok_or(sqlx::Error::RowNotFound)?;
    Ok((row.int(0)?, row.int(1)?))
}

/// What is due at `now`, and what comes next. The schedules with the ids of `left_out` are not among those that are due.
pub(super) async fn agenda(
    sql: &mut SqlConnection<'_>,
    now: UnixMillis,
    left_out: &[i64],
) -> SqlResult<ScheduleAgenda> {
    let ids = match sql.dialect() {
        Dialect::Sqlite => "SELECT value FROM json_each($3)",
        Dialect::Postgres => {
            "SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(CAST($3 AS TEXT) AS JSON))"
        }
    };
    let left_out =
        serde_json::to_string(left_out).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let statement = format!(
        "SELECT {COLUMNS} FROM schedules s WHERE paused = 0 AND id NOT IN ({ids}) AND (due <= $1 OR handled > $2 OR (waiting IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = s.last_task AND t.state < 3))) ORDER BY due LIMIT {PAGE}"
    );
    let ahead = now.saturating_add(AHEAD);
    let rows = sql
        .rows(
            statement,
            &[now.into(), ahead.into(), left_out.as_str().into()],
        )
        .await?;
    let due = rows.iter().map(read).collect::<SqlResult<Vec<_>>>()?;
    let next = "SELECT min(due) FROM schedules WHERE paused = 0 AND due > $1";
    let next = sql.row(next, &[now.into()]).await?;
    let next = next.map(|row| row.optional_int(0)).transpose()?.flatten();
    let awaited = "SELECT last_task FROM schedules WHERE waiting IS NOT NULL AND paused = 0 AND last_task IS NOT NULL";
    let awaited = sql.rows(awaited, &[]).await?;
    let awaited = awaited
        .iter()
        .map(|row| StoredTaskId::from_bytes(&row.bytes(0)?));
    Ok(ScheduleAgenda {
        now,
        due,
        next,
        awaited: awaited.collect::<SqlResult<_>>()?,
    })
}

/// The schedule of this name.
pub(super) async fn find(
    sql: &mut SqlConnection<'_>,
    name: &str,
) -> SqlResult<Option<StoredSchedule>> {
    let statement = format!("SELECT {COLUMNS} FROM schedules s WHERE name = $1");
    let row = sql.row(statement, &[name.into()]).await?;
    row.as_ref().map(read).transpose()
}

/// Schedules after the name `after`, in the order of names: of one submitter, or of all.
pub(super) async fn list(
    sql: &mut SqlConnection<'_>,
    after: &str,
    submitter: Option<&str>,
) -> SqlResult<Vec<StoredSchedule>> {
    let of = if submitter.is_some() {
        "submitter = $2 AND "
    } else {
        ""
    };
    let statement =
        format!("SELECT {COLUMNS} FROM schedules s WHERE {of}name > $1 ORDER BY name LIMIT {PAGE}");
    let mut values = vec![after.into()];
    values.extend(submitter.map(Into::into));
    let rows = sql.rows(statement, &values).await?;
    rows.iter().map(read).collect()
}

/// The last tasks of a schedule, the latest first, without arguments and results.
pub(super) async fn last_tasks(
    sql: &mut SqlConnection<'_>,
    schedule: &StoredSchedule,
) -> SqlResult<Vec<StoredTask>> {
    let prefix = key_prefix(schedule);
    let mut tasks = Vec::new();
    // The keys of due times are digits, and ':' comes after all digits.
    for (first, end) in [("0", ":"), ("now:", "now;")] {
        let keys = (&*format!("{prefix}{first}"), &*format!("{prefix}{end}"));
        let mut some = query::last_by_key(sql, &schedule.submitter, keys, LAST_TASKS).await?;
        tasks.append(&mut some);
    }
    // Ids have the order of submissions.
    tasks.sort_by_key(|task| Reverse(task.id));
    tasks.truncate(usize::try_from(LAST_TASKS).unwrap_or(usize::MAX));
    Ok(tasks)
}

fn read(row: &DatabaseRow) -> SqlResult<StoredSchedule> {
    let waiting = row.optional_text(9)?;
    let waiting = waiting.map(|text| serde_json::from_str(&text)).transpose();
    let last_task = row.optional_bytes(11)?;
    Ok(StoredSchedule {
        name: row.text(0)?,
        id: row.int(1)?,
        submitter: row.text(2)?,
        certificate_role: row.optional_text(3)?,
        revision: row.int(4)?,
        paused: row.int(5)? != 0,
        created: row.int(6)?,
        handled: row.int(7)?,
        due: row.optional_int(8)?,
        waiting: waiting
            .map_err(|error| sqlx::Error::Decode(error.into()))?
            .unwrap_or_default(),
        last: row.optional_int(10)?,
        last_task: last_task
            .map(|id| StoredTaskId::from_bytes(&id))
            .transpose()?,
        problem: row.optional_text(12)?,
        is_open: row.int(13)? != 0,
        definition: row.text(14)?,
    })
}
