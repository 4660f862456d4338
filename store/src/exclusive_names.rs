//! Exclusive names: at any time a name belongs to one worker, with a fence that grows from holder to holder.
//!
//! Each name server that has a session of the holder claims the name for it, with a row that is valid as long
//! as the name server's own lease. So a heartbeat writes nothing here. If a name server dies, a holder keeps
//! its name as long as another name server claims it. A name is free as soon as the last claim is released.
//!
//! A lease that is over is deleted, together with the claims under it (`leases`). A name server that comes
//! back either finds its lease, and then no claim was lost, or claims all names again.

use super::{
    model::{Fence, NameClaim, NameClaimOutcome},
    sql::{SqlConnection, SqlResult},
    transaction::Transaction,
};

/// A name server releases its claim on a name, whoever holds it.
#[derive(Clone, Debug)]
pub(super) struct NameRelease {
    pub(super) nameserver: Fence,
    pub(super) name: String,
}

/// Claims names, in order.
pub(super) async fn claim(
    transaction: &mut Transaction<'_>,
    claims: &[NameClaim],
) -> SqlResult<Vec<NameClaimOutcome>> {
    let mut answers = Vec::with_capacity(claims.len());
    lock(transaction).await?;
    for claim in claims {
        answers.push(claim_one(transaction, claim).await?);
    }
    Ok(answers)
}

/// Blocks all other transactions that grant names until the end of this one.
pub(super) async fn lock(transaction: &mut Transaction<'_>) -> SqlResult<()> {
    let locking = transaction.sql.locking(" FOR UPDATE");
    let sql = format!("SELECT value FROM counters WHERE name = 'exclusive_names'{locking}");
    transaction.sql.row(sql, &[]).await?;
    Ok(())
}

async fn claim_one(
    transaction: &mut Transaction<'_>,
    claim: &NameClaim,
) -> SqlResult<NameClaimOutcome> {
    let NameClaim {
        name,
        holder,
        nameserver,
    } = claim;
    let own = "SELECT 1 FROM leases WHERE fence = $1";
    let own = transaction.sql.row(own, &[(*nameserver).into()]).await?;
    if own.is_none() {
        return Ok(NameClaimOutcome::LeaseLost);
    }
    if let Some(address) = static_address(transaction, name).await? {
        return Ok(NameClaimOutcome::Taken { holder: address });
    }
    let fence = match current(transaction, name).await? {
        Some((known, _)) if known != *holder => {
            return Ok(NameClaimOutcome::Taken { holder: known });
        }
        // No other worker had it in between, whichever name server claimed it for the holder.
        Some((_, fence)) => fence,
        None => next_fence(transaction).await?,
    };
    let sql = "INSERT INTO exclusive_names (name, nameserver, holder, fence) \
               VALUES ($1, $2, $3, $4) ON CONFLICT (name, nameserver) DO NOTHING";
    let values = [
        name.as_str().into(),
        (*nameserver).into(),
        holder.as_str().into(),
        fence.into(),
    ];
    transaction.sql.execute(sql, &values).await?;
    Ok(NameClaimOutcome::Granted { fence })
}

/// The holder of a name and its fence. Deletes the rows of name servers whose leases are over.
async fn current(
    transaction: &mut Transaction<'_>,
    name: &str,
) -> SqlResult<Option<(String, Fence)>> {
    let gone = "DELETE FROM exclusive_names WHERE name = $1 AND NOT EXISTS \
                (SELECT 1 FROM leases WHERE fence = exclusive_names.nameserver)";
    transaction.sql.execute(gone, &[name.into()]).await?;
    let sql = "SELECT holder, fence FROM exclusive_names WHERE name = $1 LIMIT 1";
    let row = transaction.sql.row(sql, &[name.into()]).await?;
    row.map(|row| Ok((row.text(0)?, row.int(1)?))).transpose()
}

/// The holder of a name, by the claims of name servers whose leases are not over.
pub(super) async fn holder(
    transaction: &mut Transaction<'_>,
    name: &str,
) -> SqlResult<Option<String>> {
    let sql = "SELECT holder FROM exclusive_names e JOIN leases l ON l.fence = e.nameserver \
               WHERE e.name = $1 LIMIT 1";
    let row = transaction.sql.row(sql, &[name.into()]).await?;
    row.map(|row| row.text(0)).transpose()
}

/// The address of the static name, if there is one.
async fn static_address(
    transaction: &mut Transaction<'_>,
    name: &str,
) -> SqlResult<Option<String>> {
    let sql = "SELECT entry FROM static_names WHERE name = $1 AND entry IS NOT NULL";
    let row = transaction.sql.row(sql, &[name.into()]).await?;
    row.map(|row| row.text(0)).transpose()
}

/// One more than the last fence, and at least the time in microseconds. So fences also grow when the store is
/// created again, or when earlier ones came from a name server without a store.
async fn next_fence(transaction: &mut Transaction<'_>) -> SqlResult<Fence> {
    let sql = "UPDATE counters SET value = CASE WHEN value < $1 THEN $1 ELSE value + 1 END \
               WHERE name = 'exclusive_names' RETURNING value";
    let micros = transaction.now.saturating_mul(1000);
    let row = transaction.sql.row(sql, &[micros.into()]).await?;
    row.ok_or(sqlx::Error::RowNotFound)?.int(0)
}

/// Releases claims on names.
pub(super) async fn release(
    transaction: &mut Transaction<'_>,
    left: &[NameRelease],
) -> SqlResult<Vec<()>> {
    for NameRelease { nameserver, name } in left {
        let sql = "DELETE FROM exclusive_names WHERE name = $1 AND nameserver = $2";
        let values = [name.as_str().into(), (*nameserver).into()];
        transaction.sql.execute(sql, &values).await?;
    }
    // Workers that wait for one of the names ask again.
    transaction.effects.names = true;
    Ok(vec![(); left.len()])
}

/// The names that a name server claims for their holders.
pub(super) async fn names_claimed_by(
    sql: &mut SqlConnection<'_>,
    nameserver: Fence,
) -> SqlResult<Vec<String>> {
    let statement = "SELECT name FROM exclusive_names WHERE nameserver = $1";
    let rows = sql.rows(statement, &[nameserver.into()]).await?;
    rows.into_iter().map(|row| row.text(0)).collect()
}

/// Deletes the claims of name servers whose leases are over. Call [`lock`] first.
pub(super) async fn delete_orphaned_claims(transaction: &mut Transaction<'_>) -> SqlResult<()> {
    let sql = "DELETE FROM exclusive_names WHERE NOT EXISTS \
               (SELECT 1 FROM leases WHERE fence = exclusive_names.nameserver)";
    if transaction.sql.execute(sql, &[]).await? > 0 {
        transaction.effects.names = true;
    }
    Ok(())
}
