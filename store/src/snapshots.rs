//! What a name server keeps beyond its own life: bytes under a name.

use super::{
    model::NewSnapshot,
    sql::{SqlConnection, SqlResult},
    transaction::Transaction,
};

/// The greatest snapshot, in bytes.
pub(super) const MAX_SNAPSHOT: usize = 16 << 20;

/// Writes snapshots, unless another name server has written one lately. Returns whether each was written.
pub(super) async fn save(
    transaction: &mut Transaction<'_>,
    snapshots: &[NewSnapshot],
) -> SqlResult<Vec<bool>> {
    let now = transaction.now;
    let mut written = Vec::with_capacity(snapshots.len());
    for snapshot in snapshots {
        // A time in the future is that of a clock that was set back.
        let sql = "INSERT INTO snapshots (name, written, content) VALUES ($1, $2, $3) \
                   ON CONFLICT (name) DO UPDATE SET written = excluded.written, \
                   content = excluded.content \
                   WHERE snapshots.written <= $4 OR snapshots.written > $2";
        let values = [
            snapshot.name.as_str().into(),
            now.into(),
            snapshot.content.as_slice().into(),
            now.saturating_sub(snapshot.min_age).into(),
        ];
        written.push(transaction.sql.execute(sql, &values).await? > 0);
    }
    Ok(written)
}

/// The content of a snapshot.
pub(super) async fn load(sql: &mut SqlConnection<'_>, name: &str) -> SqlResult<Option<Vec<u8>>> {
    let statement = "SELECT content FROM snapshots WHERE name = $1";
    let row = sql.row(statement, &[name.into()]).await?;
    row.map(|row| row.bytes(0)).transpose()
}
