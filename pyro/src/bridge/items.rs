//! The streams of a Pyro object as streams of this broker.

use super::{
    pool::ConnectionPool,
    values::{Form, to_json},
};
use crate::{
    PyValue,
    apart::{apart, size_of},
    limits::MAX_BATCH,
};
use futures::{StreamExt, stream};
use pyroxene_common::channel::Stream;
use serde_json::Value;
use std::sync::Arc;

/// A stream of the object's daemon. The daemon is told when it is given up.
struct RemoteItems {
    pool: Arc<ConnectionPool>,
    id: String,
    has_ended: bool,
}

impl RemoteItems {
    /// The next item; `None` after the last one. After an error there is no further one.
    async fn next(&mut self) -> Option<Result<PyValue, String>> {
        if self.has_ended {
            return None;
        }
        let next = self.pool.next_item(&self.id).await;
        self.has_ended = !matches!(next, Ok(Some(_)));
        next.map_err(|error| error.to_string()).transpose()
    }
}

impl Drop for RemoteItems {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let (pool, id) = (Arc::clone(&self.pool), std::mem::take(&mut self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // If that fails, the daemon ends the stream when it has been idle for long.
            runtime.spawn(async move { pool.close_stream(&id).await });
        }
    }
}

/// The items of a stream of the daemon, as JSON texts.
pub(super) fn remote_items(pool: Arc<ConnectionPool>, id: String, form: Form) -> Stream<String> {
    let remote = RemoteItems {
        pool,
        id,
        has_ended: false,
    };
    Stream::fallible(stream::unfold(remote, move |mut remote| async move {
        let text = match remote.next().await? {
            Ok(item) => {
                let (turn, size) = (remote.pool.target().turn_name(), size_of([&item]));
                let written = apart(turn, size, move || form.write(&item)).await;
                written.map_err(|error| error.to_string()).flatten()
            }
            Err(error) => Err(error),
        };
        Some((text, remote))
    }))
}

/// The JSON texts of JSON texts: for a stream whose items are texts in JSON.
pub(super) fn quoted(texts: Stream<String>) -> Stream<String> {
    Stream::fallible(texts.map(|text| {
        let quote = |text| Value::String(text).to_string();
        text.map(quote).map_err(|broken| broken.failure)
    }))
}

/// The items of a list, as JSON texts: for a caller that wants a stream.
pub(super) fn listed_items(list: Vec<PyValue>) -> Stream<String> {
    Stream::fallible(stream::iter(list).map(|item| to_json(&item)))
}

/// All items of a stream of the daemon as a list: for a caller that wants no stream.
pub(super) async fn collected(pool: Arc<ConnectionPool>, id: String) -> Result<PyValue, String> {
    let mut remote = RemoteItems {
        pool,
        id,
        has_ended: false,
    };
    let mut items = Vec::new();
    while let Some(item) = remote.next().await {
        items.push(item?);
        if items.len() == MAX_BATCH {
            return Err(format!(
                "it answers a stream of more than {MAX_BATCH} items: call it as one"
            ));
        }
    }
    Ok(PyValue::List(items))
}
