//! Topics as an object: answers the interface's calls from the store, and applies the retention.

mod permission;
mod retention;

pub(crate) use permission::{TopicAccess, may_call, may_call_presence};
pub(crate) use retention::keep_retention;

use crate::{limits::Limiter, long_poll::time_to_wait};
use pyroxene_common::{
    clean,
    interfaces::topics::{
        Entries, MAX_ENTRIES, MAX_ENTRY, MAX_NAME, MAX_WAIT_MS, NewEntry, Retention, TopicEntry,
        TopicSummary, TopicsError, topics,
    },
    limits::{Limit, LimitExceeded},
    scope::{self, NoAnswerMemory},
    values::Blob,
};
use pyroxene_store::{self as store, Store, StoreError};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tarpc::context::Context;

/// The most bytes of one page. A larger entry is a page alone.
const PAGE_BYTES: usize = 4 << 20;

/// The most topics of one list.
const PAGE_TOPICS: usize = 1000;

/// The most memory of such a list, in bytes.
const LIST_BYTES: usize = PAGE_TOPICS * 512;

/// Answers the calls of the interface `Topics`.
#[derive(Clone, Debug)]
pub(crate) struct TopicsService {
    store: Store,
    /// The retention of topics that have none of their own.
    default: Retention,
    limiter: Arc<Limiter>,
}

impl TopicsService {
    pub(crate) fn new(store: Store, default: Retention, limiter: Arc<Limiter>) -> Self {
        Self {
            store,
            default,
            limiter,
        }
    }

    /// Counts entries against the limits of their authors: of the caller, or of the user on whose behalf it
    /// calls.
    fn spend(&self, entries: &[NewEntry]) -> Result<(), TopicsError> {
        let caller = scope::current().caller;
        let mut by_author: BTreeMap<Option<&str>, (u64, u64)> = BTreeMap::new();
        for entry in entries {
            let (count, bytes) = by_author.entry(entry.author.as_deref()).or_default();
            *count += 1;
            *bytes += (entry.body.0.len() + entry.key.len()) as u64;
        }
        for (author, (count, bytes)) in by_author {
            let spent = match author {
                Some(author) => {
                    let amounts = [(Limit::ChatMessages, count), (Limit::ChatBytes, bytes)];
                    self.limiter.spend_for(author, &amounts)
                }
                None => {
                    let amounts = [(Limit::TopicEntries, count), (Limit::TopicBytes, bytes)];
                    self.limiter.spend(caller.identity.as_deref(), &amounts)
                }
            };
            spent.map_err(limited)?;
        }
        Ok(())
    }

    fn shown(&self, topic: store::StoredTopic) -> TopicSummary {
        TopicSummary {
            name: topic.name,
            first: unsigned(topic.first),
            head: unsigned(topic.head),
            bytes: unsigned(topic.bytes),
            retention: Retention {
                age_ms: topic.retention.age.map(unsigned).or(self.default.age_ms),
                bytes: topic.retention.bytes.map(unsigned).or(self.default.bytes),
            },
        }
    }
}

impl topics::Topics for TopicsService {
    async fn append(
        self,
        _: Context,
        topic: String,
        entries: Vec<NewEntry>,
    ) -> Result<Vec<u64>, TopicsError> {
        check_name("the name of a topic", &topic)?;
        check_use(&TopicAccess::current(), &topic)?;
        if entries.len() > MAX_ENTRIES {
            let (count, limit) = (entries.len(), MAX_ENTRIES);
            return Err(invalid(format!(
                "{count} entries at once are more than {limit}"
            )));
        }
        self.spend(&entries)?;
        let mut new = Vec::with_capacity(entries.len());
        for entry in entries {
            check_name("the key of an entry", &entry.key)?;
            let (size, limit) = (entry.body.0.len(), MAX_ENTRY);
            if size > limit {
                return Err(invalid(format!(
                    "an entry of {size} bytes is beyond the limit of {limit} bytes"
                )));
            }
            new.push(store::NewStoredEntry {
                topic: topic.clone(),
                key: Some(entry.key),
                body: entry.body.0.into(),
            });
        }
        let sequences = self.store.append(new).await.map_err(failed)?;
        Ok(sequences.into_iter().map(unsigned).collect())
    }

