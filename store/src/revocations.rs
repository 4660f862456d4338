//! Users whose tickets are revoked, until the last of these tickets has expired.

use super::{
    model::StoredRevocation,
    sql::{SqlConnection, SqlResult},
    transaction::Transaction,
};

/// Adds revocations. Of two for one user, the later end counts. Deletes those that have ended.
pub(super) async fn revoke(
    transaction: &mut Transaction<'_>,
    revocations: &[StoredRevocation],
) -> SqlResult<Vec<()>> {
    let now = transaction.now;
    let sql = "DELETE FROM revocations WHERE until <= $1";
    transaction.sql.execute(sql, &[now.into()]).await?;
    for revocation in revocations {
        transaction
            .sql
            .execute(
                "INSERT INTO revocations (name, until, issued) VALUES ($1, $2, $3) \
                 ON CONFLICT (name) DO UPDATE SET until = excluded.until, \
                 issued = excluded.issued WHERE revocations.until < excluded.until",
                &[
                    revocation.name.as_str().into(),
                    revocation.until.into(),
                    revocation.issued.into(),
                ],
            )
            .await?;
    }
    transaction.effects.revocations = true;
    Ok(vec![(); revocations.len()])
}

/// The revocations that have not ended.
pub(super) async fn list(
    sql: &mut SqlConnection<'_>,
    now: i64,
) -> SqlResult<Vec<StoredRevocation>> {
    let statement = "SELECT name, until, issued FROM revocations WHERE until > $1 ORDER BY name";
    let mut revocations = Vec::new();
    for row in sql.rows(statement, &[now.into()]).await? {
        revocations.push(StoredRevocation {
            name: row.text(0)?,
            until: row.int(1)?,
            issued: row.int(2)?,
        });
    }
    Ok(revocations)
}
