//! Checks whether a server can hold a store: it is the primary, and every connection has its own session.

use crate::database::{Fault, FaultKind};
use sqlx::{
    Connection as _, PgConnection, PgPool, Row as _,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use std::time::Duration;
use tokio::time::timeout;

const STANDBY_MESSAGE: &str =
    "the server is a standby, which cannot be written to until it is promoted to the primary";

const POOLER_MESSAGE: &str = "a pooler in transaction or statement mode stands before the server: it gives one \
     connection to several clients, and a statement that one prepared would be run by another; use its \
     session mode, or connect to the server itself";

/// Connects once, and checks whether the server can hold a store.
///
/// # Errors
///
/// A server that cannot be reached within `patience`, or is a standby, is
/// [`Unavailable`](FaultKind::Unavailable): a retry may help. A pooler that shares connections between its
/// clients is [`Protocol`](FaultKind::Protocol).
pub async fn check_server(options: &PgConnectOptions, patience: Duration) -> Result<(), Fault> {
    let place = super::address(options);
    let checked = timeout(patience, check_primary(options)).await;
    let late = || {
        let why = format!("no answer within {patience:?}");
        Err(Fault::new(FaultKind::Unavailable, why))
    };
    checked
        .unwrap_or_else(|_| late())
        .map_err(|fault| fault.at(&place))?;
    check_session(options, patience)
        .await
        .map_err(|fault| fault.at(&place))
}

async fn check_primary(options: &PgConnectOptions) -> Result<(), Fault> {
    let mut connection = PgConnection::connect_with(options).await?;
    // Nothing is prepared or set before it is known that this connection has its own session. So no name may
    // be resolved by the role's search_path, here and in what follows.
    let asked = sqlx::raw_sql("SELECT pg_catalog.pg_is_in_recovery()");
    let is_standby: bool = asked.fetch_one(&mut connection).await?.try_get(0)?;
    connection.close().await?;
    match is_standby {
        true => Err(Fault::new(FaultKind::Unavailable, STANDBY_MESSAGE)),
        false => Ok(()),
    }
}

/// Listens on one connection, and sends a notification over another one. A server delivers it to the session
/// that listens. A pooler that shares the session between transactions cannot deliver it while the listening
/// client sends nothing.
async fn check_session(options: &PgConnectOptions, patience: Duration) -> Result<(), Fault> {
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(patience)
        .connect_lazy_with(options.clone());
    let heard = timeout(patience, receives_own_notification(&pool, patience)).await;
    // Its connections close by themselves. Waiting for that could block on a server that does not answer.
    drop(pool);
    match heard {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(Fault::new(FaultKind::Protocol, POOLER_MESSAGE)),
        Ok(Err(error)) => Err(match Fault::from(error) {
            // The notification was delivered to the connection that sent it.
            Fault {
                kind: FaultKind::Protocol,
                ..
            } => Fault::new(FaultKind::Protocol, POOLER_MESSAGE),
            fault => fault,
        }),
        Err(_) => {
            let why = format!("no answer within {patience:?}");
            Err(Fault::new(FaultKind::Unavailable, why))
        }
    }
}

/// Whether a notification arrives. The timeout starts when the server has confirmed that it was sent.
async fn receives_own_notification(pool: &PgPool, patience: Duration) -> Result<bool, sqlx::Error> {
    let channel = format!("pyroxene_{:016x}", rand::random::<u64>());
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(&channel).await?;
    let notify = format!("NOTIFY {channel}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(notify))
        .execute(pool)
        .await?;
    let heard = timeout(patience / 2, listener.recv()).await;
    heard.map_or(Ok(false), |heard| heard.map(|_| true))
}
