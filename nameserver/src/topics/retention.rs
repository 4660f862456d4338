//! The retention of topics: removes entries that are beyond it, and old keys of entries.

use super::stored;
use pyroxene_common::interfaces::topics::Retention;
use pyroxene_store::{self as store, Store, StoreError};
use std::time::Duration;
use tokio::time::sleep;

/// How often topics are trimmed. Every name server of a domain does so; they do not disturb each other.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);

/// The shortest time for which the keys of entries are kept.
const KEYS: Duration = Duration::from_secs(24 * 60 * 60);

/// How many topics are read at once.
const PAGE: u32 = 100;

/// Applies the retention at intervals, for as long as it is polled.
pub(crate) async fn keep_retention(store: Store, default: Retention) {
    loop {
        // So that not all name servers trim at the same time.
        sleep(TRIM_INTERVAL.mul_f64(rand::random_range(0.75..1.25))).await;
        match trim_topics(&store, default).await {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(removed, "entries removed from topics"),
            // Errors of the store are reported where calls use the store.
            Err(error) => tracing::debug!(%error, "cannot trim topics"),
        }
    }
}

/// Removes all entries that are beyond their topic's retention. Returns how many.
pub(super) async fn trim_topics(store: &Store, default: Retention) -> Result<u64, StoreError> {
    let default = stored(default);
    let (mut removed, mut after) = (0, String::new());
    let now = store.now().await?;
    let keeps_too_much = |topic: &&store::StoredTopic| {
        let retention = topic.retention.or(default);
        let too_large = retention.bytes.is_some_and(|most| topic.bytes > most);
        let before = retention.age.map(|age| now.saturating_sub(age));
        let too_old = topic.oldest.is_some_and(|at| Some(at) < before);
        too_large || too_old
    };
    loop {
        let topics = store.topics(&after, PAGE).await?;
        let Some(last) = topics.last() else { break };
        after.clone_from(&last.name);
        for topic in topics.iter().filter(keeps_too_much) {
            loop {
                let some = store.trim(&topic.name, default).await?;
                removed += some;
                if some == 0 {
                    break;
                }
            }
        }
    }
    while store.forget_keys(KEYS).await? > 0 {}
    Ok(removed)
}
