//! Exclusive names: at any time a name is one worker's, with a fence that grows from holder to holder.
//!
//! Name servers stand up for a holder that has a session with them, each with a row that counts for
//! as long as the name server's own lease does. So a heartbeat writes nothing here; a name server
//! that dies takes the name from nobody for whom another one stands up; and a name is free as soon as
//! the last of them has stood down.
//!
//! A lease that is over is deleted, and what was said under it with it (`leases`). A name server that
//! comes back either finds its lease, and then nothing was taken, or it does not, and claims all anew.

use super::{
    model::{Fence, NameClaim, NameClaimed},
    sql::{Connection, SqlResult},
    transaction::Transaction,
};

/// A name server stands down for names, whoever has them.
#[derive(Clone, Debug)]
pub(super) struct Leave {
    pub(super) nameserver: Fence,
    pub(super) name: String,
}

/// Claims names, in order.
pub(super) async fn claim(
    transaction: &mut Transaction<'_>,
    claims: &[NameClaim],
) -> SqlResult<Vec<NameClaimed>> {
    let mut answers = Vec::with_capacity(claims.len());
    lock(transaction).await?;
    for claim in claims {
        answers.push(claim_one(transaction, claim).await?);
    }
    Ok(answers)
}

/// Keeps all others who give names away waiting until the end of the transaction.
pub(super) async fn lock(transaction: &mut Transaction<'_>) -> SqlResult<()> {
    let locking = transaction.sql.locking(" FOR UPDATE");
    let sql = format!("SELECT value FROM counters WHERE name = 'exclusive_names'{locking}");
    transaction.sql.row(sql, &[]).await?;
    Ok(())
}

async fn claim_one(transaction: &mut Transaction<'_>, claim: &NameClaim) -> SqlResult<NameClaimed> {
    let NameClaim {
        name,
        holder,
        nameserver,
    } = claim;
    let own = "SELECT 1 FROM leases WHERE fence = $1";
    let own = transaction.sql.row(own, &[(*nameserver).into()]).await?;
    if own.is_none() {
        return Ok(NameClaimed::LeaseLost);
    }
    if let Some(address) = static_address(transaction, name).await? {
        return Ok(NameClaimed::Taken { holder: address });
    }
    let fence = match current(transaction, name).await? {
        Some((known, _)) if known != *holder => return Ok(NameClaimed::Taken { holder: known }),
        // Nobody else had it in between, whoever stood up for the holder.
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
    Ok(NameClaimed::Held { fence })
}

/// Who has a name and its fence, without the rows of name servers that are gone for good.
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

/// Who has a name as far as name servers stand up for anybody whose leases are not over.
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

/// One more than the last fence, and at least the time in microseconds: fences grow even if the store
/// is made anew, or if they came from a name server without a store before.
async fn next_fence(transaction: &mut Transaction<'_>) -> SqlResult<Fence> {
    let sql = "UPDATE counters SET value = CASE WHEN value < $1 THEN $1 ELSE value + 1 END \
               WHERE name = 'exclusive_names' RETURNING value";
    let micros = transaction.now.saturating_mul(1000);
    let row = transaction.sql.row(sql, &[micros.into()]).await?;
    row.ok_or(sqlx::Error::RowNotFound)?.int(0)
}

/// Stands down for names.
pub(super) async fn leave(transaction: &mut Transaction<'_>, left: &[Leave]) -> SqlResult<Vec<()>> {
    for Leave { nameserver, name } in left {
        let sql = "DELETE FROM exclusive_names WHERE name = $1 AND nameserver = $2";
        let values = [name.as_str().into(), (*nameserver).into()];
        transaction.sql.execute(sql, &values).await?;
    }
    // Who waits for one of them looks again.
    transaction.effects.names = true;
    Ok(vec![(); left.len()])
}

/// The names for whose holders a name server stands up.
pub(super) async fn names_of(
    sql: &mut Connection<'_>,
    nameserver: Fence,
) -> SqlResult<Vec<String>> {
    let statement = "SELECT name FROM exclusive_names WHERE nameserver = $1";
    let rows = sql.rows(statement, &[nameserver.into()]).await?;
    rows.into_iter().map(|row| row.text(0)).collect()
}

/// Forgets what name servers said whose leases are over. [`lock`] comes before.
pub(super) async fn forget(transaction: &mut Transaction<'_>) -> SqlResult<()> {
    let sql = "DELETE FROM exclusive_names WHERE NOT EXISTS \
               (SELECT 1 FROM leases WHERE fence = exclusive_names.nameserver)";
    if transaction.sql.execute(sql, &[]).await? > 0 {
        transaction.effects.names = true;
    }
    Ok(())
}
