//! Transfers: no money is lost or created, and each transfer is applied once.

use crate::{
    bank::{books, clients::Clients},
    broker::CampaignBroker,
    report::CampaignReport,
};

/// How many clients make transfers, each one after the other.
const CLIENTS: usize = 2;

pub(super) struct Transfers {
    clients: Clients,
}

impl Transfers {
    pub(super) async fn start(stage: &CampaignBroker) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(stage.client().await);
        }
        let clients = Clients::with(clients).await;
        Self { clients }
    }

    pub(super) async fn finish(self, verdict: &CampaignReport, accounts: &str) {
        // The check of the books panics if they are wrong.
        let accounts = accounts.to_owned();
        let agreed = tokio::spawn(async move {
            let journal = self.clients.finish().await;
            books::read(&accounts).await.agree_with(&journal);
            journal.acknowledged.len()
        });
        match agreed.await {
            Ok(transfers) => (0..transfers).for_each(|_| verdict.count("transfers")),
            Err(error) => verdict.violation(format!("the books of accounts are wrong: {error}")),
        }
    }
}
