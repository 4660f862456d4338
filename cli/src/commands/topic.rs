//! `pyroxene topic`: durable logs from the command line.

use crate::{
    failure::{Exit, Failure, cannot_read, without_answer},
    flags::{COMMAND_TIMEOUT, ClientArguments},
    messages::note,
    nameservers::{ask_nameservers, successful_answers},
    output::{Output, print, print_json, to_json},
    table::table,
    units::duration,
};
use clap::Subcommand;
use futures::StreamExt;
use pyroxene_client::{CallError, Client, Problem, Topic, TopicError};
use pyroxene_common::interfaces::topics::{
    Entries, MAX_ENTRIES, TopicEntry, TopicSummary, TopicsError,
};
use pyroxene_gateway::views::rfc3339;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, IsTerminal},
    pin::pin,
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

/// Append to topics, read and follow them
///
/// A topic is a durable log that every client sees in the same order. The first entry creates it. If
/// authentication is on, only admins and workers may use topics.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct TopicCommandArguments {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    Append(TopicAppendArguments),
    Read(TopicReadArguments),
    Follow(TopicFollowArguments),
    List(TopicListArguments),
}

/// Append an entry, or each line of standard input as an entry
///
/// The entry's sequence number is printed once the entry is on disk. --json prints {"sequence": 1} for each
/// entry.
#[derive(Debug, clap::Args)]
struct TopicAppendArguments {
    /// The topic's name
    topic: String,
    /// The entry; @FILE is the content of a file, and @@x the text @x [default: an entry for each line
    /// of standard input]
    entry: Option<String>,
    /// Two entries of a topic with the same key are one
    #[arg(
        long,
        value_name = "KEY",
        env = "PYROXENE_TOPIC_KEY",
        requires = "entry"
    )]
    key: Option<String>,
    /// How long to try to append each entry
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    client: ClientArguments,
}

/// Print entries of a topic, the oldest first
///
/// An entry is printed unchanged, with a line break after it. --json prints {"sequence": 1, "at": "…",
/// "text": "…"} for each, or "bytes": […] if it is not text.
#[derive(Debug, clap::Args)]
struct TopicReadArguments {
    /// The topic's name
    topic: String,
    /// Only entries after this sequence number
    #[arg(
        long,
        value_name = "N",
        env = "PYROXENE_TOPIC_AFTER",
        default_value_t = 0
    )]
    after: u64,
    /// The largest number of entries to print
    #[arg(long, value_name = "N", env = "PYROXENE_TOPIC_LIMIT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// How long the answer may take
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    client: ClientArguments,
}

/// Print entries of a topic as they arrive, until interrupted
///
/// They are printed as 'read' prints them. While no name server answers, the command waits.
#[derive(Debug, clap::Args)]
struct TopicFollowArguments {
    /// The topic's name
    topic: String,
    /// Begin after this sequence number; 0 is the beginning [default: only new entries]
    #[arg(long, value_name = "N", env = "PYROXENE_TOPIC_AFTER")]
    after: Option<u64>,
    #[command(flatten)]
    client: ClientArguments,
}

/// List the topics
///
/// --json prints [{"name", "first", "head", "bytes", "retention": {"age_ms", "bytes"}}]: the oldest and the
/// newest sequence number that are kept, the size of the entries, and how long they are kept. A retention of
/// null is the name server's default.
#[derive(Debug, clap::Args)]
struct TopicListArguments {
    /// Only names that begin with this
    prefix: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: TopicCommandArguments) -> Result<(), Failure> {
    match arguments.command {
        TopicCommand::Append(append) => append.run().await,
        TopicCommand::Read(read) => read.run().await,
        TopicCommand::Follow(follow) => follow.run().await,
        TopicCommand::List(list) => list.run().await,
    }
}

impl TopicAppendArguments {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.client.client()?;
        match &self.entry {
            Some(entry) => {
                let made_up = || Uuid::now_v7().to_string();
                let key = self.key.clone().unwrap_or_else(made_up);
                self.append(&client, content(entry)?, key).await
            }
            None if io::stdin().is_terminal() => {
                Err(Failure::usage("there is nothing to append").hint(
                    "give an entry, or let another command write lines to this one: … | pyroxene topic append NAME",
                ))
            }
            None => {
                for line in io::stdin().lock().lines() {
                    let line = line.map_err(|error| cannot_read("standard input", &error))?;
                    let key = Uuid::now_v7().to_string();
                    self.append(&client, line.into_bytes(), key).await?;
                }
                Ok(())
            }
        }
    }

    async fn append(&self, client: &Client, body: Vec<u8>, key: String) -> Result<(), Failure> {
        let topic = client.topic(self.topic.as_str());
        let deadline = Instant::now() + self.timeout;
        let appended = topic.append_once(key.clone(), body, self.timeout).await;
        let sequence = appended.map_err(|error| {
            let is_silence = is_silence(&error);
            maybe_appended(error, &key).late_if_silent(is_silence, deadline)
        })?;
        match self.client.json {
            true => print_json(&json!({"sequence": sequence})),
            false => print(&sequence.to_string()),
        }
    }
}

