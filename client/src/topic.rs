//! Topics: durable, ordered logs that the name servers keep.
//!
//! A call goes to one name server, and to the next if that does not answer or cannot reach its store.
//! What is appended carries a key, so that this never adds it twice.

use crate::{backoff::Backoff, client::Client, error::CallError, nameserver::NameServer};
use futures::{Stream, StreamExt, stream};
use pyroxene_common::{
    interfaces::topics::{
        Entries, Entry, MAX_ENTRIES, NewEntry, Retention, Topics, TopicsError, topics::TopicsClient,
    },
    values::Blob,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tarpc::{client::RpcError, context};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

/// How long one name server may take before another one is asked.
const ATTEMPT: Duration = Duration::from_secs(3);

/// How long a name server may hold a question for entries.
const LONG_POLL: Duration = Duration::from_secs(25);

const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

/// A topic. Clones are the same topic.
#[derive(Clone)]
pub struct Topic {
    client: Client,
    name: Arc<str>,
    /// The name server that answered last.
    preferred: Arc<AtomicUsize>,
}

/// Why a topic did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// No name server answered in time, or none lets us. What was to be appended may have been.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A name server refused.
    #[error("topic '{topic}': {error}")]
    Topics {
        /// The topic.
        topic: String,
        /// Why.
        error: TopicsError,
    },
    /// Entries that were to be read are no longer kept.
    #[error("topic '{topic}' no longer has what came before its entry {first}")]
    Gone {
        /// The topic.
        topic: String,
        /// The first entry that it has, or will have.
        first: u64,
    },
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.name)
    }
}

impl Client {
    /// The topic of this name, which need not exist: it begins with its first entry.
    pub fn topic(&self, name: impl Into<Arc<str>>) -> Topic {
        let count = self.nameservers().len().max(1);
        Topic {
            client: self.clone(),
            name: name.into(),
            preferred: Arc::new(AtomicUsize::new(rand::random_range(0..count))),
        }
    }
}

impl Topic {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Appends an entry, and gives its sequence. It is on disk then. It is tried again, at other name
    /// servers too, for at most `patience`; however often, the entry is there once.
    pub async fn append(
        &self,
        body: impl Into<Blob>,
        patience: Duration,
    ) -> Result<u64, TopicError> {
        let key = Uuid::now_v7().to_string();
        self.append_once(key, body, patience).await
    }

    /// As [`append`](Self::append), under a key of the caller's choice: if the topic has an entry of
    /// that key, of the last day at least, its sequence is the answer.
    pub async fn append_once(
        &self,
        key: impl Into<String>,
        body: impl Into<Blob>,
        patience: Duration,
    ) -> Result<u64, TopicError> {
        let entry = NewEntry {
            body: body.into(),
            key: key.into(),
            author: None,
        };
        self.append_entry(entry, patience).await
    }

    /// As [`append_once`](Self::append_once), an entry as it travels.
    pub async fn append_entry(
        &self,
        entry: NewEntry,
        patience: Duration,
    ) -> Result<u64, TopicError> {
        let appended = self.append_all(vec![entry], patience).await?;
        let answered = appended.first().copied();
        answered.ok_or_else(|| self.broken("a name server did not answer what it was asked"))
    }

    /// Appends up to 1,000 entries, all or none.
    pub async fn append_all(
        &self,
        entries: Vec<NewEntry>,
        patience: Duration,
    ) -> Result<Vec<u64>, TopicError> {
        let end = Instant::now() + patience;
        let append = |topics: TopicsClient<_>, context| {
            let (topic, entries) = (self.name.to_string(), entries.clone());
            async move { topics.append(context, topic, entries).await }
        };
        self.ask(end, ATTEMPT, append).await
    }

    /// Up to `limit` entries after a sequence; if there are none, those that come within `wait`.
    /// It is tried again, at other name servers too, for at most `patience` beyond that.
    pub async fn read(
        &self,
        after: u64,
        limit: u32,
        wait: Duration,
        patience: Duration,
    ) -> Result<Entries, TopicError> {
        let end = Instant::now() + wait;
        let read = |topics: TopicsClient<_>, context| {
            let topic = self.name.to_string();
            let left = end.saturating_duration_since(Instant::now());
            let wait_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            async move { topics.read(context, topic, after, limit, wait_ms).await }
        };
        self.ask(end + patience, wait + ATTEMPT, read).await
    }

    /// Says how long it keeps its entries.
    pub async fn keep(&self, retention: Retention, patience: Duration) -> Result<(), TopicError> {
        let keep = |topics: TopicsClient<_>, context| {
            let topic = self.name.to_string();
            async move { topics.keep(context, topic, retention).await }
        };
        self.ask(Instant::now() + patience, ATTEMPT, keep).await
    }

    /// Removes it with all that is in it.
    pub async fn remove(&self, patience: Duration) -> Result<(), TopicError> {
        let remove = |topics: TopicsClient<_>, context| {
            let topic = self.name.to_string();
            async move { topics.remove(context, topic).await }
        };
        self.ask(Instant::now() + patience, ATTEMPT, remove).await
    }

