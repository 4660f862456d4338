//! The type of a stream in an interface.

use super::{
    exchange::{self, Exchange, JsonItems},
    failure::{StreamError, StreamFailure},
    inbox::Inbox,
    keeper::{Kept, StreamKeeper},
    producer::{Bounds, Chunk, Next, Producer},
    reader::Reader,
};
use crate::codec;
use futures::{Stream as Items, StreamExt};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use std::{
    borrow::Cow,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

/// Items that come one after the other: a parameter or the result of a method.
///
/// The receiver reads it as a [`futures::Stream`] of `Result<T, StreamError>`; its maker wraps
/// any stream that is `Send`. A reader that is slow makes the producer wait, and one that is dropped ends it.
///
/// ```
/// use futures::StreamExt;
/// use pyroxene_common::Stream;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let squares = Stream::new(futures::stream::iter((1..=3_u64).map(|n| n * n)));
/// let read: Vec<u64> = squares.map(Result::unwrap).collect().await;
/// assert_eq!(read, [1, 4, 9]);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Stream<T>(Mutex<Source<T>>);

type LocalItems<T> = Pin<Box<dyn Items<Item = Result<T, StreamError>> + Send>>;

enum Source<T> {
    /// It is made in this process.
    Local(LocalItems<T>),
    /// It comes from the peer.
    Received(Reader<T>),
    /// It was sent to the peer.
    Sent,
}

impl<T: 'static> Stream<T> {
    /// The stream of these items.
    pub fn new(items: impl Items<Item = T> + Send + 'static) -> Self {
        Self::local(items.map(Ok))
    }

    /// The stream of these items. It breaks at the first error, whose message the reader gets.
    pub fn fallible<E: fmt::Display>(
        items: impl Items<Item = Result<T, E>> + Send + 'static,
    ) -> Self
    where
        T: 'static,
    {
        let mut count = 0;
        Self::local(items.map(move |item| match item {
            Ok(item) => {
                count += 1;
                Ok(item)
            }
            Err(error) => Err(StreamError {
                items: count,
                failure: StreamFailure::Failed(error.to_string()),
            }),
        }))
    }

    pub(super) fn local(items: impl Items<Item = Result<T, StreamError>> + Send + 'static) -> Self {
        Self(Mutex::new(Source::Local(Box::pin(items))))
    }

    /// Takes the items out of a stream that is sent.
    fn take(&self) -> Self {
        let mut source = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Self(Mutex::new(std::mem::replace(&mut *source, Source::Sent)))
    }
}

impl Stream<String> {
    /// The same items. `kept` is dropped with the stream.
    pub(crate) fn keeping(mut self, kept: Kept) -> Self {
        Self::local(futures::stream::poll_fn(move |context| {
            let polled = catch_unwind(AssertUnwindSafe(|| self.poll_next_unpin(context)));
            if matches!(polled, Err(_) | Ok(Poll::Ready(Some(Err(_))))) {
                kept.stream_failed();
            }
            polled.unwrap_or_else(|panic| resume_unwind(panic))
        }))
    }
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

// The items are never pinned in place: a local stream is in a box.
impl<T> Unpin for Stream<T> {}

impl<T> Items for Stream<T> {
    type Item = Result<T, StreamError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let source = self.get_mut().0.get_mut();
        match source.unwrap_or_else(PoisonError::into_inner) {
            Source::Local(items) => items.as_mut().poll_next(context),
            Source::Received(reader) => reader.poll_next(context),
            Source::Sent => Poll::Ready(None),
        }
    }
}

impl<T: Serialize + Send + 'static> Producer for Stream<T> {
    fn fill(&mut self, context: &mut Context<'_>, chunk: &mut Chunk, bounds: Bounds) -> Next {
        while chunk.items < bounds.items && chunk.bytes.len() < bounds.bytes {
            match Pin::new(&mut *self).poll_next(context) {
                Poll::Ready(Some(Ok(item))) => match chunk.add(&item) {
                    Ok(()) if chunk.blobs.is_empty() => {}
                    Ok(()) => return Next::More,
                    Err(error) => {
                        return Next::Broken(format!("an item cannot be encoded: {error}"));
                    }
                },
                Poll::Ready(Some(Err(error))) => return Next::Broken(reason(&error.failure)),
                Poll::Ready(None) => return Next::End,
                Poll::Pending => return Next::Later,
            }
        }
        Next::More
    }
}

