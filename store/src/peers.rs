//! The name servers of a store. Each increments its own number as long as it lives. No clock is involved: a
//! reader sees which numbers have stopped growing.

use super::{
    model::StorePeer,
    sql::{SqlConnection, SqlResult},
    transaction::Transaction,
};

/// A change of the list.
#[derive(Clone, Debug)]
pub(super) enum PeerChange {
    /// A heartbeat of the name server at this address.
    Heartbeat(String),
    /// This name server is removed, unless its number has grown since.
    Remove(StorePeer),
    /// The name server at this address ends.
    Leave(String),
}

pub(super) async fn change(
    transaction: &mut Transaction<'_>,
    changes: &[PeerChange],
) -> SqlResult<Vec<()>> {
    for change in changes {
        let (sql, values) = match change {
            PeerChange::Heartbeat(address) => (
                "INSERT INTO name_servers (address, beats) VALUES ($1, 1) \
                 ON CONFLICT (address) DO UPDATE SET beats = name_servers.beats + 1",
                vec![address.as_str().into()],
            ),
            PeerChange::Remove(StorePeer {
                address,
                heartbeats: beats,
            }) => (
                "DELETE FROM name_servers WHERE address = $1 AND beats = $2",
                vec![address.as_str().into(), (*beats).into()],
            ),
            PeerChange::Leave(address) => (
                "DELETE FROM name_servers WHERE address = $1",
                vec![address.as_str().into()],
            ),
        };
        transaction.sql.execute(sql, &values).await?;
    }
    Ok(vec![(); changes.len()])
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
