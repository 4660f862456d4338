//! Leases: at any time a name is one owner's, with a fence that grows from owner to owner.

use super::{
    model::{Fence, Lease},
    sql::SqlResult,
    transaction::Transaction,
};

/// Somebody asks for a lease.
#[derive(Clone, Debug)]
pub(super) struct Acquire {
    pub(super) name: String,
    pub(super) owner: String,
    /// In milliseconds.
    pub(super) ttl: i64,
}

/// Somebody goes on with a lease.
#[derive(Clone, Debug)]
pub(super) struct Renew {
    pub(super) fence: Fence,
    /// In milliseconds.
    pub(super) ttl: i64,
    /// Whether also if it has ended.
    pub(super) revive: bool,
}

pub(super) async fn acquire(
    transaction: &mut Transaction<'_>,
    asked: &[Acquire],
) -> SqlResult<Vec<Lease>> {
    let mut leases = Vec::with_capacity(asked.len());
    for asked in asked {
        leases.push(acquire_one(transaction, asked).await?);
    }
    Ok(leases)
}

async fn acquire_one(transaction: &mut Transaction<'_>, asked: &Acquire) -> SqlResult<Lease> {
    let now = transaction.now;
    if let Some(taken) = taken(transaction, asked).await? {
        return Ok(taken);
    }
    let until = now.saturating_add(asked.ttl);
    // The row of the counter is locked until the end of the transaction: fences grow in the order in
    // which leases are taken, which a sequence does not promise.
    let fence = super::next_number(transaction, "fences").await?;
    let row = transaction
        .sql
        .row(
            "INSERT INTO leases (name, owner, fence, expires) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = excluded.fence, \
             expires = excluded.expires WHERE leases.expires <= $5 RETURNING fence",
            &[
                asked.name.as_str().into(),
                asked.owner.as_str().into(),
                fence.into(),
                until.into(),
                now.into(),
            ],
        )
        .await?;
    if row.is_some() {
        return Ok(Lease::Held { fence, until });
    }
    // Another was quicker between the two statements.
    let taken = taken(transaction, asked).await?;
    taken.ok_or_else(|| sqlx::Error::Protocol("the lease was taken and left at once".to_owned()))
}

/// The lease as it is, if it has not ended. Its own owner gets it again.
async fn taken(transaction: &mut Transaction<'_>, asked: &Acquire) -> SqlResult<Option<Lease>> {
    let now = transaction.now;
    let row = transaction
        .sql
        .row(
            "SELECT owner, fence, expires FROM leases WHERE name = $1 AND expires > $2",
            &[asked.name.as_str().into(), now.into()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (owner, fence) = (row.text(0)?, row.int(1)?);
    if owner != asked.owner {
        let until = row.int(2)?;
        return Ok(Some(Lease::Taken { owner, until }));
    }
    let ttl = asked.ttl;
    let renewed = renew(
        transaction,
        &[Renew {
            fence,
            ttl,
            revive: false,
        }],
    )
    .await?;
    let until = renewed.into_iter().flatten().next();
    Ok(until.map(|until| Lease::Held { fence, until }))
}

/// Until when each lease goes on, or nothing if it has ended.
pub(super) async fn renew(
    transaction: &mut Transaction<'_>,
    renewals: &[Renew],
) -> SqlResult<Vec<Option<i64>>> {
    let mut until = Vec::with_capacity(renewals.len());
    for renewal in renewals {
        let end = transaction.now.saturating_add(renewal.ttl);
        // One that was given back or taken over is not there any more.
        let after = if renewal.revive { 0 } else { transaction.now };
        let changed = transaction
            .sql
            .execute(
                "UPDATE leases SET expires = $2 WHERE fence = $1 AND expires > $3",
                &[renewal.fence.into(), end.into(), after.into()],
            )
            .await?;
        until.push((changed > 0).then_some(end));
    }
    Ok(until)
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

/// Forgets leases that ended a day ago: nobody comes back to them. Fences do not depend on what is
/// forgotten here.
pub(super) async fn forget(transaction: &mut Transaction<'_>, asked: &[()]) -> SqlResult<Vec<u64>> {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    // Before any lease, as by those who claim names.
    super::exclusive_names::lock(transaction).await?;
    let before = transaction.now.saturating_sub(DAY);
    let sql = "DELETE FROM leases WHERE expires < $1";
    let forgotten = transaction.sql.execute(sql, &[before.into()]).await?;
    super::exclusive_names::forget(transaction).await?;
    Ok(vec![forgotten; asked.len()])
}
