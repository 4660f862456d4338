//! The chat room: every acknowledged message is there once, in one order.

use super::{LoadContext, RECOVERY};
use crate::{broker::CampaignBroker, harness::within};
use pyroxene_client::{Client, Proxy};
use pyroxene_objects::interfaces::chat::{Chat, ChatError, chat::ChatClient};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::task::AbortOnDropHandle;

const SPEAKER: &str = "ana";
const LISTENER: &str = "bob";

pub(super) struct ChatLoad {
    speaking: JoinHandle<BTreeMap<u64, String>>,
    _listening: AbortOnDropHandle<()>,
}

impl ChatLoad {
    pub(super) async fn start(context: &LoadContext, stage: &CampaignBroker) -> Self {
        let room = stage.client().await.object::<Chat>("chat").await.unwrap();
        let speaking = tokio::spawn(speak(context.clone(), room));
        let room = stage.client().await.object::<Chat>("chat").await.unwrap();
        let listening = AbortOnDropHandle::new(tokio::spawn(listen(context.clone(), room)));
        Self {
            speaking,
            _listening: listening,
        }
    }

    pub(super) async fn finish(self, context: &LoadContext, client: &Client) {
        let verdict = &context.verdict;
        let acknowledged = self.speaking.await.unwrap();
        let room = client.object::<Chat>("chat").await.unwrap();
        let mut there: BTreeMap<u64, String> = BTreeMap::new();
        let begun = Instant::now();
        loop {
            let after = there.keys().next_back().copied().unwrap_or(0);
            let received = receive(&room, LISTENER, after, 0).await;
            match received {
                Ok((messages, _)) if messages.is_empty() => break,
                Ok((messages, _)) => there.extend(messages),
                Err(error) if begun.elapsed() > RECOVERY => {
                    return verdict.violation(format!("the room cannot be read: {error}"));
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
        for (sequence, text) in &acknowledged {
            if there.get(sequence) != Some(text) {
                let found = there.get(sequence);
                verdict.violation(format!(
                    "'{text}' was said as {sequence}, where {found:?} is"
                ));
            }
        }
        let mut texts: Vec<&String> = there.values().collect();
        texts.sort_unstable();
        texts.dedup();
        if texts.len() < there.len() {
            verdict.violation(format!(
                "{} messages are there twice",
                there.len() - texts.len()
            ));
        }
    }
}

/// Sends one message after the other, and repeats each until it is acknowledged.
async fn speak(context: LoadContext, room: ChatClient<Proxy<Chat>>) -> BTreeMap<u64, String> {
    let mut acknowledged = BTreeMap::new();
    for number in 0.. {
        if !context.goes_on() {
            break;
        }
        let (text, begun) = (format!("message {number}"), Instant::now());
        loop {
            let (from, id) = (SPEAKER.to_owned(), Some(format!("id {number}")));
            let said = room.broadcast(within(Duration::from_secs(10)), from, text.clone(), id);
            match said.await {
                Ok(Ok(sent)) => {
                    context.verdict.count("messages said");
                    let last = acknowledged.keys().next_back().copied().unwrap_or(0);
                    if sent.sequence <= last {
                        let sequence = sent.sequence;
                        let what = format!("'{text}' is {sequence}, but the one before it {last}");
                        context.verdict.violation(what);
                    }
                    acknowledged.insert(sent.sequence, text);
                    break;
                }
                Ok(Err(error)) if begun.elapsed() > RECOVERY && !context.goes_on() => {
                    let what = format!("'{text}' cannot be said: {error}");
                    context.verdict.violation(what);
                    return acknowledged;
                }
                _ => sleep(Duration::from_millis(100)).await,
            }
        }
        context.pause(200).await;
    }
    acknowledged
}

/// Receives all messages, and checks their order.
async fn listen(context: LoadContext, room: ChatClient<Proxy<Chat>>) {
    let mut last = 0;
    loop {
        match receive(&room, LISTENER, last, 2_000).await {
            Ok((messages, next)) => {
                for (sequence, _) in messages {
                    if sequence <= last {
                        let what = format!("message {sequence} was heard after {last}");
                        context.verdict.violation(what);
                    }
                    last = sequence;
                }
                last = last.max(next);
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

type Page = (Vec<(u64, String)>, u64);

async fn receive(
    room: &ChatClient<Proxy<Chat>>,
    name: &str,
    after: u64,
    wait_ms: u64,
) -> Result<Page, String> {
    let context = within(Duration::from_secs(10));
    let received = room
        .receive(context, name.to_owned(), after, wait_ms, None)
        .await;
    let received = received.map_err(|error| error.to_string())?;
    let received = received.map_err(|error: ChatError| error.to_string())?;
    let messages = received.messages.into_iter();
    let messages = messages.map(|message| (message.sequence, message.text));
    Ok((messages.collect(), received.next))
}
