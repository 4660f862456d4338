//! Steps of the store's clock, and the times that must not follow them.
//!
//! Every transaction compares the clock with the elapsed time. The first one that detects a step records it,
//! and moves the due times and deadlines of open tasks by it: a delay of ten seconds and a deadline of a
//! minute stay ten seconds and a minute. Recorded timestamps are not changed. With the recorded steps, no
//! entry counts as old only because the clock was set.

use super::{
    model::UnixMillis, next_number, sql::SqlResult, timekeeper::step_watch::ClockStep,
    transaction::Transaction,
};

/// The longest time by which a transaction that began later may overtake another one, in milliseconds.
const MAX_OVERTAKING: i64 = 1000;

/// How many steps are kept.
const MAX_RECORDED_STEPS: i64 = 1000;

/// Records the step that this transaction is the first to detect, if there is one.
pub(super) async fn notice(transaction: &mut Transaction<'_>) -> SqlResult<()> {
    let Some(step) = transaction.time.step(&transaction.reading) else {
        return Ok(());
    };
    let size = step.unrecorded(recorded(transaction, step).await?);
    if size == 0 {
        return Ok(());
    }
    // Earlier steps, and the times that open tasks wait for, keep their distance from now.
    for moved in [
        "UPDATE clock_steps SET at = at + $1",
        "UPDATE tasks SET due = due + $1 WHERE state = 1",
        "UPDATE tasks SET deadline = deadline + $1 WHERE deadline IS NOT NULL AND state < 3",
    ] {
        transaction.sql.execute(moved, &[size.into()]).await?;
    }
    let number = next_number(transaction, "clock_steps").await?;
    let sql = "INSERT INTO clock_steps (number, at, size) VALUES ($1, $2, $3)";
    let values = [number.into(), transaction.now.into(), size.into()];
    transaction.sql.execute(sql, &values).await?;
    let sql = "DELETE FROM clock_steps WHERE number <= $1";
    let old = number.saturating_sub(MAX_RECORDED_STEPS);
    transaction.sql.execute(sql, &[old.into()]).await?;
    tracing::warn!(
        by_ms = size,
        "the store's clock was set; delays and deadlines of tasks are moved with it"
    );
    Ok(())
}

/// The sum of the steps that other processes have recorded since this process last read the clock.
async fn recorded(transaction: &mut Transaction<'_>, step: ClockStep) -> SqlResult<i64> {
    // A process that detects the step at the same time waits here, and then sees the record.
    let locking = transaction.sql.locking(" FOR UPDATE");
    let sql = format!("SELECT value FROM counters WHERE name = 'clock_steps'{locking}");
    transaction.sql.row(sql, &[]).await?;
    // A step that was recorded at exactly that time was already known here. A step that seems to be recorded
    // much later than now is from before the clock was set back.
    let sql = "SELECT size FROM clock_steps WHERE at > $1 AND at <= $2";
    let until = transaction.now.saturating_add(MAX_OVERTAKING);
    let values = [step.since.into(), until.into()];
    let rows = transaction.sql.rows(sql, &values).await?;
    let sizes = rows.iter().map(|row| row.int(0));
    let sizes = sizes.collect::<SqlResult<Vec<i64>>>()?;
    Ok(sizes.into_iter().fold(0, i64::saturating_add))
}

/// Everything dated before this time is older than `age` milliseconds, however the clock was set since.
pub(super) async fn before(transaction: &mut Transaction<'_>, age: i64) -> SqlResult<UnixMillis> {
    let before = transaction.now.saturating_sub(age);
    let sql = "SELECT size FROM clock_steps WHERE at > $1 ORDER BY number DESC";
    let rows = transaction.sql.rows(sql, &[before.into()]).await?;
    let sizes = rows.iter().map(|row| row.int(0));
    let sizes = sizes.collect::<SqlResult<Vec<i64>>>()?;
    Ok(before.saturating_sub(most_ahead(&sizes)))
}

/// By how much, at most, a timestamp seems older than it is, given the steps since, the latest first.
fn most_ahead(sizes: &[i64]) -> i64 {
    let mut ahead = 0_i64;
    let totals = sizes.iter().map(|size| {
        ahead = ahead.saturating_add(*size);
        ahead
    });
    totals.max().unwrap_or(0).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_seems_older_by_more_than_the_steps_since() {
        assert_eq!(most_ahead(&[]), 0);
        assert_eq!(most_ahead(&[30]), 30);
        assert_eq!(most_ahead(&[-30]), 0);
        // A year ahead and back again: timestamps in between are not old either way.
        assert_eq!(most_ahead(&[-365, 365]), 0);
        assert_eq!(most_ahead(&[365, -365]), 365);
        assert_eq!(most_ahead(&[1, -5, 10]), 6);
    }
}
