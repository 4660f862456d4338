//! Calls of methods with streams. The items of an answer leave as they come, each on a line or as an event; those
//! of a parameter are in the body, as a list.

use super::{
    integers::{normalised, with_integers},
    json_text,
};
use crate::{
    accept,
    body::JsonText,
    caller::Principal,
    event::ServerEvent,
    problem::{Problem, ProblemKind},
    sse::{self, KEEP_ALIVE},
    state::GatewayState,
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use bytes::Bytes;
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, ReadyChunks},
};
use pyroxene_client::{DynamicObject, Response};
use pyroxene_common::{
    Stream,
    channel::StreamError,
    interface::{Description, MethodDescription},
    interfaces::invoke::InvokeStream,
};
use serde_json::{json, value::RawValue};
use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};
use tarpc::context;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// How many items that are ready leave together.
const ITEMS_AT_ONCE: usize = 256;

/// How the items of an answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemFormat {
    /// `application/x-ndjson`: the lines of `pyroxene call --json`.
    Lines,
    /// `text/event-stream`.
    Events,
}

impl ItemFormat {
    /// Events for those who ask for them, lines for all others.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        match accept::names(headers, header::ACCEPT, "text/event-stream") {
            true => Self::Events,
            false => Self::Lines,
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        })
    }

    /// An item that a worker sent. `None` if it is not JSON.
    fn item(self, item: &str) -> Option<Bytes> {
        let item: &RawValue = serde_json::from_str(item).ok()?;
        // Line breaks end a line and a field of an event. In JSON they stand only between tokens.
        let item = item.get().replace(['\n', '\r'], " ");
        Some(match self {
            Self::Lines => format!("{{\"item\":{item}}}\n").into(),
            Self::Events => event("item", &item),
        })
    }

    /// The end of a complete answer.
    fn done(self, items: u64, worker: &str) -> Bytes {
        match self {
            Self::Lines => {
                let done = json!({"done": true, "items": items, "worker": worker});
                format!("{done}\n").into()
            }
            Self::Events => event(
                "done",
                &json!({"items": items, "worker": worker}).to_string(),
            ),
        }
    }

    /// The end of an answer that broke.
    fn broken(self, problem: &Problem, items: u64) -> Bytes {
        let broken = json!({"error": problem.body(), "items": items}).to_string();
        match self {
            Self::Lines => format!("{broken}\n").into(),
            Self::Events => event("problem", &broken),
        }
    }
}

fn event(event: &'static str, data: &str) -> Bytes {
    let (id, data) = (None, data.into());
    ServerEvent { id, event, data }.write()
}

/// Makes a call. `arguments` is the text of an object, in which a parameter that is a stream is the list of its
/// items. `body` keeps its memory while items of it are left.
pub(super) async fn call(
    object: &DynamicObject,
    context: context::Context,
    method: &MethodDescription,
    arguments: &str,
    body: &Arc<JsonText>,
) -> Result<Response<InvokeStream>, Problem> {
    let (plain, lists) = separated(object.description(), method, arguments)?;
    let make = |plain| {
        let inputs = lists.iter().map(|list| {
            let (items, body) = (list.items(), Arc::clone(body));
            Stream::new(stream::iter(items.inspect(move |_| {
                let _kept = &body;
            })))
        });
        object.stream(context, &method.name, plain, inputs.collect())
    };
    Ok(with_integers(&plain, make).await?)
}

/// The list of the items of a parameter, as it was sent.
#[derive(Clone, Debug)]
struct ItemList {
    /// The text of a JSON array.
    text: Arc<str>,
    are_integers: bool,
}

impl ItemList {
    /// The items, each read when it is needed: a list has many more items than bytes of memory for them.
    fn items(&self) -> impl Iterator<Item = String> + Send + 'static {
        let list = self.clone();
        // Behind the bracket.
        let mut at = 1;
        std::iter::from_fn(move || {
            let rest = list.text.get(at..)?;
            let rest = rest.trim_start_matches(|one: char| one == ',' || one.is_ascii_whitespace());
            let mut items = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
            // The bracket at the end is no value.
            let item = items.next()?.ok()?.get();
            at = list.text.len() - rest.len() + items.byte_offset();
            Some(match list.are_integers {
                true => normalised(item).into_owned(),
                false => item.to_owned(),
            })
        })
    }
}

/// The arguments, with a number in the place of each stream, and the items of the streams in that order.
fn separated(
    description: &Description,
    method: &MethodDescription,
    arguments: &str,
) -> Result<(String, Vec<ItemList>), Problem> {
    let bad = |error: serde_json::Error| Problem::bad_request(error.to_string());
    let mut plain: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(arguments).map_err(bad)?;
    let mut lists = Vec::new();
    let parameters = method.parameters.iter();
    for parameter in parameters.filter(|parameter| parameter.is_stream()) {
        let name = &parameter.name;
        let given = plain.get(name).map(|given| given.get());
        let given = given.filter(|given| given.starts_with('['));
        let text = given.ok_or_else(|| {
            let detail = format!("argument '{name}' is a stream: give the list of its items");
            Problem::bad_request(detail)
        })?;
        let schema = parameter.schema.get("items");
        let are_integers = schema
            .and_then(|schema| description.resolve(schema).get("type"))
            .is_some_and(|kind| kind == "integer");
        let text = text.into();
        let number = serde_json::value::to_raw_value(&lists.len()).map_err(bad)?;
        lists.push(ItemList { text, are_integers });
        plain.insert(name.clone(), number);
    }
    Ok((serde_json::to_string(&plain).map_err(bad)?, lists))
}

