//! `/v1/topics`: lists, entries, and following.

use super::{PathParts, answered, json, key_or_new};
use crate::{
    body::JsonText,
    caller::{Principal, context_of, short_context},
    event::ServerEvent,
    extract::Caller,
    problem::{Problem, ProblemKind},
    query::{NoQuery, Query},
    sse::{self, last_event_id},
    state::GatewayState,
    times::millis,
    views::rfc3339,
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{Stream, StreamExt, stream};
use pyroxene_common::interfaces::topics::{Entries, MAX_ENTRIES, NewEntry, TopicEntry};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json as value, value::RawValue};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// How long one question for new entries waits.
const LONG_POLL: Duration = Duration::from_secs(20);

/// How much longer than its wait an answer may take.
const MARGIN: Duration = Duration::from_secs(5);

/// The pause before a name server that cannot answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

const DEFAULT_LIMIT: u32 = 100;

pub(crate) async fn list(Caller(caller): Caller, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["prefix", "after"])?;
    let text = |name| query.text(name).unwrap_or_default().to_owned();
    let service = caller.nameserver()?.topics();
    let listed = service
        .list(short_context(), text("prefix"), text("after"))
        .await;
    json(StatusCode::OK, &answered(listed)??)
}

/// An entry as it is appended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEntryJson<'a> {
    #[serde(default, deserialize_with = "given")]
    text: Option<String>,
    #[serde(borrow, default, deserialize_with = "given")]
    json: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "given")]
    base64: Option<String>,
    #[serde(default)]
    key: Option<String>,
}

/// A value that stands there, also if it is null.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

pub(crate) async fn append(
    Caller(caller): Caller,
    PathParts([topic]): PathParts<1>,
    NoQuery: NoQuery,
    body: JsonText,
) -> Result<Response, Problem> {
    let entry: NewEntryJson<'_> = body.parse()?;
    let content = match (entry.text, entry.json, entry.base64) {
        (Some(text), None, None) => text.into_bytes(),
        (None, Some(json), None) => json.get().as_bytes().to_vec(),
        (None, None, Some(base64)) => STANDARD
            .decode(base64)
            .map_err(|error| Problem::bad_request(format!("base64: {error}")))?,
        _ => {
            let detail = "an entry has exactly one of text, json and base64";
            return Err(Problem::bad_request(detail));
        }
    };
    let entry = NewEntry {
        body: content.into(),
        key: key_or_new(entry.key)?,
        author: None,
    };
    let service = caller.nameserver()?.topics();
    let appended = service.append(context_of(MARGIN), topic, vec![entry]).await;
    let sequence = answered(appended)??.first().copied();
    json(StatusCode::CREATED, &value!({"sequence": sequence}))
}

pub(crate) async fn read(
    Caller(caller): Caller,
    PathParts([topic]): PathParts<1>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["after", "limit"])?;
    let after = after(&query)?.unwrap_or(0);
    let limit = query.parsed::<u32>("limit")?.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit as usize > MAX_ENTRIES {
        let detail = format!("the query parameter 'limit' is not between 1 and {MAX_ENTRIES}");
        return Err(Problem::bad_request(detail));
    }
    let page = page(&caller, &topic, after, limit, Duration::ZERO).await?;
    let entries: Vec<Value> = page.entries.iter().map(entry_json).collect();
    let answer = value!({"first": page.first, "head": page.head, "entries": entries});
    json(StatusCode::OK, &answer)
}

/// The sequence after which entries are read. The greatest one is what the store can hold.
fn after(query: &Query<'_>) -> Result<Option<u64>, Problem> {
    let after = query.parsed::<u64>("after")?;
    match after.is_none_or(|after| i64::try_from(after).is_ok()) {
        true => Ok(after),
        false => Err(Problem::bad_request(
            "the query parameter 'after' is too great",
        )),
    }
}

async fn page(
    caller: &Principal,
    topic: &str,
    after: u64,
    limit: u32,
    wait: Duration,
) -> Result<Entries, Problem> {
    let service = caller.nameserver()?.topics();
    let context = context_of(wait + MARGIN);
    let read = service.read(context, topic.to_owned(), after, limit, millis(wait));
    Ok(answered(read.await)??)
}

/// An entry as `topic read --json` prints it, with bytes that are no text in base64.
pub(crate) fn entry_json(entry: &TopicEntry) -> Value {
    let (sequence, at) = (entry.sequence, rfc3339(entry.at_ms));
    match std::str::from_utf8(entry.body.as_ref()) {
        Ok(text) => value!({"sequence": sequence, "at": at, "text": text}),
        Err(_) => {
            let base64 = STANDARD.encode(entry.body.as_ref());
            value!({"sequence": sequence, "at": at, "base64": base64})
        }
    }
}

pub(crate) async fn events(
    State(gateway): State<GatewayState>,
    Caller(caller): Caller,
    PathParts([topic]): PathParts<1>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["after"])?;
    let seen = last_event_id(&headers).and_then(|id| id.parse().ok());
    let after = match seen.or(after(&query)?) {
        Some(after) => after,
        None => {
            page(&caller, &topic, u64::MAX - 1, 1, Duration::ZERO)
                .await?
                .head
        }
    };
    // The first question shows whether the caller may read the topic.
    page(&caller, &topic, after, 1, Duration::ZERO).await?;
    sse::respond(&gateway, &Arc::clone(&caller), follow(caller, topic, after))
}

/// Every entry after a sequence, including future ones.
fn follow(
    caller: Arc<Principal>,
    topic: String,
    after: u64,
) -> impl Stream<Item = ServerEvent> + Send {
    let pages = stream::unfold(Some(after), move |after| {
        let (caller, topic) = (Arc::clone(&caller), topic.clone());
        async move {
            let after = after?;
            let limit = u32::try_from(MAX_ENTRIES).unwrap_or(u32::MAX);
            match page(&caller, &topic, after, limit, LONG_POLL).await {
                Ok(page) => {
                    let last = page.entries.last().map(|entry| entry.sequence);
                    let next = last.unwrap_or(page.first.saturating_sub(1)).max(after);
                    let is_gone = page.first > after.saturating_add(1);
                    let gone = is_gone.then(|| ServerEvent {
                        id: None,
                        event: "gone",
                        data: value!({"first": page.first}).to_string().into(),
                    });
                    let entries = page.entries.iter().map(|entry| ServerEvent {
                        id: Some(entry.sequence.to_string()),
                        event: "entry",
                        data: entry_json(entry).to_string().into(),
                    });
                    let events: Vec<_> = gone.into_iter().chain(entries).collect();
                    Some((events, Some(next)))
                }
                Err(problem) if may_pass(&problem) => {
                    sleep(PAUSE).await;
                    Some((Vec::new(), Some(after)))
                }
                // The caller may not read it any more.
                Err(_) => None,
            }
        }
    });
    pages.flat_map(stream::iter)
}

/// Whether the same question may be answered later.
pub(crate) fn may_pass(problem: &Problem) -> bool {
    matches!(
        problem.kind,
        ProblemKind::Unavailable
            | ProblemKind::Deadline
            | ProblemKind::MayHaveRun
            | ProblemKind::Limited
    )
}
