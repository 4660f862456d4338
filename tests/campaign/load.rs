//! The steady load: what clients do, what they were told, and what must be true of it.
//!
//! Each kind goes on by itself until it is told to stop, checks what can be checked at once, and
//! gives what it was told to be compared with what is there in the end.

mod calls;
mod chat;
mod names;
mod tasks;
mod topics;
mod transfers;

use crate::{stage::Stage, verdict::Verdict};
use pyroxene_client::Client;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long it may take until all that was begun is done, once nothing is wrong any more.
const RECOVERY: Duration = Duration::from_secs(60);

/// What every kind of load works with.
#[derive(Clone)]
struct Context {
    verdict: Verdict,
    stop: CancellationToken,
}

impl Context {
    fn goes_on(&self) -> bool {
        !self.stop.is_cancelled()
    }

    /// A pause between two things that a client does.
    async fn pause(&self, millis: u64) {
        let pause = sleep(Duration::from_millis(millis));
        self.stop.run_until_cancelled(pause).await;
    }
}

/// All of it.
pub(crate) struct Load {
    context: Context,
    client: Client,
    calls: calls::Calls,
    chat: chat::Chatter,
    names: names::Names,
    tasks: tasks::Tasks,
    topics: topics::Topics,
    transfers: transfers::Transfers,
}

/// What must go on once everything is well.
const PROGRESS: [&str; 6] = [
    "calls answered",
    "messages said",
    "tasks submitted",
    "tasks done",
    "entries appended",
    "entries made at most once",
];

impl Load {
    pub(crate) async fn start(stage: &Stage, verdict: &Verdict) -> Self {
        let context = Context {
            verdict: verdict.clone(),
            stop: CancellationToken::new(),
        };
        let client = stage.client().await;
        Self {
            calls: calls::Calls::start(&context, stage).await,
            chat: chat::Chatter::start(&context, stage).await,
            names: names::Names::start(stage),
            tasks: tasks::Tasks::start(&context, stage).await,
            topics: topics::Topics::start(&context, stage).await,
            transfers: transfers::Transfers::start(stage).await,
            context,
            client,
        }
    }

    /// Everything goes on, ends, and is as it was said to be.
    pub(crate) async fn finish(self, stage: &Stage) {
        let verdict = &self.context.verdict;
        self.goes_on().await;
        self.context.stop.cancel();
        self.calls.finish(&self.context, stage).await;
        self.tasks.finish(&self.context, stage).await;
        self.topics.finish(&self.context, &self.client).await;
        self.chat.finish(&self.context, &self.client).await;
        self.transfers.finish(verdict, &stage.accounts).await;
        self.names.finish(verdict);
        whole(verdict, &stage.store).await;
    }

    /// Every kind of load gets on, now that nothing is wrong.
    async fn goes_on(&self) {
        let verdict = &self.context.verdict;
        let before = PROGRESS.map(|what| verdict.counted(what));
        let begun = Instant::now();
        loop {
            let stuck = PROGRESS.iter().zip(before);
            let stuck: Vec<_> = stuck
                .filter(|(what, before)| verdict.counted(what) <= *before)
                .map(|(what, _)| *what)
                .collect();
            if stuck.is_empty() {
                return;
            }
            if begun.elapsed() > RECOVERY {
                let what = format!("{RECOVERY:?} after all was well, there were no more {stuck:?}");
                return verdict.violation(what);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The store itself finds nothing wrong with it.
async fn whole(verdict: &Verdict, store: &str) {
    use pyroxene_store::{Store, StoreOptions};
    let opened = Store::open(&store.parse().unwrap(), StoreOptions::default()).await;
    let checked = match opened {
        Ok(store) => store.check().await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(wrong) if wrong.is_empty() => {}
        Ok(wrong) => verdict.violation(format!("the store is not whole: {wrong:?}")),
        Err(error) => verdict.violation(format!("the store cannot be checked: {error}")),
    }
}
