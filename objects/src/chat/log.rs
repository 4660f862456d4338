//! The messages: a topic, of which the newest part is in memory.
//!
//! One long poll serves all members. Messages in memory can be read while the name servers are unavailable.

mod recent;

use crate::interfaces::chat::{ChatError, MAX_PAGE, Message, Received};
use parking_lot::Mutex;
use pyroxene_client::{Topic, TopicError};
use pyroxene_common::interfaces::topics::{MAX_ENTRIES, NewEntry, TopicEntry, TopicsError};
use recent::{RecentMessages, RecentPage};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Once},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// How long one long poll lasts.
const LONG_POLL: Duration = Duration::from_secs(25);

/// How long a name server is searched for beyond that.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait until a message that was appended arrives here.
const OWN_MESSAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// How many existing messages are loaded into memory at the start.
const INITIAL_MESSAGES: u64 = 1000;

/// The messages of a room.
#[derive(Debug)]
pub(super) struct MessageLog {
    topic: Topic,
    recent: Mutex<RecentMessages>,
    /// The sequence up to which the topic was followed; before the first success, the error.
    followed: watch::Sender<Result<u64, String>>,
    started: Once,
}

/// A message in the topic.
#[derive(Debug, Serialize, Deserialize)]
struct StoredMessage {
    from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    text: String,
}

impl MessageLog {
    pub(super) fn new(topic: Topic) -> Self {
        let nobody = "no name server has answered yet".to_owned();
        Self {
            topic,
            recent: Mutex::default(),
            followed: watch::Sender::new(Err(nobody)),
            started: Once::new(),
        }
    }

    /// Starts to follow the topic, unless that was started.
    pub(super) fn start(self: &Arc<Self>, stop: &CancellationToken) {
        self.started.call_once(|| {
            let (log, stop) = (Arc::clone(self), stop.clone());
            tokio::spawn(async move { stop.run_until_cancelled(log.follow()).await });
        });
    }