    async fn read(
        self,
        context: Context,
        topic: String,
        after: u64,
        limit: u32,
        wait_ms: u64,
    ) -> Result<Entries, TopicsError> {
        check_name("the name of a topic", &topic)?;
        check_use(&TopicAccess::current(), &topic)?;
        let limit = limit.clamp(1, u32::try_from(MAX_ENTRIES).unwrap_or(u32::MAX));
        let wait = Duration::from_millis(wait_ms.min(MAX_WAIT_MS)).min(time_to_wait(&context));
        let after = signed(after);
        let outline = match wait.is_zero() {
            true => self.store.measure(&topic, after, limit, PAGE_BYTES).await,
            false => {
                let caller = scope::current().caller;
                let held = self
                    .limiter
                    .acquire(caller.identity.as_deref(), Limit::Polls);
                let _held = held.map_err(limited)?;
                let grown = self
                    .store
                    .wait_for_entries(&topic, after, limit, PAGE_BYTES, wait);
                grown.await
            }
        };
        let answers = scope::answers();
        let (_turn, found) = match outline.map_err(failed)? {
            Some((_, size)) if size > 0 => {
                // While a caller has not read one page, no other page is read from the store for it.
                let turn = answers.wait_for_turn().await;
                let room = answers.reserve(size, time_to_wait(&context)).await;
                room.map_err(no_room)?;
                let bytes = size.min(PAGE_BYTES);
                (
                    Some(turn),
                    self.store.read(&topic, after, limit, bytes).await,
                )
            }
            outline => (None, Ok(outline.map(|(empty, _)| empty))),
        };
        Ok(match found.map_err(failed)? {
            Some(found) => Entries {
                first: unsigned(found.first),
                head: unsigned(found.head),
                entries: found.entries.into_iter().map(entry).collect(),
            },
            None => Entries {
                first: 1,
                ..Entries::default()
            },
        })
    }

    async fn list(
        self,
        context: Context,
        prefix: String,
        after: String,
    ) -> Result<Vec<TopicSummary>, TopicsError> {
        let keeper = TopicAccess::current();
        let answers = scope::answers();
        let _turn = answers.wait_for_turn().await;
        let room = answers.reserve(LIST_BYTES, time_to_wait(&context)).await;
        room.map_err(no_room)?;
        // Topics with the prefix are adjacent in the order of names.
        let mut found: Vec<TopicSummary> = Vec::new();
        let mut after = after;
        if after < prefix {
            let exact = self.store.topic(&prefix).await.map_err(failed)?;
            found.extend(exact.map(|topic| self.shown(topic)));
            after.clone_from(&prefix);
        }
        let limit = u32::try_from(PAGE_TOPICS).unwrap_or(u32::MAX);
        let page = self.store.topics(&after, limit).await.map_err(failed)?;
        let with_prefix = page
            .into_iter()
            .take_while(|topic| topic.name.starts_with(&prefix));
        found.extend(with_prefix.map(|topic| self.shown(topic)));
        found.truncate(PAGE_TOPICS);
        found.retain(|topic| keeper.may_use(&topic.name));
        Ok(found)
    }

    async fn keep(
        self,
        _: Context,
        topic: String,
        retention: Retention,
    ) -> Result<(), TopicsError> {
        check_name("the name of a topic", &topic)?;
        let retention = stored(retention);
        let configured = self.store.configure_topic(&topic, retention).await;
        configured.map_err(failed)
    }

    async fn remove(self, _: Context, topic: String) -> Result<(), TopicsError> {
        self.store.remove_topic(&topic).await.map_err(failed)?;
        Ok(())
    }
}

fn check_use(keeper: &TopicAccess, topic: &str) -> Result<(), TopicsError> {
    if keeper.may_use(topic) {
        return Ok(());
    }
    let sentence = keeper.denied("topic", topic);
    Err(TopicsError::Denied { sentence })
}

fn check_name(what: &str, name: &str) -> Result<(), TopicsError> {
    if name.is_empty() || name.chars().nth(MAX_NAME).is_some() {
        return Err(invalid(format!(
            "{what} must have 1 to {MAX_NAME} characters"
        )));
    }
    if !clean::is_line(name) {
        return Err(invalid(format!(
            "{what} must have no control characters and no invisible ones"
        )));
    }
    Ok(())
}

fn invalid(sentence: String) -> TopicsError {
    TopicsError::Invalid { sentence }
}

fn no_room(no_room: NoAnswerMemory) -> TopicsError {
    TopicsError::Unavailable {
        sentence: no_room.to_string(),
    }
}

fn limited(exceeded: LimitExceeded) -> TopicsError {
    TopicsError::Limited {
        sentence: exceeded.to_string(),
    }
}

fn failed(error: StoreError) -> TopicsError {
    let sentence = error.to_string();
    match error {
        StoreError::Unavailable(sentence) => TopicsError::Unavailable { sentence },
        StoreError::Closed => TopicsError::Unavailable { sentence },
        StoreError::Invalid(sentence) => TopicsError::Invalid { sentence },
        _ => TopicsError::Broken { sentence },
    }
}

fn entry(entry: store::StoredEntry) -> TopicEntry {
    TopicEntry {
        sequence: unsigned(entry.sequence),
        at_ms: unsigned(entry.at),
        body: Blob(entry.body.into()),
    }
}

fn stored(retention: Retention) -> store::StoredRetention {
    store::StoredRetention {
        age: retention.age_ms.map(signed),
        bytes: retention.bytes.map(signed),
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
