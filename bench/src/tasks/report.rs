//! Results: the rows of the JSON output, and all tables.

use std::fmt::Write;

use serde::Serialize;

use super::{database_baseline::TransactionRates, stores::StoreKind};
use crate::{
    load::Measurement,
    table::{TextTable, figure, ratio},
};

/// The measurement of a store with a number of submitters. This is an element of the JSON output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct TaskRow {
    pub(super) store: StoreKind,
    /// Whether every change was on disk before it was answered.
    pub(super) fsync: bool,
    pub(super) submitters: usize,
    pub(super) tasks_per_s: f64,
    /// From submission until the submitter knows the result.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

impl TaskRow {
    pub(super) fn new(store: StoreKind, submitters: usize, measurement: &Measurement) -> Self {
        Self {
            store,
            fsync: true,
            submitters,
            tasks_per_s: measurement.per_second(),
            p50_ms: measurement.latency_us(0.5) / 1e3,
            p99_ms: measurement.latency_us(0.99) / 1e3,
        }
    }
}

/// Appends of 64 bytes.
pub(super) struct TopicRow {
    pub(super) store: StoreKind,
    pub(super) appenders: usize,
    /// Whether each appender has its own topic.
    pub(super) own_topics: bool,
    pub(super) appends_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Submission alone.
pub(super) struct BulkRow {
    pub(super) store: StoreKind,
    /// The tasks of the batch.
    pub(super) tasks: usize,
    /// With one task at a time, of all submitters together: the most of all numbers of submitters.
    pub(super) single_per_s: f64,
    pub(super) bulk_per_s: f64,
    /// How long counting the tasks of the batch took.
    pub(super) count_ms: f64,
}

/// Tasks while `waiting` other tasks wait.
pub(super) struct BacklogRow {
    pub(super) store: StoreKind,
    pub(super) waiting: usize,
    pub(super) submitters: usize,
    pub(super) tasks_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Everything that was measured.
pub(super) struct TaskTables {
    /// The median time of an `fsync`, in milliseconds.
    fsync_ms: f64,
    pub(super) tasks: Vec<TaskRow>,
    pub(super) baselines: Vec<(StoreKind, usize, TransactionRates)>,
    pub(super) topics: Vec<TopicRow>,
    pub(super) bulk: Vec<BulkRow>,
    pub(super) backlog: Vec<BacklogRow>,
}

impl TaskTables {
    pub(super) fn new(fsync_ms: f64) -> Self {
        Self {
            fsync_ms,
            tasks: Vec::new(),
            baselines: Vec::new(),
            topics: Vec::new(),
            bulk: Vec::new(),
            backlog: Vec::new(),
        }
    }

    /// All tables that have rows.
    pub(super) fn render(&self, cores: usize) -> String {
        let mut text = format!(
            "{cores} cores, loopback; fsync on: it takes {:.2} ms here (median)\n",
            self.fsync_ms
        );
        let tables = [
            (
                "Empty tasks, from submission to the known result",
                self.tasks(),
            ),
            ("Appends of 64 bytes to topics", self.topics()),
            ("Submission of empty tasks alone", self.bulk()),
            ("Empty tasks beside others that wait", self.backlog()),
        ];
        for (title, table) in tables {
            if let Some(table) = table {
                // Writing to a string does not fail.
                let _ = write!(text, "\n{title}\n{table}");
            }
        }
        text
    }

