//! Leases: each has a fence that grows from one to the next, and lasts for as long as its owner renews
//! it. It is over once somebody who has watched it in vain for its time to live deletes it.

use super::{
    model::Fence, next_number, sql::SqlResult, timekeeper::lease_watch::Renewals,
    transaction::Transaction,
};
use std::time::Duration;

/// Begins leases of these times to live, in milliseconds.
pub(super) async fn begin(
    transaction: &mut Transaction<'_>,
    ttls: &[i64],
) -> SqlResult<Vec<Fence>> {
    let mut fences = Vec::with_capacity(ttls.len());
    for ttl in ttls {
        // The row of the counter is locked until the end of the transaction: fences grow in the order
        // in which leases begin, which a sequence does not promise.
        let fence = next_number(transaction, "fences").await?;
        let sql = "INSERT INTO leases (fence, ttl, renewals) VALUES ($1, $2, 0)";
        let values = [fence.into(), (*ttl).into()];
        transaction.sql.execute(sql, &values).await?;
        fences.push(fence);
    }
    Ok(fences)
}

/// Goes on with leases. Gives for each whether it was still there.
pub(super) async fn renew(
    transaction: &mut Transaction<'_>,
    fences: &[Fence],
) -> SqlResult<Vec<bool>> {
    let mut renewed = Vec::with_capacity(fences.len());
    for fence in fences {
        let sql = "UPDATE leases SET renewals = renewals + 1 WHERE fence = $1";
        let changed = transaction.sql.execute(sql, &[(*fence).into()]).await?;
        renewed.push(changed > 0);
    }
    Ok(renewed)
}

/// Ends leases before their time. Nothing stays of them: fences are counted elsewhere, and that
/// counter never goes back.
pub(super) async fn release(
    transaction: &mut Transaction<'_>,
    fences: &[Fence],
) -> SqlResult<Vec<()>> {
    for fence in fences {
        transaction
            .sql
            .execute("DELETE FROM leases WHERE fence = $1", &[(*fence).into()])
            .await?;
    }
    Ok(vec![(); fences.len()])
}

/// Ends the leases whose owners have been silent, and gives away what was held under them. Gives
/// after which time there may be another one.
pub(super) async fn end_silent(transaction: &mut Transaction<'_>) -> SqlResult<Option<Duration>> {
    let sql = "SELECT fence, ttl, renewals FROM leases";
    let rows = transaction.sql.rows(sql, &[]).await?;
    let leases = rows.iter().map(|row| {
        let ttl = Duration::from_millis(u64::try_from(row.int(1)?).unwrap_or(0));
        let count = row.int(2)?;
        Ok((row.int(0)?, Renewals { ttl, count }))
    });
    let leases = leases.collect::<SqlResult<Vec<_>>>()?;
    let ended = transaction.time.look(&leases);
    if ended.leases.is_empty() {
        return Ok(ended.next);
    }
    // Before any lease, as by those who claim names.
    super::exclusive_names::lock(transaction).await?;
    for (fence, renewals) in ended.leases {
        // Waits for claims that are under way under this lease. One that was renewed meanwhile stays.
        let sql = "DELETE FROM leases WHERE fence = $1 AND renewals = $2";
        let values = [fence.into(), renewals.into()];
        transaction.sql.execute(sql, &values).await?;
    }
    super::exclusive_names::forget(transaction).await?;
    Ok(ended.next)
}
