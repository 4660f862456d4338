//! Workers that get no new calls, at every name server of the store. A worker is its name and incarnation as one text: one that
//! was restarted is another one.

use super::{
    model::UnixMillis,
    sql::{SqlConnection, SqlResult},
    transaction::Transaction,
};

/// How long a drain is remembered. It is meant for a worker that is about to be stopped.
const LIFE: UnixMillis = 7 * 24 * 60 * 60 * 1000;

/// How many are remembered.
const MAX_DRAINS: i64 = 10_000;

/// Remembers drains, and forgets old ones.
pub(super) async fn add(
    transaction: &mut Transaction<'_>,
    workers: &[String],
) -> SqlResult<Vec<()>> {
    let now = transaction.now;
    let sql = "DELETE FROM drains WHERE at < $1";
    let oldest = now.saturating_sub(LIFE);
    transaction.sql.execute(sql, &[oldest.into()]).await?;
    for worker in workers {
        let sql = "INSERT INTO drains (worker, at) VALUES ($1, $2) \
                   ON CONFLICT (worker) DO UPDATE SET at = excluded.at";
        let values = [worker.as_str().into(), now.into()];
        transaction.sql.execute(sql, &values).await?;
    }
    Ok(vec![(); workers.len()])
}

/// The workers, the latest first.
pub(super) async fn list(sql: &mut SqlConnection<'_>) -> SqlResult<Vec<String>> {
    let statement = "SELECT worker FROM drains ORDER BY at DESC LIMIT $1";
    let rows = sql.rows(statement, &[MAX_DRAINS.into()]).await?;
    rows.into_iter().map(|row| row.text(0)).collect()
}
