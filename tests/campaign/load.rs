//! The steady load: the calls of clients, the answers that they got, and the checks of these answers.
//!
//! Each kind of load runs on its own until it is stopped. It checks at once what can be checked at once, and
//! at the end compares the answers with the final state.

mod calls;
mod chat;
mod names;
mod tasks;
mod topics;
mod transfers;

use crate::{broker::CampaignBroker, report::CampaignReport};
use pyroxene_client::Client;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long open work may take after the last fault has ended.
const RECOVERY: Duration = Duration::from_secs(60);

/// The context of every kind of load.
#[derive(Clone)]
struct LoadContext {
    verdict: CampaignReport,
    stop: CancellationToken,
}

impl LoadContext {
    fn goes_on(&self) -> bool {
        !self.stop.is_cancelled()
    }

    /// A pause between two steps of a client.
    async fn pause(&self, millis: u64) {
        let pause = sleep(Duration::from_millis(millis));
        self.stop.run_until_cancelled(pause).await;
    }
}

/// All kinds of load.
pub(crate) struct Load {
    context: LoadContext,
    client: Client,
    calls: calls::Calls,
    chat: chat::ChatLoad,
    names: names::Names,
    tasks: tasks::Tasks,
    topics: topics::Topics,
    transfers: transfers::Transfers,
}

/// The counts that must grow once everything is healthy.
const PROGRESS: [&str; 6] = [
    "calls answered",
    "messages said",
    "tasks submitted",
    "tasks done",
    "entries appended",
    "entries made at most once",
];

impl Load {
    pub(crate) async fn start(stage: &CampaignBroker, verdict: &CampaignReport) -> Self {
        let context = LoadContext {
            verdict: verdict.clone(),
            stop: CancellationToken::new(),
        };
        let client = stage.client().await;
        Self {
            calls: calls::Calls::start(&context, stage).await,
            chat: chat::ChatLoad::start(&context, stage).await,
            names: names::Names::start(stage),
            tasks: tasks::Tasks::start(&context, stage).await,
            topics: topics::Topics::start(&context, stage).await,
            transfers: transfers::Transfers::start(stage).await,
            context,
            client,
        }
    }

    /// Checks that all load makes progress, ends, and has the results that were acknowledged.
    pub(crate) async fn finish(self, stage: &CampaignBroker) {
        let verdict = &self.context.verdict;
        self.goes_on().await;
        self.context.stop.cancel();
        self.calls.finish(&self.context, stage).await;
        self.tasks.finish(&self.context, stage).await;
        self.topics.finish(&self.context, &self.client).await;
        self.chat.finish(&self.context, &self.client).await;
        self.transfers.finish(verdict, &stage.accounts).await;
        self.names.finish(verdict);
        check_store(verdict, &stage.store).await;
    }

    /// Checks that every kind of load makes progress after the last fault.
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
                let what =
                    format!("{RECOVERY:?} after the last fault, there were no more {stuck:?}");
                return verdict.violation(what);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Checks the store's consistency.
async fn check_store(verdict: &CampaignReport, store: &str) {
    use pyroxene_store::{Store, StoreOptions};
    let opened = Store::open(&store.parse().unwrap(), StoreOptions::default()).await;
    let checked = match opened {
        Ok(store) => store.check().await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(wrong) if wrong.is_empty() => {}
        Ok(wrong) => verdict.violation(format!("the store is inconsistent: {wrong:?}")),
        Err(error) => verdict.violation(format!("the store cannot be checked: {error}")),
    }
}