/// The response with the answer. The call is cancelled if the client goes, because then its body is dropped. `slot`
/// is the place of an answer that is a stream.
pub(super) fn respond(
    gateway: &GatewayState,
    caller: &Arc<Principal>,
    format: ItemFormat,
    slot: Option<OwnedSemaphorePermit>,
    streams: InvokeStream,
    worker: &str,
) -> axum::response::Response {
    let Some(items) = streams.items else {
        let answer = streams.answer.unwrap_or_else(|| "null".to_owned());
        return json_text(StatusCode::OK, answer);
    };
    let body = StreamedBody {
        format,
        chunks: items.ready_chunks(ITEMS_AT_ONCE),
        ended: Box::pin(sse::ended(gateway, caller)),
        worker: worker.to_owned(),
        items: 0,
        _slot: slot,
    };
    let chunks = stream::unfold(Some(body), |body| async move {
        let (chunk, rest) = body?.next().await;
        Some((Ok::<_, Infallible>(chunk), rest))
    });
    let mut response = axum::response::Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.content_type());
    sse::disable_buffering(headers);
    response
}

/// The items of an answer that are still to be sent.
struct StreamedBody {
    format: ItemFormat,
    chunks: ReadyChunks<Stream<String>>,
    /// Ready when the answer has to end early.
    ended: BoxFuture<'static, &'static str>,
    worker: String,
    /// How many items were sent.
    items: u64,
    _slot: Option<OwnedSemaphorePermit>,
}

impl StreamedBody {
    /// The next bytes, and what is left.
    async fn next(mut self) -> (Bytes, Option<Self>) {
        let quiet = match self.format {
            // A reader of lines may take an empty one amiss.
            ItemFormat::Lines => Duration::MAX,
            ItemFormat::Events => KEEP_ALIVE,
        };
        let items = tokio::select! {
            biased;
            reason = &mut self.ended => {
                let problem = Problem::new(ProblemKind::MayHaveRun, reason);
                return (self.format.broken(&problem, self.items), None);
            }
            items = timeout(quiet, self.chunks.next()) => items,
        };
        match items {
            Ok(Some(items)) => self.write(items),
            Ok(None) => (self.format.done(self.items, &self.worker), None),
            Err(_) => (sse::still_here(), Some(self)),
        }
    }

    fn write(mut self, items: Vec<Result<String, StreamError>>) -> (Bytes, Option<Self>) {
        let mut chunk = Vec::new();
        for item in items {
            let problem = match item {
                Ok(item) => match self.format.item(&item) {
                    Some(item) => {
                        self.items += 1;
                        chunk.extend_from_slice(&item);
                        continue;
                    }
                    None => Problem::internal("an item of the answer is no JSON"),
                },
                Err(error) => error.into(),
            };
            chunk.extend_from_slice(&self.format.broken(&problem, self.items));
            return (chunk.into(), None);
        }
        (chunk.into(), Some(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::{interface::Interface, interfaces::topics::Topics};

    fn method() -> MethodDescription {
        let items = json!({"type": "array", "items": {"type": "integer"}, "x-stream": true});
        let described = json!({
            "name": "collect", "doc": "", "repeatable": false, "fallible": false, "result": {},
            "parameters": [
                {"name": "note", "schema": {"type": "string"}},
                {"name": "items", "schema": items},
            ],
        });
        serde_json::from_value(described).unwrap()
    }

    #[test]
    fn the_items_of_a_parameter_are_a_list_in_its_place() {
        let description = Topics::describe();
        let read = |text| separated(&description, &method(), text);
        let (plain, items) = read(r#"{"items": [1, 2.0, 3e2], "note": "5.0"}"#).unwrap();
        assert_eq!(plain, r#"{"items":0,"note":"5.0"}"#);
        let items: Vec<String> = items[0].items().collect();
        assert_eq!(items, ["1", "2", "300"]);
        for text in ["{}", r#"{"items": 3}"#] {
            let problem = read(text).unwrap_err();
            assert_eq!(problem.kind, ProblemKind::BadRequest);
            assert!(
                problem.detail.contains("'items' is a stream"),
                "{problem:?}"
            );
        }
    }

    #[test]
    fn the_items_of_a_list_are_read_one_by_one() {
        let items = |text: &str| {
            let (text, are_integers) = (text.into(), false);
            ItemList { text, are_integers }.items().collect::<Vec<_>>()
        };
        assert_eq!(items("[]"), [""; 0]);
        assert_eq!(items("[ ]"), [""; 0]);
        let several = "[1.50 ,\n\"a,]\", [2, [3]], {\"b\": null} , true]";
        assert_eq!(
            items(several),
            ["1.50", "\"a,]\"", "[2, [3]]", "{\"b\": null}", "true"]
        );
    }

    #[test]
    fn an_item_of_a_worker_cannot_leave_its_line() {
        let forged = "1\n{\"done\":true}";
        let spread = "{\n  \"a\": \"b\\n\"\r\n}";
        for format in [ItemFormat::Lines, ItemFormat::Events] {
            assert_eq!(format.item(forged), None);
            let item = format.item(spread).unwrap();
            let expected = "{   \"a\": \"b\\n\"  }";
            let expected = match format {
                ItemFormat::Lines => format!("{{\"item\":{expected}}}\n"),
                ItemFormat::Events => format!("event: item\ndata: {expected}\n\n"),
            };
            assert_eq!(item, expected);
        }
    }

    #[test]
    fn events_are_for_those_who_ask_for_them() {
        let format = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            ItemFormat::accepted(&headers)
        };
        assert_eq!(format("*/*"), ItemFormat::Lines);
        assert_eq!(
            format("text/html, Text/Event-Stream;q=0.9"),
            ItemFormat::Events
        );
        assert_eq!(ItemFormat::accepted(&HeaderMap::new()), ItemFormat::Lines);
    }
}
