//! Topics: durable, ordered logs that the name servers keep.
//!
//! A call goes to one name server, and to the next one if that does not answer or cannot reach its store
//! (`failover`). Every entry carries a key, so that a repeated append adds it only once.

use crate::{
    backoff::Backoff,
    client::Client,
    error::CallError,
    failover::{Next, NoAnswer, Repeat, RequestTimes},
    nameserver::NameServerService,
    nameservers::next_of,
};
use futures::{Stream, StreamExt, stream};
use pyroxene_common::{
    interfaces::topics::{
        Entries, MAX_ENTRIES, NewEntry, Retention, TopicEntry, Topics, TopicsError,
        topics::TopicsClient,
    },
    values::Blob,
};
use std::{cmp::Reverse, fmt, sync::Arc, time::Duration};
use tarpc::context::Context;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// The timeout of a long poll for entries.
const LONG_POLL: Duration = Duration::from_secs(25);

/// The pause of a follower whose user has reached a limit.
const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

/// The times of a request that is repeated for this time.
fn quick(time: Duration) -> RequestTimes {
    RequestTimes::quick(Repeat::Until(Instant::now() + time))
}

/// A topic. Clones refer to the same topic.
#[derive(Clone)]
pub struct Topic {
    client: Client,
    name: Arc<str>,
}

/// Why an operation on a topic failed.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// No name server answered in time, or all refused the caller. Entries may have been appended.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A name server returned an error.
    #[error("topic '{topic}': {error}")]
    Topics {
        /// The topic.
        topic: String,
        /// The error.
        error: TopicsError,
    },
    /// The topic no longer has the entries that were requested.
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
    /// The topic of this name. It need not exist: the first entry creates it.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let topic = client.topic("door");
    /// let sequence = topic.append(b"opened".to_vec(), Duration::from_secs(10)).await?;
    /// let page = topic.read(sequence - 1, 1, Duration::ZERO, Duration::from_secs(10)).await?;
    /// assert_eq!(page.entries[0].body.as_ref(), b"opened");
    /// # Ok(())
    /// # }
    /// ```
    pub fn topic(&self, name: impl Into<Arc<str>>) -> Topic {
        Topic {
            client: self.clone(),
            name: name.into(),
        }
    }
}

impl Topic {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Appends an entry and returns its sequence. When this returns, the entry is on disk. The append is
    /// retried, also at other name servers, until the retry timeout. Retries never add the entry twice.
    pub async fn append(
        &self,
        body: impl Into<Blob>,
        retry_timeout: Duration,
    ) -> Result<u64, TopicError> {
        let key = Uuid::now_v7().to_string();
        self.append_once(key, body, retry_timeout).await
    }

