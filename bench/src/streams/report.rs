//! The results of streams, and their tables.

use anyhow::Result;
use serde::Serialize;

use super::{ServerUse, client::StreamTally, systems::StreamSystem};
use crate::table::{TextTable, figure, ratio};

/// Everything that was measured. This is the JSON output.
#[derive(Debug, Default, Serialize)]
pub(super) struct StreamsReport {
    pub(super) items: Vec<ItemRow>,
    pub(super) bulk: Vec<BulkRow>,
}

/// A stream of small items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ItemRow {
    system: StreamSystem,
    pub(super) items_per_s: f64,
    /// The processor time of both ends for an item, in nanoseconds.
    cpu_ns: f64,
}

/// A stream of large items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct BulkRow {
    system: StreamSystem,
    /// All bytes of the stream.
    bytes: u64,
    pub(super) megabytes_per_s: f64,
    /// The processor time of both ends for an item, in microseconds.
    cpu_us: f64,
    /// By how many bytes the resident memory of each end grew at most.
    client_growth: u64,
    server_growth: u64,
}

/// A row of which the median of several is kept.
pub(super) trait SpeedRow {
    fn speed(&self) -> f64;
}

impl SpeedRow for ItemRow {
    fn speed(&self) -> f64 {
        self.items_per_s
    }
}

impl SpeedRow for BulkRow {
    fn speed(&self) -> f64 {
        self.megabytes_per_s
    }
}

impl ItemRow {
    pub(super) fn new(system: StreamSystem, tally: &StreamTally, server: &ServerUse) -> Self {
        Self {
            system,
            items_per_s: tally.items as f64 / tally.seconds,
            cpu_ns: cpu_seconds(tally, server) * 1e9,
        }
    }
}

impl BulkRow {
    pub(super) fn new(system: StreamSystem, tally: &StreamTally, server: &ServerUse) -> Self {
        Self {
            system,
            bytes: tally.bytes,
            megabytes_per_s: tally.bytes as f64 / 1e6 / tally.seconds,
            cpu_us: cpu_seconds(tally, server) * 1e6,
            client_growth: tally.growth,
            server_growth: server.growth,
        }
    }
}

/// The processor time of both ends for an item, in seconds.
fn cpu_seconds(tally: &StreamTally, server: &ServerUse) -> f64 {
    (tally.cpu_seconds + server.cpu_seconds) / tally.all_items as f64
}

/// The row with the median speed; of an even number the slower of the two in the middle.
pub(super) fn median<R: SpeedRow>(mut rows: Vec<R>) -> Option<R> {
    rows.sort_by(|a, b| a.speed().total_cmp(&b.speed()));
    let middle = rows.len().checked_sub(1)? / 2;
    rows.into_iter().nth(middle)
}

impl StreamsReport {
    /// Prints tables, or JSON.
    pub(super) fn print(&self, json: bool) -> Result<()> {
        match json {
            true => println!("{}", serde_json::to_string_pretty(self)?),
            false => print!("{}", self.render()),
        }
        Ok(())
    }

    fn render(&self) -> String {
        let mut tables = Vec::new();
        if !self.items.is_empty() {
            tables.push(format!(
                "One stream of items of 64 bytes\n{}",
                self.item_table()
            ));
        }
        if !self.bulk.is_empty() {
            tables.push(format!(
                "One stream of items of 1 MiB\n{}",
                self.bulk_table()
            ));
        }
        tables.join("\n")
    }

    fn item_table(&self) -> TextTable {
        let mut rows = self.items.iter();
        let tonic = rows.find(|row| row.system == StreamSystem::Tonic);
        let header = [
            "system",
            "items/s",
            "÷ tonic",
            "CPU ns an item",
            "tonic's ÷",
        ];
        let mut table = TextTable::new(header);
        for row in &self.items {
            let compared = tonic.map(|tonic| {
                let cpu = ratio(tonic.cpu_ns, row.cpu_ns);
                (ratio(row.items_per_s, tonic.items_per_s), cpu)
            });
            let (speed, cpu) = compared.unwrap_or_default();
            let (name, items) = (row.system.name(), figure(row.items_per_s));
            table.push(vec![name, items, speed, figure(row.cpu_ns), cpu]);
        }
        table
    }

    fn bulk_table(&self) -> TextTable {
        let mut rows = self.bulk.iter();
        let raw = rows.find(|row| row.system == StreamSystem::Raw);
        let mut table = TextTable::new([
            "system",
            "GB",
            "MB/s",
            "÷ raw",
            "CPU µs an item",
            "client over idle MiB",
            "server over idle MiB",
        ]);
        let mebibytes = |bytes: u64| figure(bytes as f64 / 1_048_576.0);
        for row in &self.bulk {
            let compared = raw.map(|raw| ratio(row.megabytes_per_s, raw.megabytes_per_s));
            table.push(vec![
                row.system.name(),
                figure(row.bytes as f64 / 1e9),
                figure(row.megabytes_per_s),
                compared.unwrap_or_default(),
                figure(row.cpu_us),
                mebibytes(row.client_growth),
                mebibytes(row.server_growth),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(system: StreamSystem, items_per_s: f64) -> ItemRow {
        ItemRow {
            system,
            items_per_s,
            cpu_ns: 1e9 / items_per_s,
        }
    }

    #[test]
    fn rows_are_compared_with_their_peer() {
        let tally = StreamTally {
            items: 1000,
            bytes: 1000 << 20,
            seconds: 1.0,
            all_items: 1000,
            cpu_seconds: 0.5,
            growth: 1 << 20,
        };
        let server = ServerUse {
            growth: 2 << 20,
            cpu_seconds: 0.25,
        };
        let report = StreamsReport {
            items: vec![
                items(StreamSystem::Tonic, 500.0),
                items(StreamSystem::Pyroxene, 4000.0),
            ],
            bulk: vec![BulkRow::new(StreamSystem::Raw, &tally, &server)],
        };
        assert_eq!(
            report.render(),
            "One stream of items of 64 bytes\n\
             system    items/s  ÷ tonic  CPU ns an item  tonic's ÷\n\
             tonic       500.0     1.00         2000000       1.00\n\
             pyroxene     4000     8.00          250000       8.00\n\
             \n\
             One stream of items of 1 MiB\n\
             system   GB  MB/s  ÷ raw  CPU µs an item  client over idle MiB  server over idle MiB\n\
             raw     1.0  1049   1.00           750.0                   1.0                   2.0\n"
        );
    }

    #[test]
    fn the_median_round_is_kept() {
        let rounds = [3.0, 1.0, 2.0, 5.0, 4.0];
        let rows = rounds.map(|speed| items(StreamSystem::Raw, speed));
        assert_eq!(median(rows.into()).unwrap().items_per_s, 3.0);
        assert_eq!(median(Vec::<ItemRow>::new()), None);
    }
}