/// An error with its sources.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl<T: Serialize + Send + 'static> Serialize for Stream<T> {
    /// Only as a part of a request or an answer; see `exchange`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let position = match exchange::form_of_sending() {
            Exchange::Closed | Exchange::Callbacks | Exchange::Shape => {
                Err("a stream cannot be sent here".to_owned())
            }
            Exchange::Request | Exchange::Binary => exchange::send(Box::new(self.take())),
            Exchange::Json => exchange::send_json(Box::pin(to_json(self.take()))),
        };
        let position = position.map_err(serde::ser::Error::custom)?;
        serializer.serialize_u32(position)
    }
}

/// The items as JSON texts.
fn to_json<T: Serialize + Send + 'static>(items: Stream<T>) -> Stream<String> {
    let mut count = 0;
    Stream::local(items.map(move |item| {
        let text = serde_json::to_string(&item?).map_err(|error| StreamError {
            items: count,
            failure: StreamFailure::Failed(format!("an item cannot be shown as JSON: {error}")),
        })?;
        count += 1;
        Ok(text)
    }))
}

impl<'de, T: DeserializeOwned + Send + 'static> Deserialize<'de> for Stream<T> {
    /// Only as a part of a request or an answer; see `exchange`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = exchange::form_of_receiving();
        if form == Exchange::Shape {
            T::deserialize(deserializer)?;
            return Ok(Self::local(futures::stream::empty()));
        }
        let position = u32::deserialize(deserializer)?;
        let stream = match form {
            Exchange::Closed | Exchange::Request | Exchange::Callbacks | Exchange::Shape => {
                Err("a stream cannot be received here".to_owned())
            }
            Exchange::Binary => {
                let inbox = Inbox::new();
                let reader = Reader::new(inbox.clone(), codec::decode::<T>);
                exchange::receive(position, inbox)
                    .map(|()| Self(Mutex::new(Source::Received(reader))))
            }
            Exchange::Json => exchange::receive_json(position).map(from_json),
        };
        stream.map_err(serde::de::Error::custom)
    }
}

/// The items of JSON texts.
fn from_json<T: DeserializeOwned + Send + 'static>(texts: JsonItems) -> Stream<T> {
    let mut count = 0;
    Stream::local(texts.map(move |text| {
        let item = serde_json::from_str(&text?).map_err(|error| StreamError {
            items: count,
            failure: StreamFailure::Failed(format!("item {} does not fit: {error}", count + 1)),
        })?;
        count += 1;
        Ok(item)
    }))
}

/// The entry of a schema that marks a stream.
pub(crate) const SCHEMA_MARK: &str = "x-stream";

impl<T: JsonSchema> JsonSchema for Stream<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Stream_of_{}", T::schema_name()).into()
    }

    /// That of a list of the items, with a mark.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Vec::<T>::json_schema(generator);
        schema.insert(SCHEMA_MARK.to_owned(), true.into());
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::streams::StreamKeeper;
    use futures::{FutureExt, stream};
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    #[derive(Clone, Default)]
    struct HasFailed(Arc<AtomicBool>);

    impl StreamKeeper for HasFailed {
        fn stream_failed(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether these items count as failed once they were read.
    fn fails(items: Stream<String>) -> bool {
        let has_failed = HasFailed::default();
        let kept = items.keeping(Some(vec![Box::new(has_failed.clone())]));
        let _ = catch_unwind(AssertUnwindSafe(|| kept.count().now_or_never()));
        has_failed.0.load(Ordering::Relaxed)
    }

    #[test]
    fn a_stream_that_breaks_or_panics_has_failed_and_one_that_is_dropped_has_not() {
        let item = || stream::iter([String::new()]);
        assert!(!fails(Stream::new(item())));
        assert!(!fails(Stream::new(item().chain(stream::pending()))));
        let broken = stream::iter([Ok(String::new()), Err("no paper")]);
        assert!(fails(Stream::fallible(broken)));
        let panicking = stream::poll_fn(|_| std::panic::resume_unwind(Box::new(())));
        assert!(fails(Stream::new(item().chain(panicking))));
    }
}