/// The bytes of an entry on the command line.
fn content(entry: &str) -> Result<Vec<u8>, Failure> {
    match entry.strip_prefix('@') {
        Some(text) if text.starts_with('@') => Ok(text.into()),
        Some(path) => fs::read(path).map_err(|error| cannot_read(path, &error)),
        None => Ok(entry.into()),
    }
}

/// The failure to append an entry. If it may have been appended, the hint tells how to repeat it safely by
/// its key.
fn maybe_appended(error: TopicError, key: &str) -> Failure {
    let may_be_there = match &error {
        TopicError::Call(error) => {
            matches!(
                error,
                CallError::MaybeRan(_) | CallError::DeadlineExceeded(_)
            )
        }
        TopicError::Topics { error, .. } => matches!(error, TopicsError::Unavailable { .. }),
        TopicError::Gone { .. } => false,
    };
    let failure = Failure::from(error);
    match may_be_there {
        true => failure
            .with_context("the entry may have been appended")
            .hint(format!(
                "append it again with --key {key}: with the same key it stays one entry"
            )),
        false => failure,
    }
}

impl TopicReadArguments {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.client.client()?;
        let topic = client.topic(self.topic.as_str());
        let (mut after, mut left) = (self.after, self.limit);
        while left > 0 {
            let limit = u32::try_from(left.min(MAX_ENTRIES as u64)).unwrap_or(u32::MAX);
            let page = read(&topic, after, limit, self.timeout).await?;
            if page.first > after.saturating_add(1) && after > 0 {
                note(&format!("entries before {} are kept no longer", page.first));
            }
            let Some(last) = page.entries.last() else {
                break;
            };
            after = last.sequence;
            left = left.saturating_sub(page.entries.len() as u64);
            print_entries(&page.entries, self.client.json)?;
        }
        if after == self.after {
            note(&format!("topic '{}' has no entries there", self.topic));
        }
        Ok(())
    }
}

