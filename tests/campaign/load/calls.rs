//! Calls: idempotent calls succeed in time, and other calls never run twice.

use super::LoadContext;
use crate::{
    broker::CampaignBroker,
    harness::{
        ledger::{self, Ledger},
        within,
    },
};
use pyroxene_objects::interfaces::echo::{Echo, echo::EchoRequest};
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// The deadline of a call. A frozen worker is detected within a lease, three seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// The first number of the ledger entries that calls make; tasks make others.
pub(super) const FIRST: u64 = 1_000_000_000;

pub(super) struct Calls {
    callers: JoinSet<HashSet<u64>>,
}

impl Calls {
    pub(super) async fn start(context: &LoadContext, stage: &CampaignBroker) -> Self {
        let mut callers = JoinSet::new();
        for _ in 0..2 {
            let echo = stage.client().await.proxy::<Echo>("echo").await.unwrap();
            let context = context.clone();
            callers.spawn(async move {
                while context.goes_on() {
                    let begun = Instant::now();
                    let request = EchoRequest::Sleep { ms: 1 };
                    match echo.call_traced(within(DEADLINE), &request).await {
                        Ok(_) => context.verdict.count("calls answered"),
                        Err(error) => context.verdict.violation(format!(
                            "an idempotent call failed after {:?}, with a healthy worker: {error}",
                            begun.elapsed()
                        )),
                    }
                    context.pause(20).await;
                }
                HashSet::new()
            });
        }
        let client = stage.client().await;
        let ledger = client.object::<Ledger>(ledger::OBJECT).await.unwrap();
        let context = context.clone();
        callers.spawn(async move {
            let mut answered = HashSet::new();
            for entry in FIRST.. {
                if !context.goes_on() {
                    break;
                }
                // The call is not repeated, whatever its error.
                if let Ok(answer) = ledger.enter(within(DEADLINE), entry, 1).await {
                    assert_eq!(answer, entry);
                    answered.insert(entry);
                    context.verdict.count("entries made at most once");
                }
                context.pause(50).await;
            }
            answered
        });
        Self { callers }
    }

    pub(super) async fn finish(mut self, context: &LoadContext, stage: &CampaignBroker) {
        let mut answered = HashSet::new();
        while let Some(ended) = self.callers.join_next().await {
            answered.extend(ended.unwrap());
        }
        let mut ran: HashMap<u64, u32> = HashMap::new();
        for entry in ledger::entries(stage.dir.path()) {
            *ran.entry(entry).or_default() += 1;
        }
        for (entry, times) in &ran {
            if *entry >= FIRST && *times > 1 {
                let what = format!("call {entry}, which must not be repeated, ran {times} times");
                context.verdict.violation(what);
            }
        }
        for entry in answered {
            if !ran.contains_key(&entry) {
                let what = format!("call {entry} was answered, but did not run");
                context.verdict.violation(what);
            }
        }
    }
}
