//! The chat room. Calls that are safe to repeat are retried.

use crate::failure::{Exit, Failure};
use pyroxene_client::{CallError, Proxy, backoff::Backoff};
use pyroxene_objects::interfaces::chat::{
    Chat, ChatError, MAX_WAIT_MS, Message, Received, Sent, Welcome, chat::ChatClient,
};
use std::time::Duration;
use tarpc::{
    client::RpcError,
    context::{self, Context},
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(12);

/// How long a call is retried.
const INSIST: Duration = Duration::from_secs(30);

/// After this time without an answer the user is told that the room is unavailable.
const AWAY: Duration = Duration::from_secs(3);

/// How long to wait for the room to confirm that this member leaves.
const LEAVE: Duration = Duration::from_secs(2);

/// How long one request for the members may take.
const GLANCE: Duration = Duration::from_secs(2);

const RETRY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// The room, as one member uses it.
pub(crate) struct Room {
    chat: ChatClient<Proxy<Chat>>,
    name: String,
    session: String,
}

fn within(time: Duration) -> Context {
    let mut context = context::current();
    context.deadline = (Instant::now() + time).into_std();
    context
}

impl Room {
    /// Joins the room.
    pub(crate) async fn enter(
        chat: ChatClient<Proxy<Chat>>,
        name: String,
    ) -> Result<(Self, Welcome), Failure> {
        let own = Uuid::new_v4().to_string();
        let joining = insist(|| {
            let (name, own) = (name.clone(), own.clone());
            chat.join(within(ATTEMPT), name, Some(own))
        });
        let welcome = joining.await?;
        let session = welcome.session.clone();
        let room = Self {
            chat,
            name,
            session,
        };
        Ok((room, welcome))
    }

    pub(crate) async fn history(&self, before: u64, limit: u32) -> Result<Vec<Message>, Failure> {
        insist(|| {
            let name = self.name.clone();
            self.chat
                .history(within(ATTEMPT), name, Some(before), Some(limit))
        })
        .await
    }

    pub(crate) async fn members(&self) -> Result<Vec<String>, Failure> {
        insist(|| self.chat.members(within(ATTEMPT))).await
    }

    /// The members, from a single attempt; `None` if it fails.
    pub(super) async fn glance(&self) -> Option<Vec<String>> {
        let members = self.chat.members(within(GLANCE)).await;
        members.ok()?.ok()
    }

    /// Sends a message. Retries do not send it twice.
    pub(crate) async fn say(&self, to: Option<&str>, text: &str) -> Result<Sent, Failure> {
        let id = Uuid::now_v7().to_string();
        insist(|| {
            let (from, text, id) = (self.name.clone(), text.to_owned(), Some(id.clone()));
            let to = to.map(str::to_owned);
            async move {
                match to {
                    None => self.chat.broadcast(within(ATTEMPT), from, text, id).await,
                    Some(to) => self.chat.send(within(ATTEMPT), from, to, text, id).await,
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
            let context = within(Duration::from_millis(MAX_WAIT_MS) + ATTEMPT);
            let receiving = self
                .chat
                .receive(context, name, after, MAX_WAIT_MS, session);
            match judge(receiving.await) {
                Ok(received) => return Ok(received),
                Err(Judged::Final(failure)) => return Err(failure),
                Err(Judged::Passing(_)) => {}
            }
            let since = *since.get_or_insert_with(Instant::now);
            if since.elapsed() > AWAY && !told {
                told = true;
                away();
            }
            sleep(RETRY.wait(failures, rand())).await;
            failures += 1;
        }
    }

    /// Leaves the room. If the call fails, the room notices later.
    pub(crate) async fn leave(&self) {
        let (name, session) = (self.name.clone(), Some(self.session.clone()));
        let _ = self.chat.leave(within(LEAVE), name, session).await;
    }
}

/// A random number from 0 to 1, for the jitter of retries.
fn rand() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// How a call failed.
enum Judged {
    /// It may succeed a little later.
    Passing(Failure),
    Final(Failure),
}

fn judge<T>(answered: Result<Result<T, ChatError>, RpcError>) -> Result<T, Judged> {
    let error = match answered {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error @ (ChatError::Unavailable { .. } | ChatError::Limited { .. }))) => {
            return Err(Judged::Passing(error.into()));
        }
        Ok(Err(error)) => return Err(Judged::Final(error.into())),
        Err(error) => CallError::from(error),
    };
    Err(match error {
        CallError::Unavailable(_) | CallError::MaybeRan(_) | CallError::DeadlineExceeded(_) => {
            Judged::Passing(error.into())
        }
        _ => Judged::Final(error.into()),
    })
}

/// Retries until there is an answer, or [`INSIST`] is over.
async fn insist<T, F>(call: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<Result<T, ChatError>, RpcError>>,
{
    let end = Instant::now() + INSIST;
    let mut failures = 0;
    loop {
        let failure = match judge(call().await) {
            Ok(answer) => return Ok(answer),
            Err(Judged::Final(failure)) => return Err(failure),
            Err(Judged::Passing(failure)) => failure,
        };
        let pause = RETRY.wait(failures, rand());
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
