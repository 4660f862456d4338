//! An exclusive name: a former holder never appears with the name after its successor.

use crate::{broker::CampaignBroker, exclusive::Observer, plan::Role, report::CampaignReport};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) struct Names {
    observer: Observer,
}

impl Names {
    pub(super) fn start(stage: &CampaignBroker) -> Self {
        let mut observer = Observer::new();
        for nameserver in stage.all(Role::NameServer) {
            observer.ask_nameserver(&nameserver.proxy.address());
        }
        for leader in stage.all(Role::Leader) {
            observer.ask_worker(&leader.name, &leader.proxy.address());
        }
        Self { observer }
    }

    pub(super) fn finish(self, verdict: &CampaignReport) {
        let finished = catch_unwind(AssertUnwindSafe(|| self.observer.finish()));
        match finished {
            Ok((_, holders)) => (0..holders).for_each(|_| verdict.count("holders of the name")),
            Err(_) => verdict.violation("a former holder had the exclusive name".to_owned()),
        }
    }
}
