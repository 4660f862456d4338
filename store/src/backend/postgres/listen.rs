//! Hints between name servers, over `LISTEN` and `NOTIFY`.
//!
//! Notices are sent after the commit, in transactions of their own: a transaction that notifies holds a lock
//! of the whole server during its commit. A lost notice costs time, nothing else.

use crate::{
    hints::{Hint, Hints, OutgoingEffects},
    model::StoredTaskId,
    sql::SqlConnection,
    transaction::Effects,
};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgListener};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

const CHANNEL: &str = "pyroxene";

/// The largest notice in bytes. PostgreSQL accepts up to 8000.
const MAX_PAYLOAD: usize = 7500;

/// How long hints are collected before they are sent.
const GATHER_DELAY: Duration = Duration::from_millis(2);

/// Above this number of ended tasks, hints are collected for this long: a notice costs the server a
/// transaction.
const GATHER_DELAY_MANY: (usize, Duration) = (16, Duration::from_millis(20));

/// Sends a notice. Its transaction does not wait for the disk.
const NOTIFY: &str = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)";

/// How long to wait before the next connection after an error.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// The payload of a notification.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Notice {
    /// The sender. Every listener receives every notice, the sender too.
    origin: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    queued: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settled: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    topics: Vec<String>,
    names: bool,
    revocations: bool,
    schedules: bool,
    /// More has changed than fits into the notice.
    anything: bool,
}

fn encode_notice(origin: u64, effects: Effects) -> String {
    let notice = Notice {
        origin,
        queued: effects.queued.into_iter().collect(),
        settled: effects
            .ended_tasks
            .iter()
            .map(StoredTaskId::to_string)
            .collect(),
        topics: effects.topics.into_iter().collect(),
        names: effects.names,
        revocations: effects.revocations,
        schedules: effects.schedules,
        anything: false,
    };
    let text = serde_json::to_string(&notice).unwrap_or_default();
    if text.len() <= MAX_PAYLOAD {
        return text;
    }
    let (anything, rest) = (true, Notice::default());
    let notice = Notice {
        origin,
        anything,
        ..rest
    };
    serde_json::to_string(&notice).unwrap_or_default()
}

fn handle_notice(payload: &str, origin: u64, hints: &Hints) {
    match serde_json::from_str::<Notice>(payload) {
        Ok(notice) if notice.origin == origin => {}
        Ok(notice) if !notice.anything => hints.publish_locally(Effects {
            queued: notice.queued.into_iter().collect(),
            ended_tasks: notice
                .settled
                .iter()
                .filter_map(|id| id.parse().ok())
                .collect(),
            topics: notice.topics.into_iter().collect(),
            names: notice.names,
            revocations: notice.revocations,
            schedules: notice.schedules,
            task_results: Vec::new(),
        }),
        // Also a notice of another version that cannot be decoded.
        _ => hints.send(Hint::Anything),
    }
}

/// Tells other name servers what this process changes, until the future is dropped.
pub(crate) async fn notify(pool: PgPool, outgoing: Arc<OutgoingEffects>, origin: u64) {
    loop {
        let effects = outgoing.next().await;
        let gather = match effects.ended_tasks.len() > GATHER_DELAY_MANY.0 {
            true => GATHER_DELAY_MANY.1,
            false => GATHER_DELAY,
        };
        let text = encode_notice(origin, effects);
        let sent = async {
            let mut connection = pool.acquire().await?;
            SqlConnection::Postgres(&mut connection)
                .rows(NOTIFY, &[CHANNEL.into(), text.as_str().into()])
                .await
        };
        if let Err(error) = sent.await {
            tracing::debug!(%error, "other name servers were not told");
        }
        sleep(gather).await;
    }
}

/// Receives what other name servers change, until the future is dropped.
pub(crate) async fn listen(pool: PgPool, hints: Hints, origin: u64) {
    loop {
        if let Err(error) = listen_once(&pool, &hints, origin).await {
            tracing::debug!(%error, "other name servers cannot be heard");
        }
        sleep(RECONNECT_DELAY).await;
    }
}

async fn listen_once(pool: &PgPool, hints: &Hints, origin: u64) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // Notices that were sent before this connection were missed.
    hints.send(Hint::Anything);
    loop {
        match listener.try_recv().await? {
            Some(notification) => handle_notice(notification.payload(), origin, hints),
            // The connection was lost and replaced.
            None => hints.send(Hint::Anything),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(payload: &str) -> Vec<Hint> {
        let hints = Hints::new(None);
        let mut receiver = hints.subscribe();
        handle_notice(payload, 7, &hints);
        drop(hints);
        let mut heard = Vec::new();
        while let Some(Some(hint)) = futures_now(receiver.next()) {
            heard.push(hint);
        }
        heard
    }

    /// The output of a future that is ready at once.
    fn futures_now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn what_one_says_another_understands_and_the_sender_ignores() {
        let id = StoredTaskId::generate();
        let effects = Effects {
            ended_tasks: vec![id],
            names: true,
            ..Effects::default()
        };
        let expected = vec![Hint::TasksEnded([id].into()), Hint::Names];
        assert_eq!(heard(&encode_notice(1, effects.clone())), expected);
        assert_eq!(heard(&encode_notice(7, effects)), []);
    }

    #[test]
    fn too_much_and_nonsense_mean_to_look_everywhere() {
        let effects = Effects {
            ended_tasks: (0..1000).map(|_| StoredTaskId::generate()).collect(),
            ..Effects::default()
        };
        let text = encode_notice(1, effects);
        assert!(text.len() < MAX_PAYLOAD);
        assert_eq!(heard(&text), [Hint::Anything]);
        assert_eq!(heard("hello"), [Hint::Anything]);
    }
}
