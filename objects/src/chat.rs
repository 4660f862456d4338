//! A chat room that any number of workers host.
//!
//! - `log`: the messages. They are one topic of the name servers, of which the newest part is in memory.
//! - `presence`: the members, as the workers that host the room tell each other through the name servers.
//!
//! A worker keeps no state that matters: its death loses nothing.

mod log;
mod presence;
mod rules;

use crate::interfaces::chat::{
    ChatError, MAX_PAGE, MAX_WAIT_MS, MEMBER_TIMEOUT_MS, Message, Received, Sent, Welcome, chat,
};
use log::MessageLog;
use presence::RoomPresence;
use pyroxene_client::Client;
use pyroxene_common::interfaces::presence::topic_of;
use rules::{Speaker, check_id, check_name, check_text};
use std::{sync::Arc, time::Duration};
use tarpc::context::Context;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// How many messages `history` returns by default.
const HISTORY: u32 = 20;

/// A call answers this long before its deadline, or a tenth of the remaining time before it if that is
/// shorter.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// The longest timeout for appending a message.
const MAX_APPEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The object `chat`. None of its methods is heavy. Clones are the same room.
#[derive(Clone, Debug)]
pub struct ChatObject(Arc<ChatInner>);

#[derive(Debug)]
struct ChatInner {
    log: Arc<MessageLog>,
    presence: Arc<RoomPresence>,
    /// Cancelled when the worker begins to drain.
    draining: CancellationToken,
    stop: DropGuard,
}

impl ChatObject {
    /// The room of this name, kept by the name servers of `client`. Must be called within a tokio runtime.
    /// Once `draining` is cancelled, no call waits for messages any more.
    ///
    /// ```
    /// use pyroxene_objects::{ChatObject, interfaces};
    /// use pyroxene_worker::Worker;
    ///
    /// // A second room beside the built-in one. Every worker that hosts "lounge" hosts the same room.
    /// let builder = Worker::builder().host_with(
    ///     "lounge",
    ///     interfaces::chat::Chat,
    ///     |own| ChatObject::new(own.client(), "lounge", own.draining().clone()),
    ///     |_| false,
    /// );
    /// ```
    pub fn new(client: &Client, room: &str, draining: CancellationToken) -> Self {
        let topic = client.topic(topic_of(room));
        Self(Arc::new(ChatInner {
            log: Arc::new(MessageLog::new(topic)),
            presence: Arc::new(RoomPresence::new(client.clone(), room)),
            draining,
            stop: CancellationToken::new().drop_guard(),
        }))
    }

    /// The messages. The first use starts to follow the topic.
    fn log(&self) -> &MessageLog {
        self.0.log.start(self.0.stop.token());
        &self.0.log
    }

    fn presence(&self) -> &RoomPresence {
        self.0.presence.start(self.0.stop.token());
        &self.0.presence
    }

    async fn say(
        &self,
        context: &Context,
        from: String,
        to: Option<String>,
        text: String,
        id: Option<String>,
    ) -> Result<Sent, ChatError> {
        check_name("from", &from)?;
        let speaker = Speaker::current();
        speaker.check(&from)?;
        check_text(&text)?;
        let id = match id {
            Some(id) => check_id("id", id)?,
            None => Uuid::now_v7().to_string(),
        };
        let present = match &to {
            Some(to) => self.presence().is_present(to).await,
            None => true,
        };
        let patience = time_left(context).min(MAX_APPEND_TIMEOUT);
        let said = self
            .log()
            .append(speaker.user(), (from, to), text, &id, patience);
        let sequence = said.await?;
        Ok(Sent { sequence, present })
    }
}

/// How long a call may take so that its answer is in time.
fn time_left(context: &Context) -> Duration {
    let left = context
        .deadline
        .saturating_duration_since(std::time::Instant::now());
    left.saturating_sub(ANSWER_MARGIN.min(left / 10))
}

impl chat::Chat for ChatObject {
    async fn join(
        self,
        context: Context,
        name: String,
        session: Option<String>,
    ) -> Result<Welcome, ChatError> {
        check_name("name", &name)?;
        let speaker = Speaker::current();
        speaker.check(&name)?;
        let session = session.map(|session| check_id("session", session));
        let session = session.transpose()?;
        let head = self.log().head(time_left(&context)).await?;
        let presence = self.presence();
        let session = presence.join(&name, session, speaker.is_known()).await?;
        let members = presence.members().await;
        Ok(Welcome {
            session,
            head,
            members,
        })
    }

    async fn leave(
        self,
        _: Context,
        name: String,
        session: Option<String>,
    ) -> Result<(), ChatError> {
        check_name("name", &name)?;
        Speaker::current().check(&name)?;
        self.presence().leave(&name, session.as_deref()).await;
        Ok(())
    }

    async fn members(self, _: Context) -> Result<Vec<String>, ChatError> {
        Ok(self.presence().members().await)
    }

    async fn broadcast(
        self,
        context: Context,
        from: String,
        text: String,
        id: Option<String>,
    ) -> Result<Sent, ChatError> {
        self.say(&context, from, None, text, id).await
    }

    async fn send(
        self,
        context: Context,
        from: String,
        to: String,
        text: String,
        id: Option<String>,
    ) -> Result<Sent, ChatError> {
        check_name("to", &to)?;
        self.say(&context, from, Some(to), text, id).await
    }

    async fn receive(
        self,
        context: Context,
        name: String,
        after: u64,
        wait_ms: u64,
        session: Option<String>,
    ) -> Result<Received, ChatError> {
        check_name("name", &name)?;
        let speaker = Speaker::current();
        speaker.check(&name)?;
        let known = speaker.is_known();
        let session = session.map(|session| check_id("session", session));
        let session = session.transpose()?;
        let presence = self.presence();
        presence
            .keep_present(&name, session.as_deref(), known)
            .await?;
        let left = time_left(&context);
        let end = Instant::now() + left.min(Duration::from_millis(wait_ms.min(MAX_WAIT_MS)));
        let reading = self.log().receive(&name, after, end, left);
        let received = tokio::select! {
            received = reading => received?,
            // The caller can wait at another worker.
            () = self.0.draining.cancelled() => Received { next: after, ..Received::default() },
        };
        presence
            .keep_present(&name, session.as_deref(), known)
            .await?;
        Ok(received)
    }

    async fn history(
        self,
        context: Context,
        name: String,
        before: Option<u64>,
        limit: Option<u32>,
    ) -> Result<Vec<Message>, ChatError> {
        check_name("name", &name)?;
        Speaker::current().check(&name)?;
        let limit = usize::try_from(limit.unwrap_or(HISTORY)).unwrap_or(MAX_PAGE);
        let (limit, patience) = (limit.min(MAX_PAGE), time_left(&context));
        self.log().history(&name, before, limit, patience).await
    }
}

/// How long a member stays present without a call.
const MEMBER_TIMEOUT: Duration = Duration::from_millis(MEMBER_TIMEOUT_MS);
