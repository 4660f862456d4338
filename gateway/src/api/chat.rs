//! `GET /v1/chat/events`: the messages of a chat room as they come, and who is there.

use crate::{
    api::topics::may_pass,
    caller::{Principal, context_of},
    event::ServerEvent,
    extract::Caller,
    problem::Problem,
    query::Query,
    sse::{self, last_event_id},
    state::GatewayState,
};
use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use futures::{Stream, StreamExt, stream};
use pyroxene_client::Policy;
use serde::Deserialize;
use serde_json::{Value, json as value, value::RawValue};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::sleep;

/// The object of the room, if none is named.
const ROOM: &str = "chat";

/// How long one question for messages waits. Members are looked at as often.
const WAIT: Duration = Duration::from_secs(2);

const MARGIN: Duration = Duration::from_secs(8);

const PAUSE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Received<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    next: u64,
}

#[derive(Deserialize)]
struct Numbered {
    sequence: u64,
}

/// A member that follows a room.
struct Listener {
    caller: Arc<Principal>,
    room: String,
    name: String,
    session: Option<String>,
    after: u64,
    members: Option<String>,
    pending: VecDeque<ServerEvent>,
}

pub(crate) async fn events(
    State(gateway): State<GatewayState>,
    Caller(caller): Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["name", "session", "after", "room"])?;
    let name = query.text("name");
    let name = name.ok_or_else(|| Problem::bad_request("the query parameter 'name' is missing"))?;
    let mut listener = Listener {
        caller,
        room: query.text("room").unwrap_or(ROOM).to_owned(),
        name: name.to_owned(),
        session: query.text("session").map(str::to_owned),
        after: 0,
        members: None,
        pending: VecDeque::new(),
    };
    let seen = last_event_id(&headers).and_then(|id| id.parse().ok());
    listener.after = match seen.or(query.parsed("after")?) {
        Some(after) => after,
        None => listener.newest().await?,
    };
    // The first questions show whether the caller may read the room under this name.
    listener.look(Duration::ZERO).await?;
    sse::respond(&gateway, &Arc::clone(&listener.caller), listener.follow())
}

impl Listener {
    async fn ask(
        &self,
        method: &str,
        arguments: Value,
        timeout: Duration,
    ) -> Result<String, Problem> {
        let context = context_of(timeout);
        let object = self
            .caller
            .object(&self.room, Policy::default(), context)
            .await?;
        let answered = object.call(context, method, &arguments).await?;
        Ok(answered.response)
    }

    /// The sequence of the newest message.
    async fn newest(&self) -> Result<u64, Problem> {
        let arguments = value!({"name": self.name, "before": null, "limit": 1});
        let answer = self.ask("history", arguments, MARGIN).await?;
        let messages: Vec<Numbered> = read(&answer)?;
        Ok(messages.last().map_or(0, |message| message.sequence))
    }

    /// Takes the members, if they have changed, and new messages.
    async fn look(&mut self, wait: Duration) -> Result<(), Problem> {
        let members = self.ask("members", value!({}), MARGIN).await?;
        if self.members.as_ref() != Some(&members) {
            self.pending.push_back(ServerEvent {
                id: None,
                event: "members",
                data: members.as_str().into(),
            });
            self.members = Some(members);
        }
        let arguments = value!({
            "name": self.name,
            "after": self.after,
            "wait_ms": crate::times::millis(wait),
            "session": self.session,
        });
        let answer = self.ask("receive", arguments, wait + MARGIN).await?;
        let received: Received<'_> = read(&answer)?;
        for message in received.messages {
            let Numbered { sequence } = read(message.get())?;
            self.pending.push_back(ServerEvent {
                id: Some(sequence.to_string()),
                event: "message",
                data: message.get().into(),
            });
        }
        self.after = received.next;
        Ok(())
    }

    fn follow(self) -> impl Stream<Item = ServerEvent> + Send {
        let events = stream::unfold(Some(self), |listener| async move {
            let mut listener = listener?;
            let wait = match listener.pending.is_empty() {
                true => WAIT,
                false => Duration::ZERO,
            };
            if !wait.is_zero() {
                match listener.look(wait).await {
                    Ok(()) => {}
                    Err(problem) if may_pass(&problem) => sleep(PAUSE).await,
                    Err(_) => return None,
                }
            }
            let pending: Vec<_> = listener.pending.drain(..).collect();
            Some((pending, Some(listener)))
        });
        events.flat_map(stream::iter)
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    let read = serde_json::from_str(text);
    read.map_err(|error| Problem::internal(format!("the room's answer cannot be read: {error}")))
}
