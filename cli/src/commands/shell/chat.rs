//! The shell as a member of the chat.

use super::screen::ShellScreen;
use crate::{
    commands::chat::{ChatRoom, OBJECT, message_json, message_line, tell_comings, time_of_day},
    failure::Failure,
    messages::note,
    nameservers::explain_unavailable,
    objects::with_wait_reported,
    output::to_json,
};
use pyroxene_client::Client;
use pyroxene_objects::interfaces::chat::{Chat, Message, Sent};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The default number of earlier messages to show.
const HISTORY: u32 = 20;

/// A sequence number after that of every message.
const LAST_SEQUENCE: u64 = i64::MAX as u64;

/// A member of the chat. Messages are shown until it is dropped.
pub(super) struct ChatMembership {
    room: Arc<ChatRoom>,
    json: bool,
    listening: JoinHandle<()>,
}

impl Drop for ChatMembership {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl ChatMembership {
    /// Joins, and shows messages from then on.
    pub(super) async fn join(
        client: &Client,
        name: &str,
        screen: &Arc<ShellScreen>,
        json: bool,
    ) -> Result<Self, Failure> {
        // Fails at once if no worker hosts the chat; later calls wait for a worker.
        let found = client.proxy::<Chat>(OBJECT);
        if let Err(error) = with_wait_reported(client, OBJECT, note, found).await {
            return Err(explain_unavailable(client, OBJECT, error.into()).await);
        }
        let chat = client.weak_object::<Chat>(OBJECT);
        let (room, welcome) = ChatRoom::enter(chat, name.to_owned()).await?;
        let room = Arc::new(room);
        let listener = MessageListener {
            room: Arc::clone(&room),
            name: name.to_owned(),
            screen: Arc::clone(screen),
            json,
        };
        let listening = tokio::spawn(async move {
            let screen = Arc::clone(&listener.screen);
            let tell = move |sentence: String| {
                let screen = Arc::clone(&screen);
                async move { screen.announce(&format!("-- {sentence}")).await }
            };
            tokio::select! {
                () = listener.listen(welcome.head) => {}
                never = tell_comings(&listener.room, welcome.members, tell),
                    if listener.screen.is_terminal() => match never {},
            }
        });
        Ok(Self {
            room,
            json,
            listening,
        })
    }

    /// Leaves the chat.
    pub(super) async fn leave(self) {
        self.room.leave().await;
    }

    pub(super) async fn members(&self) -> Result<Vec<String>, Failure> {
        self.room.members().await
    }

    /// The names of all members of whom this one has heard.
    pub(super) fn names(&self) -> Vec<String> {
        self.room.names()
    }

    /// Sends a message to all or to one member.
    pub(super) async fn say(&self, to: Option<&str>, text: &str) -> Result<Sent, Failure> {
        self.room.say(to, text).await
    }

    /// The last messages, with one line for each.
    pub(super) async fn history(&self, count: Option<u32>) -> Result<Vec<String>, Failure> {
        let messages = self
            .room
            .history(LAST_SEQUENCE, count.unwrap_or(HISTORY))
            .await?;
        let shown = messages
            .iter()
            .map(|message| formatted_message(message, self.json));
        shown.collect()
    }
}

/// A message as `pyroxene chat` shows it.
fn formatted_message(message: &Message, json: bool) -> Result<String, Failure> {
    match json {
        true => to_json(&message_json(message)),
        false => Ok(message_line(message, &time_of_day(message.at_ms))),
    }
}

/// Shows messages as they arrive.
struct MessageListener {
    room: Arc<ChatRoom>,
    name: String,
    screen: Arc<ShellScreen>,
    json: bool,
}

impl MessageListener {
    async fn listen(&self, mut after: u64) {
        loop {
            let away = || self.note("the chat is unavailable; waiting".to_owned());
            match self.room.receive(after, away).await {
                Ok(received) => {
                    after = received.next;
                    // The messages of this member are on the screen already.
                    let messages = received.messages.iter();
                    for message in messages.filter(|message| message.from != self.name) {
                        if let Ok(line) = formatted_message(message, self.json) {
                            self.screen.announce(&line).await;
                        }
                    }
                }
                Err(failure) => {
                    let sentence = failure.message.unwrap_or_default();
                    return self.note(format!("the chat has ended: {sentence}"));
                }
            }
        }
    }

    /// Shows a note about the chat itself. With --json only messages are shown.
    fn note(&self, sentence: String) {
        if !self.json {
            let screen = Arc::clone(&self.screen);
            tokio::spawn(async move { screen.announce(&format!("-- {sentence}")).await });
        }
    }
}
