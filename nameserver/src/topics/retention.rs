//! Making room: what topics no longer keep is removed, and keys that nobody repeats are forgotten.

use super::stored;
use pyroxene_common::interfaces::topics::Retention;
use pyroxene_store::{self as store, Store, StoreError};
use std::time::Duration;
use tokio::time::sleep;

/// How often one looks. Every name server of a domain does; they do not disturb each other.
const PAUSE: Duration = Duration::from_secs(5);

/// How long the keys of entries are remembered at least.
const KEYS: Duration = Duration::from_secs(24 * 60 * 60);

/// How many topics are looked at together.
const PAGE: u32 = 100;

/// Makes room now and then, for as long as it is polled.
pub(crate) async fn keep_retention(store: Store, default: Retention) {
    loop {
        // Not all name servers at once.
        sleep(PAUSE.mul_f64(rand::random_range(0.75..1.25))).await;
        match make_room(&store, default).await {
            Ok(0) => {}
            Ok(removed) => tracing::debug!(removed, "topics are shorter"),
            // What is wrong with the store is said where somebody uses it.
            Err(error) => tracing::debug!(%error, "cannot make room in topics"),
        }
    }
}

/// Removes all that is not to be kept. Gives how many entries.
pub(super) async fn make_room(store: &Store, default: Retention) -> Result<u64, StoreError> {
    let default = stored(default);
    let (mut removed, mut after) = (0, String::new());
    let now = store.now().await?;
    let keeps_too_much = |topic: &&store::Topic| {
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
