//! Topics: every acknowledged entry is there once, and followers see the entries in order.

use super::{LoadContext, RECOVERY};
use crate::broker::CampaignBroker;
use futures::StreamExt;
use pyroxene_client::{Client, Topic, TopicError};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

const TOPIC: &str = "news";

/// Longer than any fault.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Topics {
    appenders: JoinSet<BTreeMap<u64, String>>,
    follower: tokio::task::JoinHandle<()>,
}

impl Topics {
    pub(super) async fn start(context: &LoadContext, stage: &CampaignBroker) -> Self {
        let mut appenders = JoinSet::new();
        for appender in 0..2 {
            let topic = stage.client().await.topic(TOPIC);
            let context = context.clone();
            appenders.spawn(async move {
                let mut acknowledged = BTreeMap::new();
                for number in 0.. {
                    if !context.goes_on() {
                        break;
                    }
                    let body = format!("{appender}/{number}");
                    match append(&topic, &body).await {
                        Ok(sequence) => {
                            context.verdict.count("entries appended");
                            acknowledged.insert(sequence, body);
                        }
                        Err(error) => context
                            .verdict
                            .violation(format!("{body} was not appended in {PATIENCE:?}: {error}")),
                    }
                    context.pause(150).await;
                }
                acknowledged
            });
        }
        let topic = stage.client().await.topic(TOPIC);
        let verdict = context.verdict.clone();
        let follower = tokio::spawn(async move {
            let mut entries = Box::pin(topic.follow(0));
            let mut last = 0;
            while let Some(entry) = entries.next().await {
                match entry {
                    Ok(entry) if entry.sequence == last + 1 => last = entry.sequence,
                    Ok(entry) => {
                        let sequence = entry.sequence;
                        verdict.violation(format!("entry {sequence} was followed by {last}"));
                        last = sequence;
                    }
                    Err(error) => verdict.violation(format!("a follower was told {error}")),
                }
            }
        });
        Self {
            appenders,
            follower,
        }
    }

    pub(super) async fn finish(mut self, context: &LoadContext, client: &Client) {
        let verdict = &context.verdict;
        let mut acknowledged = BTreeMap::new();
        while let Some(ended) = self.appenders.join_next().await {
            acknowledged.extend(ended.unwrap());
        }
        let topic = client.topic(TOPIC);
        let mut there: BTreeMap<u64, String> = BTreeMap::new();
        let reading = async {
            loop {
                let after = there.keys().next_back().copied().unwrap_or(0);
                let page = topic
                    .read(after, 1000, Duration::ZERO, PATIENCE)
                    .await
                    .unwrap();
                if page.entries.is_empty() {
                    return;
                }
                for entry in page.entries {
                    let body = String::from_utf8(entry.body.0.to_vec()).unwrap();
                    there.insert(entry.sequence, body);
                }
            }
        };
        if timeout(RECOVERY, reading).await.is_err() {
            return verdict.violation("the topic cannot be read".to_owned());
        }
        for (sequence, body) in &acknowledged {
            if there.get(sequence) != Some(body) {
                let found = there.get(sequence);
                verdict.violation(format!(
                    "{body} was appended as {sequence}, where {found:?} is"
                ));
            }
        }
        let mut bodies: Vec<&String> = there.values().collect();
        bodies.sort_unstable();
        bodies.dedup();
        if bodies.len() < there.len() {
            verdict.violation(format!(
                "{} entries are there twice",
                there.len() - bodies.len()
            ));
        }
        if self.follower.is_finished() {
            verdict.violation("the follower has ended".to_owned());
        }
        self.follower.abort();
    }
}

/// Appends an entry, and repeats that until it is acknowledged. A full store answers at once, and has room
/// again later.
async fn append(topic: &Topic, body: &str) -> Result<u64, TopicError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let appended = topic.append_once(body, body.as_bytes().to_vec(), PATIENCE);
        match appended.await {
            Err(_) if Instant::now() < end => sleep(Duration::from_millis(100)).await,
            done => return done,
        }
    }
}
