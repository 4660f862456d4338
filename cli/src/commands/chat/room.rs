//! The chat room. Calls that are safe to repeat are retried.

use crate::failure::{Exit, Failure};
use pyroxene_client::{Backoff, CallError, Proxy, context_within};
use pyroxene_objects::interfaces::chat::{
    Chat, ChatError, MAX_WAIT_MS, Message, Received, Sent, Welcome, chat::ChatClient,
};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(12);

/// How long a call is retried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// After this time without an answer the user is told that the room is unavailable.
const AWAY_NOTICE_DELAY: Duration = Duration::from_secs(3);

/// How long to wait for the room to confirm that this member leaves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one request for the members may take.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(2);

const RETRY_BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// The room, as one member uses it.
pub(crate) struct ChatRoom {
    chat: ChatClient<Proxy<Chat>>,
    name: String,
    session: String,
    /// The names of all members of whom this one has heard. Those who left are among them: a message to them is
    /// private too.
    names: Mutex<BTreeSet<String>>,
}

impl ChatRoom {
    /// Joins the room.
    pub(crate) async fn enter(
        chat: ChatClient<Proxy<Chat>>,
        name: String,
    ) -> Result<(Self, Welcome), Failure> {
        let own = Uuid::new_v4().to_string();
        let joining = retry_until_timeout(|| {
            let (name, own) = (name.clone(), own.clone());
            chat.join(context_within(ATTEMPT_TIMEOUT), name, Some(own))
        });
        let welcome = joining.await?;
        let session = welcome.session.clone();
        let room = Self {
            chat,
            name,
            session,
            names: Mutex::new(welcome.members.iter().cloned().collect()),
        };
        Ok((room, welcome))
    }

    pub(crate) async fn history(&self, before: u64, limit: u32) -> Result<Vec<Message>, Failure> {
        let messages = retry_until_timeout(|| {
            let name = self.name.clone();
            self.chat.history(
                context_within(ATTEMPT_TIMEOUT),
                name,
                Some(before),
                Some(limit),
            )
        })
        .await?;
        self.learn(messages.iter().map(|message| &message.from));
        Ok(messages)
    }

    pub(crate) async fn members(&self) -> Result<Vec<String>, Failure> {
        let members =
            retry_until_timeout(|| self.chat.members(context_within(ATTEMPT_TIMEOUT))).await?;
        self.learn(&members);
        Ok(members)
    }

    /// The names of all members of whom this one has heard.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().cloned().collect()
    }

    fn learn<'n>(&self, heard: impl IntoIterator<Item = &'n String>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for name in heard {
            if !names.contains(name) {
                names.insert(name.clone());
            }
        }
    }

    /// The members, from a single attempt; `None` if it fails.
    pub(super) async fn current_members(&self) -> Option<Vec<String>> {
        let members = self.chat.members(context_within(MEMBERS_TIMEOUT)).await;
        let members = members.ok()?.ok()?;
        self.learn(&members);
        Some(members)
    }

    /// Sends a message. Retries do not send it twice.
    pub(crate) async fn say(&self, to: Option<&str>, text: &str) -> Result<Sent, Failure> {
        let id = Uuid::now_v7().to_string();
        retry_until_timeout(|| {
            let (from, text, id) = (self.name.clone(), text.to_owned(), Some(id.clone()));
            let to = to.map(str::to_owned);
            async move {
                match to {
                    None => {
                        self.chat
                            .broadcast(context_within(ATTEMPT_TIMEOUT), from, text, id)
                            .await
                    }
                    Some(to) => {
                        self.chat
                            .send(context_within(ATTEMPT_TIMEOUT), from, to, text, id)
                            .await
                    }
                }
            }
        })
        .await
    }

    /// Waits without limit for messages after a sequence number. Calls `away` if the room cannot be reached.
    pub(crate) async fn receive(&self, after: u64, away: impl Fn()) -> Result<Received, Failure> {
        let (mut failures, mut since, mut told) = (0, None, false);
        loop {
            let (name, session) = (self.name.clone(), Some(self.session.clone()));
            let context = context_within(Duration::from_millis(MAX_WAIT_MS) + ATTEMPT_TIMEOUT);
            let receiving = self
                .chat
                .receive(context, name, after, MAX_WAIT_MS, session);
            match classify(receiving.await) {
                Ok(received) => {
                    self.learn(received.messages.iter().map(|message| &message.from));
                    return Ok(received);
                }
                Err(ChatFailure::Final(failure)) => return Err(failure),
                Err(ChatFailure::Transient(_)) => {}
            }
            let since = *since.get_or_insert_with(Instant::now);
            if since.elapsed() > AWAY_NOTICE_DELAY && !told {
                told = true;
                away();
            }
            sleep(RETRY_BACKOFF.wait(failures, jitter())).await;
            failures += 1;
        }
    }

    /// Leaves the room. If the call fails, the room notices later.
    pub(crate) async fn leave(&self) {
        let (name, session) = (self.name.clone(), Some(self.session.clone()));
        let _ = self
            .chat
            .leave(context_within(LEAVE_TIMEOUT), name, session)
            .await;
    }
}

/// A random number from 0 to 1, for the jitter of retries.
fn jitter() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// How a call failed.
enum ChatFailure {
    /// It may succeed a little later.
    Transient(Failure),
    Final(Failure),
}

fn classify<T>(answered: Result<Result<T, ChatError>, CallError>) -> Result<T, ChatFailure> {
    let error = match answered {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error @ (ChatError::Unavailable { .. } | ChatError::Limited { .. }))) => {
            return Err(ChatFailure::Transient(error.into()));
        }
        Ok(Err(error)) => return Err(ChatFailure::Final(error.into())),
        Err(error) => error,
    };
    Err(match error {
        CallError::Unavailable(_) | CallError::MaybeRan(_) | CallError::DeadlineExceeded(_) => {
            ChatFailure::Transient(error.into())
        }
        _ => ChatFailure::Final(error.into()),
    })
}

/// Retries until there is an answer, or [`RETRY_TIMEOUT`] is over.
async fn retry_until_timeout<T, F>(call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<Result<T, ChatError>, CallError>>,
{
    let end = Instant::now() + RETRY_TIMEOUT;
    let mut failures = 0;
    loop {
        let failure = match classify(call().await) {
            Ok(answer) => return Ok(answer),
            Err(ChatFailure::Final(failure)) => return Err(failure),
            Err(ChatFailure::Transient(failure)) => failure,
        };
        let pause = RETRY_BACKOFF.wait(failures, jitter());
        if Instant::now() + pause >= end {
            return Err(failure);
        }
        sleep(pause).await;
        failures += 1;
    }
}

impl From<ChatError> for Failure {
    fn from(error: ChatError) -> Self {
        let sentence = error.to_string();
        match error {
            ChatError::NameTaken { .. } => {
                Self::new(Exit::Failed, sentence).hint("choose another name with --as")
            }
            ChatError::Denied { .. } | ChatError::Limited { .. } => {
                Self::new(Exit::Refused, sentence)
            }
            ChatError::Invalid { .. } => Self::usage(sentence),
            ChatError::Unavailable { .. } => Self::new(Exit::Unavailable, sentence),
            ChatError::Full { .. } | ChatError::Broken { .. } => Self::new(Exit::Failed, sentence),
        }
    }
}
