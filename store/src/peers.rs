//! The name servers of a store. Each increments its own number as long as it lives. No clock is involved: a
//! reader sees which numbers have stopped growing.

use super::{
    model::StorePeer,
    sql::{SqlConnection, SqlResult, Value},
    transaction::Transaction,
};

/// A change of the list.
#[derive(Clone, Debug)]
pub(super) enum PeerChange {
    /// A heartbeat of the name server at this address.
    Heartbeat(String),
    /// This name server is removed, unless its number has grown since.
    Remove(StorePeer),
}

/// Returns the new number for each heartbeat.
pub(super) async fn change(
    transaction: &mut Transaction<'_>,
    changes: &[PeerChange],
) -> SqlResult<Vec<Option<i64>>> {
    let mut numbers = Vec::with_capacity(changes.len());
    for change in changes {
        let number = match change {
            PeerChange::Heartbeat(address) => {
                let sql = "INSERT INTO name_servers (address, beats) VALUES ($1, 1) \
                     ON CONFLICT (address) DO UPDATE SET beats = name_servers.beats + 1 \
                     RETURNING beats";
                let values = [Value::from(address.as_str())];
                let row = transaction.sql.row(sql, &values).await?;
                row.map(|row| row.int(0)).transpose()?
            }
            PeerChange::Remove(peer) => {
                let sql = "DELETE FROM name_servers WHERE address = $1 AND beats = $2";
                let values = [Value::from(peer.address.as_str()), peer.heartbeats.into()];
                transaction.sql.execute(sql, &values).await?;
                None
            }
        };
        numbers.push(number);
    }
    Ok(numbers)
}

pub(super) async fn list(sql: &mut SqlConnection<'_>) -> SqlResult<Vec<StorePeer>> {
    let statement = "SELECT address, beats FROM name_servers ORDER BY address";
    let rows = sql.rows(statement, &[]).await?;
    rows.into_iter()
        .map(|row| {
            Ok(StorePeer {
                address: row.text(0)?,
                heartbeats: row.int(1)?,
            })
        })
        .collect()
}
