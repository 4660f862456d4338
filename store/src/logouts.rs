//! Sessions of people that have ended before their time, until they would have ended anyway.
//!
//! Name servers date sessions by clocks of their own, so the store compares none of those times with its clock: it keeps
//! a logout for longer than any session lasts.

use super::{
    model::StoredLogout,
    sql::{SqlConnection, SqlResult},
    transaction::Transaction,
};
use std::collections::BTreeSet;

/// How many logouts of a user are kept. A reader takes all sessions that began before the oldest of so many as ended,
/// so that none comes to life again when its logout is forgotten.
pub const MAX_LOGOUTS: usize = 64;

/// How long a logout is kept, in milliseconds: a day and an hour. No session lasts longer than 12 hours.
pub const LOGOUT_LIFE: i64 = 25 * 60 * 60 * 1000;

/// Adds logouts. Deletes those that are older than [`LOGOUT_LIFE`], and those beyond [`MAX_LOGOUTS`].
pub(super) async fn add(
    transaction: &mut Transaction<'_>,
    logouts: &[StoredLogout],
) -> SqlResult<Vec<()>> {
    let now = transaction.now;
    let sql = &mut transaction.sql;
    let expired = "DELETE FROM logouts WHERE until <= $1";
    sql.execute(expired, &[now.into()]).await?;
    for logout in logouts {
        let add = "INSERT INTO logouts (name, issued, until) VALUES ($1, $2, $3) \
                   ON CONFLICT (name, issued) DO NOTHING";
        let name = logout.name.as_str();
        let until = now.saturating_add(LOGOUT_LIFE);
        let values = [name.into(), logout.issued.into(), until.into()];
        sql.execute(add, &values).await?;
    }
    let names: BTreeSet<&str> = logouts.iter().map(|logout| &*logout.name).collect();
    for name in names {
        let forget = "DELETE FROM logouts WHERE name = $1 AND issued < (SELECT issued FROM logouts \
                      WHERE name = $1 ORDER BY issued DESC LIMIT 1 OFFSET $2)";
        let kept = i64::try_from(MAX_LOGOUTS - 1).unwrap_or(i64::MAX);
        sql.execute(forget, &[name.into(), kept.into()]).await?;
    }
    transaction.effects.revocations = true;
    Ok(vec![(); logouts.len()])
}

/// The logouts that are not older than [`LOGOUT_LIFE`].
pub(super) async fn list(sql: &mut SqlConnection<'_>, now: i64) -> SqlResult<Vec<StoredLogout>> {
    let statement = "SELECT name, issued FROM logouts WHERE until > $1 ORDER BY name, issued";
    let mut logouts = Vec::new();
    for row in sql.rows(statement, &[now.into()]).await? {
        logouts.push(StoredLogout {
            name: row.text(0)?,
            issued: row.int(1)?,
        });
    }
    Ok(logouts)
}

/// The id of the store.
pub(super) async fn store_id(sql: &mut SqlConnection<'_>) -> SqlResult<i64> {
    let row = sql.row("SELECT id FROM store_identity", &[]).await?;
    row.ok_or(sqlx::Error::RowNotFound)?.int(0)
}
