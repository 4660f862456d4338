//! Transfers: money is neither lost nor made, and each is applied once.

use crate::{
    bank::{books, clients::Clients},
    stage::Stage,
    verdict::Verdict,
};

/// They make one transfer after the other.
const CLIENTS: usize = 2;

pub(super) struct Transfers {
    clients: Clients,
}

impl Transfers {
    pub(super) async fn start(stage: &Stage) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(stage.client().await);
        }
        let clients = Clients::with(clients).await;
        Self { clients }
    }

    pub(super) async fn finish(self, verdict: &Verdict, accounts: &str) {
        // What is wrong with the books is told by a panic.
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
