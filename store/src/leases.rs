//! Leases: each has a fence that grows from one to the next, and lasts as long as its owner renews it. It is
//! over once a process that has seen no renewal for its time to live deletes it.

use super::{
    model::Fence, next_number, sql::SqlResult, timekeeper::lease_watch::LeaseRenewals,
    transaction::Transaction,
};
use std::time::Duration;

/// Begins leases with these times to live, in milliseconds.
pub(super) async fn begin(
    transaction: &mut Transaction<'_>,
    ttls: &[i64],
) -> SqlResult<Vec<Fence>> {
    let mut fences = Vec::with_capacity(ttls.len());
    for ttl in ttls {
        // The row of the counter is locked until the end of the transaction. So fences grow in the order in
        // which leases begin; a sequence does not guarantee that.
        let fence = next_number(transaction, "fences").await?;
        let sql = "INSERT INTO leases (fence, ttl, renewals) VALUES ($1, $2, 0)";
        let values = [fence.into(), (*ttl).into()];
        transaction.sql.execute(sql, &values).await?;
        fences.push(fence);
    }
    Ok(fences)
}

/// Renews leases. Returns for each whether it still existed.
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

/// Ends leases early. Nothing of them is kept: the counter of fences is elsewhere, and never goes back.
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

/// Ends the leases that their owners have not renewed, and deletes the claims under them. Returns the time
/// after which the next lease may be over.
pub(super) async fn end_silent(transaction: &mut Transaction<'_>) -> SqlResult<Option<Duration>> {
    let sql = "SELECT fence, ttl, renewals FROM leases";
    let rows = transaction.sql.rows(sql, &[]).await?;
    let leases = rows.iter().map(|row| {
        let ttl = Duration::from_millis(u64::try_from(row.int(1)?).unwrap_or(0));
        let count = row.int(2)?;
        Ok((row.int(0)?, LeaseRenewals { ttl, count }))
    });
    let leases = leases.collect::<SqlResult<Vec<_>>>()?;
    let ended = transaction.time.observe_leases(&leases);
    if ended.leases.is_empty() {
        return Ok(ended.next);
    }
    // Locked before any lease, in the same order as in claims of names.
    super::exclusive_names::lock(transaction).await?;
    for (fence, renewals) in ended.leases {
        // This waits for claims in progress under this lease. A lease that was renewed in the meantime stays.
        let sql = "DELETE FROM leases WHERE fence = $1 AND renewals = $2";
        let values = [fence.into(), renewals.into()];
        transaction.sql.execute(sql, &values).await?;
    }
    super::exclusive_names::delete_orphaned_claims(transaction).await?;
    Ok(ended.next)
}
