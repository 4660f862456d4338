//! Why a pool has no free connection. The pool only says that it waited in vain.

use crate::database::{Fault, FaultKind};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};
use std::time::Duration;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// The timeout of the connection that finds out the reason.
const TRIAL_TIMEOUT: Duration = Duration::from_millis(400);

/// How long a reason counts. Many requests wait in vain at once, and a server that takes no more connections need
/// not be asked by each.
const TRIAL_INTERVAL: Duration = Duration::from_secs(1);

/// The reason that was found last, and when.
#[derive(Debug, Default)]
pub(super) struct PoolReasons(Mutex<Option<(Instant, Fault)>>);

impl PoolReasons {
    /// The fault of a request that waited for a connection in vain.
    pub(super) async fn why_none_is_free(&self, pool: &PgPool) -> Fault {
        // Others wait for the answer of a trial, instead of making their own.
        let mut known = self.0.lock().await;
        match &*known {
            Some((at, fault)) if at.elapsed() < TRIAL_INTERVAL => fault.clone(),
            _ => {
                let fault = reason(pool).await;
                *known = Some((Instant::now(), fault.clone()));
                fault
            }
        }
    }
}

async fn reason(pool: &PgPool) -> Fault {
    let options = pool.connect_options();
    let options = options.as_ref().clone().disable_statement_logging();
    let message = match timeout(TRIAL_TIMEOUT, PgConnection::connect_with(&options)).await {
        Ok(Ok(connection)) => {
            // If closing fails, the server ends the session without it.
            drop(connection.close().await);
            let most = pool.options().get_max_connections();
            format!("all {most} connections of this process are in use")
        }
        Ok(Err(error)) => {
            let fault = Fault::from(&error);
            // Other faults do not heal by waiting, and must keep their kind.
            match fault.kind {
                FaultKind::Unavailable => fault.message,
                _ => return fault,
            }
        }
        Err(_) => "the server does not answer".to_owned(),
    };
    let prefix = "no connection became free: ";
    let reason = message.strip_prefix(prefix).unwrap_or(&message);
    Fault::new(FaultKind::Unavailable, format!("{prefix}{reason}"))
}