    /// Every entry after a sequence, in order, each once, as they come, for as long as it is polled:
    /// the death of name servers and of their store makes it wait. Where entries are no longer kept
    /// it yields [`Gone`](TopicError::Gone) and goes on; any other error is the last item.
    ///
    /// It holds one page of up to 1,000 entries or 4 MiB, and reads on when that is drawn.
    pub fn follow(&self, after: u64) -> impl Stream<Item = Result<Entry, TopicError>> + use<> {
        let pages = stream::unfold(Some((self.clone(), after)), |state| async move {
            let (topic, after) = state?;
            match topic.next_page(after).await {
                Ok(page) => {
                    let next = page.entries.last().map(|entry| entry.sequence);
                    let next = next.unwrap_or(page.first.saturating_sub(1)).max(after);
                    let gone = (page.first > after.saturating_add(1)).then(|| TopicError::Gone {
                        topic: topic.name.to_string(),
                        first: page.first,
                    });
                    let entries = page.entries.into_iter().map(Ok);
                    let items: Vec<_> = gone.map(Err).into_iter().chain(entries).collect();
                    Some((items, Some((topic, next))))
                }
                Err(error) => Some((vec![Err(error)], None)),
            }
        });
        pages.flat_map(stream::iter)
    }

    /// The next page that has something to tell.
    async fn next_page(&self, after: u64) -> Result<Entries, TopicError> {
        let limit = u32::try_from(MAX_ENTRIES).unwrap_or(u32::MAX);
        let mut refusals = 0;
        loop {
            // Its patience ends where nothing is tried any more, so it begins again.
            match self.read(after, limit, LONG_POLL, LONG_POLL).await {
                Ok(page) if page.entries.is_empty() && page.first <= after.saturating_add(1) => {}
                Err(error) if error.is_transient() => {
                    tracing::debug!(topic = %self.name, %error, "cannot follow");
                }
                // Who follows has time.
                Err(error) if error.is_limited() => {
                    tracing::debug!(topic = %self.name, %error, "cannot follow");
                    sleep(RETRY.wait(refusals, rand::random())).await;
                    refusals += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Asks one name server after the other until one has answered, or said something that another
    /// one would say too.
    async fn ask<T, F>(
        &self,
        end: Instant,
        attempt: Duration,
        call: impl Fn(TopicsClient<crate::Service<Topics>>, context::Context) -> F,
    ) -> Result<T, TopicError>
    where
        F: Future<Output = Result<Result<T, TopicsError>, RpcError>>,
    {
        let nameservers = self.client.nameservers();
        let count = nameservers.len().max(1);
        let mut tries = 0_usize;
        loop {
            let index = self.preferred.load(Ordering::Relaxed);
            // The list may have become shorter.
            let Some(nameserver) = nameservers.get(index % count) else {
                return Err(self.broken("the client has no name servers"));
            };
            let error = match self.attempt(nameserver, end, attempt, &call).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_transient() => error,
                // Others may have room.
                Err(error) if error.is_limited() && tries + 1 < count => error,
                Err(error) => return Err(error),
            };
            tries += 1;
            // Whoever comes meanwhile need not find out again.
            let next = (index + 1) % count;
            let preferred = &self.preferred;
            let _ = preferred.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
            // Only when all were asked there is something to wait for.
            let rounds = u32::try_from(tries / count).unwrap_or(u32::MAX);
            let pause = match rounds.checked_sub(1) {
                Some(retry) => RETRY.wait(retry, rand::random()),
                None => Duration::ZERO,
            };
            let resume = Instant::now() + pause;
            if resume >= end {
                return Err(error);
            }
            tracing::debug!(topic = %self.name, %error, "asking another name server");
            sleep_until(resume).await;
        }
    }

    async fn attempt<T, F>(
        &self,
        nameserver: &NameServer,
        end: Instant,
        attempt: Duration,
        call: impl Fn(TopicsClient<crate::Service<Topics>>, context::Context) -> F,
    ) -> Result<T, TopicError>
    where
        F: Future<Output = Result<Result<T, TopicsError>, RpcError>>,
    {
        let mut context = context::current();
        context.deadline = end.min(Instant::now() + attempt).into_std();
        let answered = call(nameserver.topics(), context).await;
        answered.map_err(CallError::from)?.map_err(|error| {
            let topic = self.name.to_string();
            TopicError::Topics { topic, error }
        })
    }

    fn broken(&self, sentence: &str) -> TopicError {
        TopicError::Topics {
            topic: self.name.to_string(),
            error: TopicsError::Broken {
                sentence: sentence.to_owned(),
            },
        }
    }
}

impl TopicError {
    /// Whether the caller's user has as many connections to that name server as it may.
    fn is_limited(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_limited())
    }

    /// Whether the same may work a little later, or at another name server.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Call(error) => matches!(
                error,
                CallError::Unavailable(_) | CallError::MaybeRan(_) | CallError::DeadlineExceeded(_)
            ),
            Self::Topics { error, .. } => matches!(error, TopicsError::Unavailable { .. }),
            Self::Gone { .. } => false,
        }
    }
}
