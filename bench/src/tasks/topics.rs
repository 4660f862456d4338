//! Appends to topics. Each entry is on disk before its append is answered.

use std::time::Duration;

use anyhow::Result;
use pyroxene_client::Topic;

use super::{TaskBenchOptions, broker::TaskBroker, report::TopicRow, stores::StoreKind};
use crate::load::LoadOperation;

const APPEND_TIMEOUT: Duration = Duration::from_secs(30);

/// An entry of the size of a short message.
const ENTRY: [u8; 64] = [7; 64];

/// Measures as many appenders as there are submitters: first all with one topic, then each with its own
/// topic.
pub(super) async fn measure(
    options: &TaskBenchOptions,
    store: StoreKind,
    broker: &TaskBroker,
) -> Result<Vec<TopicRow>> {
    let mut rows = Vec::new();
    for &appenders in &options.submitters {
        for own_topics in [false, true] {
            let appender = |number: usize| {
                let number = if own_topics { number } else { 0 };
                let name = format!("{appenders}-{own_topics}-{number}");
                Appender(broker.client().topic(name))
            };
            let measured = options
                .measure((0..appenders).map(appender).collect())
                .await?;
            let row = TopicRow {
                store,
                appenders,
                own_topics,
                appends_per_s: measured.per_second(),
                p50_ms: measured.latency_us(0.5) / 1e3,
                p99_ms: measured.latency_us(0.99) / 1e3,
            };
            eprintln!(
                "{}: {appenders} appenders: {:.0} appends/s",
                store.name(),
                row.appends_per_s
            );
            rows.push(row);
            if appenders == 1 {
                // With one appender both cases are the same.
                break;
            }
        }
    }
    Ok(rows)
}

struct Appender(Topic);

impl LoadOperation for Appender {
    async fn once(&mut self) -> Result<()> {
        self.0.append(ENTRY.to_vec(), APPEND_TIMEOUT).await?;
        Ok(())
    }
}