impl TopicFollowArguments {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.client.client()?;
        let topic = client.topic(self.topic.as_str());
        let after = match self.after {
            Some(after) => after,
            None => {
                let beyond = read(&topic, u64::MAX >> 1, 1, COMMAND_TIMEOUT);
                beyond.await?.head
            }
        };
        let mut entries = pin!(topic.follow(after));
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(entry) => print_entries(&[entry], self.client.json)?,
                Err(error @ TopicError::Gone { .. }) => note(&error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The entries after a sequence number that are there now.
async fn read(
    topic: &Topic,
    after: u64,
    limit: u32,
    timeout: Duration,
) -> Result<Entries, Failure> {
    let deadline = Instant::now() + timeout;
    let page = topic.read(after, limit, Duration::ZERO, timeout).await;
    page.map_err(|error| {
        let is_silence = is_silence(&error);
        Failure::from(error).late_if_silent(is_silence, deadline)
    })
}

/// Whether no name server has answered.
fn is_silence(error: &TopicError) -> bool {
    matches!(error, TopicError::Call(_))
}

fn print_entries(entries: &[TopicEntry], json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    for entry in entries {
        match json {
            true => output.line(&to_json(&entry_json(entry))?)?,
            false => output.bytes(&entry.body.0)?,
        }
    }
    output.flush()
}

/// An entry as `--json` prints it.
fn entry_json(entry: &TopicEntry) -> Value {
    let (sequence, at) = (entry.sequence, rfc3339(entry.at_ms));
    match str::from_utf8(&entry.body.0) {
        Ok(text) => json!({"sequence": sequence, "at": at, "text": text}),
        Err(_) => json!({"sequence": sequence, "at": at, "bytes": entry.body}),
    }
}

impl TopicListArguments {
    async fn run(&self) -> Result<(), Failure> {
        let client = self.client.client()?;
        let prefix = self.prefix.clone().unwrap_or_default();
        let topics = topics(&client, &prefix).await?;
        if self.client.json {
            return print_json(&topics);
        }
        if topics.is_empty() {
            note("there are no such topics");
            return Ok(());
        }
        let rows: Vec<_> = topics.iter().map(row).collect();
        print(&table(["NAME", "FIRST", "NEWEST", "BYTES"], &rows))
    }
}

fn row(topic: &TopicSummary) -> [String; 4] {
    [
        topic.name.clone(),
        topic.first.to_string(),
        topic.head.to_string(),
        topic.bytes.to_string(),
    ]
}

/// The topics whose names start with a prefix, merged from all name servers.
async fn topics(client: &Client, prefix: &str) -> Result<Vec<TopicSummary>, Failure> {
    let mut topics = BTreeMap::new();
    let mut after = String::new();
    loop {
        let answers = ask_nameservers(client, |nameserver, context| {
            let (prefix, after) = (prefix.to_owned(), after.clone());
            async move { nameserver.topics().list(context, prefix, after).await }
        });
        let known = topics.len();
        for (_, page) in successful_answers(answers.await)? {
            let page = page.map_err(topics_failure)?;
            topics.extend(page.into_iter().map(|topic| (topic.name.clone(), topic)));
        }
        let last = topics.keys().next_back();
        match last.filter(|_| topics.len() > known) {
            Some(last) => after.clone_from(last),
            None => return Ok(topics.into_values().collect()),
        }
    }
}

fn topics_failure(error: TopicsError) -> Failure {
    let exit = match &error {
        // As for tasks: it may be mended while the caller waits.
        TopicsError::Unavailable { .. } | TopicsError::Broken { .. } => Exit::Unavailable,
        TopicsError::Invalid { .. } => Exit::Usage,
        TopicsError::Limited { .. } | TopicsError::Denied { .. } => Exit::Refused,
    };
    let is_limited = matches!(error, TopicsError::Limited { .. });
    Failure::new(exit, error.to_string()).hint_at(is_limited.then_some(Problem::LimitReached))
}

/// The failure if no name server could be asked.
fn nobody(error: CallError) -> Failure {
    let last = error.attempts().last();
    let place = last.map_or_else(String::new, |last| format!(": {}", last.endpoint));
    let failure = without_answer(error).with_context(&format!("no name server answers{place}"));
    match failure.hint {
        Some(_) => failure,
        None => failure.hint_at(Some(Problem::NoNameServer)),
    }
}

impl From<TopicError> for Failure {
    fn from(error: TopicError) -> Self {
        let sentence = error.to_string();
        match error {
            TopicError::Call(error @ CallError::Unavailable(_)) => nobody(error),
            TopicError::Call(error) => error.into(),
            TopicError::Topics { error, .. } => Self {
                message: Some(sentence),
                ..topics_failure(error)
            },
            TopicError::Gone { .. } => Self::new(Exit::Failed, sentence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_may_be_there_is_told_with_its_key() {
        let away = || TopicError::Topics {
            topic: "orders".to_owned(),
            error: TopicsError::Unavailable {
                sentence: "gone".to_owned(),
            },
        };
        let failure = maybe_appended(away(), "k1");
        assert_eq!(failure.exit, Exit::Unavailable);
        let sentence = failure.message.unwrap();
        assert!(
            sentence.starts_with("the entry may have been appended: "),
            "{sentence}"
        );
        assert!(failure.hint.unwrap().contains("--key k1"));
        let error = CallError::Unavailable(Box::default());
        let nobody = maybe_appended(error.into(), "k1").hint.unwrap();
        assert!(!nobody.contains("--key"), "{nobody}");
    }

    #[test]
    fn text_is_text_and_bytes_are_bytes() {
        let entry = |body: &[u8]| TopicEntry {
            sequence: 7,
            at_ms: 1_700_000_000_123,
            body: body.to_vec().into(),
        };
        assert_eq!(
            entry_json(&entry("größer".as_bytes())).to_string(),
            r#"{"sequence":7,"at":"2023-11-14T22:13:20.123Z","text":"größer"}"#
        );
        assert_eq!(entry_json(&entry(&[255]))["bytes"], json!([255]));
    }

    #[test]
    fn an_entry_is_a_text_or_the_content_of_a_file() {
        assert_eq!(content("a b"), Ok(b"a b".to_vec()));
        assert_eq!(content("@@home"), Ok(b"@home".to_vec()));
        assert!(content("@/no/such/file").is_err());
    }
}