    fn tasks(&self) -> Option<TextTable> {
        let header = ["store", "submitters", "tasks/s", "p50 ms", "p99 ms"];
        let alone = ["alone, tasks/s", "÷ alone", "grouped, tasks/s", "÷ grouped"];
        let alone = alone.iter().filter(|_| !self.baselines.is_empty());
        let mut table = TextTable::new(header.iter().chain(alone).copied());
        for row in &self.tasks {
            let mut line = vec![
                row.store.name().to_owned(),
                row.submitters.to_string(),
                figure(row.tasks_per_s),
                format!("{:.2}", row.p50_ms),
                format!("{:.2}", row.p99_ms),
            ];
            let is_same = |(store, submitters, _): &&(StoreKind, usize, TransactionRates)| {
                *store == row.store && *submitters == row.submitters
            };
            let pairs = self
                .baselines
                .iter()
                .find(is_same)
                .map(|(_, _, pairs)| *pairs);
            let pairs = pairs.unwrap_or_default();
            for rate in [pairs.single, pairs.grouped] {
                line.push(rate.map_or_else(String::new, figure));
                let compared = |rate| ratio(row.tasks_per_s, rate);
                line.push(rate.map_or_else(String::new, compared));
            }
            table.push(line);
        }
        (!self.tasks.is_empty()).then_some(table)
    }

    fn topics(&self) -> Option<TextTable> {
        let mut table = TextTable::new([
            "store",
            "appenders",
            "topics",
            "appends/s",
            "p50 ms",
            "p99 ms",
        ]);
        for row in &self.topics {
            let topics = if row.own_topics { row.appenders } else { 1 };
            table.push(vec![
                row.store.name().to_owned(),
                row.appenders.to_string(),
                topics.to_string(),
                figure(row.appends_per_s),
                format!("{:.2}", row.p50_ms),
                format!("{:.2}", row.p99_ms),
            ]);
        }
        (!self.topics.is_empty()).then_some(table)
    }

    fn bulk(&self) -> Option<TextTable> {
        let header = [
            "store",
            "tasks",
            "one by one/s",
            "batch/s",
            "÷ one by one",
            "counted in ms",
        ];
        let mut table = TextTable::new(header);
        for row in &self.bulk {
            table.push(vec![
                row.store.name().to_owned(),
                row.tasks.to_string(),
                figure(row.single_per_s),
                figure(row.bulk_per_s),
                ratio(row.bulk_per_s, row.single_per_s),
                format!("{:.1}", row.count_ms),
            ]);
        }
        (!self.bulk.is_empty()).then_some(table)
    }

    fn backlog(&self) -> Option<TextTable> {
        let header = [
            "store",
            "waiting",
            "submitters",
            "tasks/s",
            "p50 ms",
            "p99 ms",
            "÷ empty",
        ];
        let mut table = TextTable::new(header);
        let mut empty = 0.0;
        for row in &self.backlog {
            if row.waiting == 0 {
                empty = row.tasks_per_s;
            }
            table.push(vec![
                row.store.name().to_owned(),
                row.waiting.to_string(),
                row.submitters.to_string(),
                figure(row.tasks_per_s),
                format!("{:.2}", row.p50_ms),
                format!("{:.2}", row.p99_ms),
                ratio(row.tasks_per_s, empty),
            ]);
        }
        (!self.backlog.is_empty()).then_some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> TaskRow {
        TaskRow {
            store: StoreKind::Sqlite,
            fsync: true,
            submitters: 64,
            tasks_per_s: 9000.0,
            p50_ms: 7.0,
            p99_ms: 12.5,
        }
    }

    #[test]
    fn json_has_the_agreed_names() {
        let expected = r#"{"store":"sqlite","fsync":true,"submitters":64,"tasks_per_s":9000.0,"p50_ms":7.0,"p99_ms":12.5}"#;
        assert_eq!(serde_json::to_string(&row()).unwrap(), expected);
    }

    #[test]
    fn what_was_measured_is_shown_beside_the_database_alone() {
        let mut tables = TaskTables::new(1.5);
        tables.tasks.push(row());
        let pairs = TransactionRates {
            single: Some(450.0),
            grouped: None,
        };
        tables.baselines.push((StoreKind::Sqlite, 64, pairs));
        assert_eq!(
            tables.render(2),
            "2 cores, loopback; fsync on: it takes 1.50 ms here (median)\n\
             \n\
             Empty tasks, from submission to the known result\n\
             store   submitters  tasks/s  p50 ms  p99 ms  alone, tasks/s  ÷ alone  grouped, tasks/s  ÷ grouped\n\
             sqlite          64     9000    7.00   12.50           450.0    20.00\n"
        );
    }
}
