//! Shares revocations and logouts between the name servers over one store.

use super::TicketAuthority;
use pyroxene_common::identity::Revocation;
use pyroxene_store::{self as store, Hint, Store, StoreError};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// How often the store is polled, even without hints.
const REVOCATION_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The longest life of a ticket of any name server, in milliseconds: a day and an hour.
const LONGEST_TICKET: u64 = 25 * 60 * 60 * 1000;

/// Writes this name server's revocations and logouts to the store, and takes over those of the others, for as long as it
/// is polled and the store is open.
pub(crate) async fn share(authority: Arc<TicketAuthority>, store: Store) {
    let mut hints = store.hints();
    let mut own = authority.void_tickets.subscribe();
    let mut written = HashMap::new();
    let mut look_at = Instant::now();
    loop {
        tokio::select! {
            hint = hints.next() => match hint {
                Some(Hint::Revocations | Hint::Anything) => {}
                Some(_) => continue,
                None => return,
            },
            // The sender lives in the authority.
            _ = own.changed() => {}
            () = sleep_until(look_at) => {}
        }
        look_at = Instant::now() + REVOCATION_POLL_INTERVAL;
        own.borrow_and_update();
        if let Err(error) = exchange(&authority, &store, &mut written).await {
            // Unwritten revocations stay in memory for as long as this name server lives.
            tracing::debug!(%error, "cannot share revocations and logouts");
        }
    }
}

async fn exchange(
    authority: &TicketAuthority,
    store: &Store,
    written: &mut HashMap<String, u64>,
) -> Result<(), StoreError> {
    let there = store.revocations().await?;
    written.clear();
    for store::StoredRevocation { name, issued, .. } in there {
        written.insert(name, u64::try_from(issued).unwrap_or(0));
    }
    let revoked: Vec<Revocation> = written
        .iter()
        .map(|(name, until_ms)| Revocation {
            name: name.clone(),
            until_ms: *until_ms,
        })
        .collect();
    authority.merge_revocations(revoked);
    let known = authority.void_tickets.borrow().revoked.clone();
    let is_news = |one: &&Revocation| written.get(&one.name) < Some(&one.until_ms);
    let now = store.now().await?;
    let news = known
        .iter()
        .filter(is_news)
        .map(|one| store::StoredRevocation {
            name: one.name.clone(),
            issued: i64::try_from(one.until_ms).unwrap_or(i64::MAX),
            until: i64::try_from(one.until_ms.saturating_add(LONGEST_TICKET)).unwrap_or(i64::MAX),
        });
    // A revocation is not shared once every ticket that it covers has expired.
    let news: Vec<_> = news.filter(|one| one.until > now).collect();
    if !news.is_empty() {
        store.revoke(news).await?;
    }
    authority.exchange_logouts(store).await
}