    async fn follow(&self) {
        let mut position = None;
        loop {
            let after = match position {
                Some(after) => self.next(after).await,
                None => self.begin().await,
            };
            match after {
                Ok(after) => {
                    position = Some(after);
                    let _before = self.followed.send_replace(Ok(after));
                }
                Err(error) => {
                    tracing::debug!(topic = self.topic.name(), %error, "cannot read");
                    if position.is_none() {
                        let _before = self.followed.send_replace(Err(error.to_string()));
                    }
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Loads the last messages into memory. Returns the sequence up to which it has loaded.
    async fn begin(&self) -> Result<u64, TopicError> {
        let topic = &self.topic;
        // After the end of the topic there are no entries, but the answer has the topic's head.
        let end = topic
            .read(u64::MAX, 1, Duration::ZERO, FAILOVER_TIMEOUT)
            .await?;
        let mut after = end.head.saturating_sub(INITIAL_MESSAGES);
        self.recent.lock().begin(after);
        while after < end.head {
            after = self.take(after, Duration::ZERO).await?;
        }
        Ok(after)
    }

    async fn next(&self, after: u64) -> Result<u64, TopicError> {
        self.take(after, LONG_POLL).await
    }

    /// Loads a page into memory. Returns the sequence up to which it has loaded.
    async fn take(&self, after: u64, wait: Duration) -> Result<u64, TopicError> {
        let limit = u32::try_from(MAX_ENTRIES).unwrap_or(u32::MAX);
        let page = self
            .topic
            .read(after, limit, wait, FAILOVER_TIMEOUT)
            .await?;
        let mut recent = self.recent.lock();
        if page.head < after {
            // The topic was removed, and begins again.
            recent.begin(0);
            return Ok(0);
        }
        if page.first > after + 1 {
            recent.begin(page.first - 1);
        }
        let mut last = after.max(page.first.saturating_sub(1));
        for entry in &page.entries {
            last = entry.sequence;
            recent.push(entry.sequence, message(entry));
        }
        Ok(last)
    }

    /// Waits until the topic is followed, and returns the sequence up to which it was followed.
    pub(super) async fn head(&self, patience: Duration) -> Result<u64, ChatError> {
        let mut followed = self.followed.subscribe();
        let _ = timeout(
            patience.min(FAILOVER_TIMEOUT),
            followed.wait_for(Result::is_ok),
        )
        .await;
        let head = followed.borrow().clone();
        head.map_err(|sentence| ChatError::Unavailable { sentence })
    }

    /// Appends a message. It counts against the limits of the user `author`.
    pub(super) async fn append(
        &self,
        author: String,
        (from, to): (String, Option<String>),
        text: String,
        id: &str,
        patience: Duration,
    ) -> Result<u64, ChatError> {
        // Names have no blanks, so no member can use another one's key.
        let key = format!("{from} {id}");
        let broken = |error: serde_json::Error| ChatError::Broken {
            sentence: error.to_string(),
        };
        let body = serde_json::to_vec(&StoredMessage { from, to, text }).map_err(broken)?;
        let entry = NewEntry {
            body: body.into(),
            key,
            author: Some(author),
        };
        let appended = self.topic.append_entry(entry, patience).await;
        let sequence = appended.map_err(failed)?;
        // The next call to this worker should find the message. It is stored, whether that is seen here or
        // not.
        let is_here =
            |followed: &Result<u64, String>| matches!(followed, Ok(at) if *at >= sequence);
        let mut followed = self.followed.subscribe();
        let _ = timeout(
            patience.min(OWN_MESSAGE_TIMEOUT),
            followed.wait_for(is_here),
        )
        .await;
        Ok(sequence)
    }

    /// Messages for a member after a sequence. If there are none, waits until `end` for new ones.
    pub(super) async fn receive(
        &self,
        name: &str,
        after: u64,
        end: Instant,
        patience: Duration,
    ) -> Result<Received, ChatError> {
        let mut followed = self.followed.subscribe();
        self.head(patience).await?;
        let mut next = after;
        loop {
            // Before the read, so that no later message is missed.
            followed.mark_unchanged();
            let page = self.recent.lock().after(next, name, MAX_PAGE);
            let received = match page {
                RecentPage::InMemory(received) => received,
                RecentPage::Older => self.older(next, name, patience).await?,
            };
            next = received.next;
            if !received.messages.is_empty() {
                return Ok(received);
            }
            if self.recent.lock().has_entries_after(next) {
                continue;
            }
            let changed = timeout_at(end, followed.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return Ok(Received {
                    next,
                    ..Received::default()
                });
            }
        }
    }

    /// As from memory, for messages that are no longer in memory.
    async fn older(
        &self,
        after: u64,
        name: &str,
        patience: Duration,
    ) -> Result<Received, ChatError> {
        let limit = u32::try_from(MAX_PAGE).unwrap_or(u32::MAX);
        let reading = self.topic.read(after, limit, Duration::ZERO, patience);
        let page = reading.await.map_err(failed)?;
        let last = page.entries.last().map(|entry| entry.sequence);
        let messages = page.entries.iter().filter_map(message);
        Ok(Received {
            messages: messages.filter(|message| is_for(message, name)).collect(),
            next: last.unwrap_or(page.head).max(after),
        })
    }

    /// The last messages for a member before a sequence, or before now.
    pub(super) async fn history(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
        patience: Duration,
    ) -> Result<Vec<Message>, ChatError> {
        /// How many pages are searched for messages that a member may read.
        const PAGES: usize = 20;
        let head = self.head(patience).await?;
        let mut before = before.unwrap_or(u64::MAX).min(head + 1);
        let (mut found, mut more) = self.recent.lock().before(before, name, limit);
        let mut pages = 0;
        while found.len() < limit && more && before > 1 && pages < PAGES {
            before = before.min(self.recent.lock().floor() + 1);
            let after = before.saturating_sub(1 + MAX_PAGE as u64);
            let count = u32::try_from(before - 1 - after).unwrap_or(u32::MAX);
            let reading = self.topic.read(after, count, Duration::ZERO, patience);
            let page = reading.await.map_err(failed)?;
            let older = page.entries.iter().filter(|entry| entry.sequence < before);
            let older = older.filter_map(message);
            let mut older: Vec<_> = older.filter(|message| is_for(message, name)).collect();
            older.append(&mut found);
            found = older;
            more = page.first <= after;
            before = after + 1;
            pages += 1;
        }
        let surplus = found.len().saturating_sub(limit);
        Ok(found.split_off(surplus))
    }
}

/// Whether a member may read a message.
fn is_for(message: &Message, name: &str) -> bool {
    match &message.to {
        None => true,
        Some(to) => to == name || message.from == name,
    }
}

/// The message in an entry. `None` if the entry is not a message; then another program has appended it.
fn message(entry: &TopicEntry) -> Option<Message> {
    let said: StoredMessage = serde_json::from_slice(&entry.body.0).ok()?;
    Some(Message {
        sequence: entry.sequence,
        at_ms: entry.at_ms,
        from: said.from,
        to: said.to,
        text: said.text,
    })
}

fn failed(error: TopicError) -> ChatError {
    let sentence = error.to_string();
    match error {
        TopicError::Topics {
            error: TopicsError::Unavailable { sentence },
            ..
        } => ChatError::Unavailable { sentence },
        TopicError::Topics {
            error: TopicsError::Limited { sentence },
            ..
        } => ChatError::Limited { sentence },
        error if error.is_transient() => ChatError::Unavailable { sentence },
        _ => ChatError::Broken { sentence },
    }
}