    /// As [`append`](Self::append), with a key that the caller chooses. If the topic has an entry with
    /// that key already, its sequence is returned. Keys are remembered for at least a day.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # async fn example(topic: pyroxene_client::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// // A program that is restarted and appends the same invoice again gets the same sequence.
    /// let first = topic.append_once("invoice-4711", b"paid".to_vec(), Duration::from_secs(10)).await?;
    /// let again = topic.append_once("invoice-4711", b"paid".to_vec(), Duration::from_secs(10)).await?;
    /// assert_eq!(first, again);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn append_once(
        &self,
        key: impl Into<String>,
        body: impl Into<Blob>,
        retry_timeout: Duration,
    ) -> Result<u64, TopicError> {
        let entry = NewEntry {
            body: body.into(),
            key: key.into(),
            author: None,
        };
        self.append_entry(entry, retry_timeout).await
    }

    /// As [`append_once`](Self::append_once), with an entry as it is sent.
    pub async fn append_entry(
        &self,
        entry: NewEntry,
        retry_timeout: Duration,
    ) -> Result<u64, TopicError> {
        let appended = self.append_all(vec![entry], retry_timeout).await?;
        let answered = appended.first().copied();
        answered.ok_or_else(|| self.broken("the answer of a name server has no sequence"))
    }

    /// Appends up to 1,000 entries, all or none.
    ///
    /// ```no_run
    /// use pyroxene_common::interfaces::topics::NewEntry;
    /// use std::time::Duration;
    ///
    /// # async fn example(topic: pyroxene_client::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// let entries = ["a", "b", "c"].map(|text| NewEntry {
    ///     body: text.as_bytes().to_vec().into(),
    ///     key: format!("letter-{text}"),
    ///     author: None,
    /// });
    /// let sequences = topic.append_all(entries.into(), Duration::from_secs(10)).await?;
    /// assert_eq!(sequences.len(), 3);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn append_all(
        &self,
        entries: Vec<NewEntry>,
        retry_timeout: Duration,
    ) -> Result<Vec<u64>, TopicError> {
        let append = |topics: TopicsClient<_>, context| {
            let (topic, entries) = (self.name.to_string(), entries.clone());
            async move { topics.append(context, topic, entries).await }
        };
        let size = entries.iter().map(|entry| entry.body.0.len()).sum();
        self.ask(quick(retry_timeout).carrying(size), append).await
    }

    /// Up to `limit` entries after a sequence. If there are none, it waits up to `wait` for new ones. The
    /// read is retried, also at other name servers, until the retry timeout after that.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # async fn example(topic: pyroxene_client::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// let (wait, retry) = (Duration::from_secs(5), Duration::from_secs(10));
    /// let mut after = 0;
    /// loop {
    ///     let page = topic.read(after, 100, wait, retry).await?;
    ///     let Some(last) = page.entries.last() else { break };
    ///     println!("{} entries up to {}", page.entries.len(), last.sequence);
    ///     after = last.sequence;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read(
        &self,
        after: u64,
        limit: u32,
        wait: Duration,
        retry_timeout: Duration,
    ) -> Result<Entries, TopicError> {
        let end = Instant::now() + wait;
        let read = |topics: TopicsClient<_>, context| {
            let topic = self.name.to_string();
            let left = end.saturating_duration_since(Instant::now());
            let wait_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            async move { topics.read(context, topic, after, limit, wait_ms).await }
        };
        let times = RequestTimes {
            wait,
            ..quick(wait + retry_timeout)
        };
        self.ask(times, read).await
    }

    /// Sets how long the topic keeps its entries.
    ///
    /// ```no_run
    /// use pyroxene_common::interfaces::topics::Retention;
    /// use std::time::Duration;
    ///
    /// # async fn example(topic: pyroxene_client::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// // A week, and at most 100 MiB of it.
    /// let retention = Retention {
    ///     age_ms: Some(7 * 24 * 60 * 60 * 1000),
    ///     bytes: Some(100 << 20),
    /// };
    /// topic.keep(retention, Duration::from_secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn keep(
        &self,
        retention: Retention,
        retry_timeout: Duration,
    ) -> Result<(), TopicError> {
        let keep = |topics: TopicsClient<_>, context| {
            let topic = self.name.to_string();
            async move { topics.keep(context, topic, retention).await }
        };
        // A late repetition would undo a newer setting.
        self.ask(quick(retry_timeout).one_at_a_time(), keep).await
    }

    /// Removes the topic with all its entries.
    pub async fn remove(&self, retry_timeout: Duration) -> Result<(), TopicError> {
        let remove = |topics: TopicsClient<_>, context| {
            let topic = self.name.to_string();
            async move { topics.remove(context, topic).await }
        };
        // A late repetition would remove newer entries.
        self.ask(quick(retry_timeout).one_at_a_time(), remove).await
    }

    /// A stream of every entry after a sequence, in order, each once, including future ones. While name
    /// servers or their store are down, the stream waits. Where entries are no longer kept, it yields
    /// [`Gone`](TopicError::Gone) and continues. Any other error is the last item.
    ///
    /// The stream holds one page of up to 1,000 entries or 4 MiB, and reads the next page when the caller
    /// has consumed it.
    ///
    /// ```no_run
    /// use futures::StreamExt;
    /// use pyroxene_client::TopicError;
    /// use std::pin::pin;
    ///
    /// # async fn example(topic: pyroxene_client::Topic) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut entries = pin!(topic.follow(0));
    /// while let Some(entry) = entries.next().await {
    ///     match entry {
    ///         Ok(entry) => println!("{}: {} bytes", entry.sequence, entry.body.0.len()),
    ///         Err(TopicError::Gone { first, .. }) => println!("continuing at entry {first}"),
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow(&self, after: u64) -> impl Stream<Item = Result<TopicEntry, TopicError>> + use<> {
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

    /// The next page that has entries, or starts after a gap.
    async fn next_page(&self, after: u64) -> Result<Entries, TopicError> {
        let limit = u32::try_from(MAX_ENTRIES).unwrap_or(u32::MAX);
        let mut refusals = 0;
        loop {
            // `read` stops after its retry timeout, so it is called again.
            match self.read(after, limit, LONG_POLL, LONG_POLL).await {
                Ok(page) if page.entries.is_empty() && page.first <= after.saturating_add(1) => {}
                Err(error) if error.is_transient() => {
                    tracing::debug!(topic = %self.name, %error, "cannot follow");
                }
                // A follower has no deadline, so it waits and retries.
                Err(error) if error.is_limited() => {
                    tracing::debug!(topic = %self.name, %error, "cannot follow");
                    sleep(RETRY.wait(refusals, rand::random())).await;
                    refusals += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Asks the name servers until one answers or returns an error that the others would return too.
    async fn ask<T, F>(
        &self,
        times: RequestTimes,
        call: impl Fn(TopicsClient<NameServerService<Topics>>, Context) -> F,
    ) -> Result<T, TopicError>
    where
        F: Future<Output = Result<Result<T, TopicsError>, CallError>>,
    {
        let asked = self
            .client
            .nameserver_set()
            .ask_any(times, |nameserver, context| {
                let answered = call(nameserver.topics(), context);
                async move {
                    match answered.await {
                        Ok(Ok(answer)) => Ok(answer),
                        Ok(Err(error)) => {
                            let topic = self.name.to_string();
                            let error = TopicError::Topics { topic, error };
                            Err(NoAnswer::new(error.next(), error).answered())
                        }
                        Err(error) => {
                            let error = TopicError::Call(error);
                            Err(NoAnswer::new(error.next(), error))
                        }
                    }
                }
            });
        asked.await.map_err(|unanswered| {
            let error = unanswered.weightiest(weight);
            error.unwrap_or_else(|| self.broken("the client has no name servers"))
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

/// How much an error says about a request that no name server has answered.
fn weight(failure: &NoAnswer<TopicError>) -> (bool, bool, Reverse<Next>) {
    let NoAnswer { error, next, .. } = failure;
    let is_limit = error.is_limited()
        || matches!(
            error,
            TopicError::Topics {
                error: TopicsError::Limited { .. },
                ..
            }
        );
    // An error that says that the request may have been carried out goes first. A name server that names
    // a limit knows the user, and would answer later.
    (error.may_have_run(), is_limit, Reverse(*next))
}

impl TopicError {
    /// What the error of one name server means for the request.
    fn next(&self) -> Next {
        match self {
            Self::Call(error) if next_of(error) == Next::Absent => Next::Absent,
            error if error.is_transient() => Next::Later,
            // Each name server counts for itself, and knows its own store and users. Another one may be
            // carrying out the request meanwhile.
            error if error.is_limited() => Next::Unable,
            Self::Topics {
                error: TopicsError::Limited { .. } | TopicsError::Broken { .. },
                ..
            } => Next::Unable,
            Self::Topics {
                error: TopicsError::Denied { .. },
                ..
            }
            | Self::Call(CallError::Refused(_)) => Next::Elsewhere,
            Self::Call(_) => Next::Unable,
            Self::Topics { .. } | Self::Gone { .. } => Next::End,
        }
    }

    /// Whether the caller's user has reached its limit of connections to that name server.
    fn is_limited(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_limited())
    }

    /// Whether the request may have been carried out.
    fn may_have_run(&self) -> bool {
        match self {
            Self::Call(CallError::MaybeRan(_)) => true,
            Self::Call(error) => error.attempt_log().may_have_run(),
            Self::Topics { error, .. } => matches!(error, TopicsError::Unavailable { .. }),
            Self::Gone { .. } => false,
        }
    }

    /// Whether a retry may succeed later, or at another name server.
    ///
    /// ```
    /// use pyroxene_client::{CallError, TopicError};
    /// use tarpc::client::RpcError;
    ///
    /// let late = TopicError::Call(CallError::from(RpcError::DeadlineExceeded));
    /// assert!(late.is_transient());
    /// let gone = TopicError::Gone { topic: "door".to_owned(), first: 8 };
    /// assert!(!gone.is_transient());
    /// ```
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

#[cfg(test)]
mod tests;
