//! Results: the row of one system in one cell, the median of rounds, and the tables.

use std::fmt::Write;

use serde::Serialize;

use super::{LARGE_PAYLOAD, LoadCell, System};
use crate::{
    load::Measurement,
    table::{TextTable, figure, ratio},
};

/// The systems that the others are compared with, if they were measured.
const BASELINES: [System; 3] = [System::Raw, System::Tarpc, System::Tonic];

/// The measurement of one system in one cell. This is an element of the JSON output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RpcRow {
    pub(crate) system: System,
    pub(crate) in_flight: usize,
    /// Bytes each way.
    pub(crate) payload: usize,
    pub(crate) calls_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl RpcRow {
    /// The row of one measurement.
    pub(crate) fn new(system: System, cell: LoadCell, measurement: &Measurement) -> Self {
        Self {
            system,
            in_flight: cell.in_flight,
            payload: cell.payload,
            calls_per_s: measurement.per_second(),
            p50_us: measurement.latency_us(0.5),
            p99_us: measurement.latency_us(0.99),
        }
    }

    fn cell(&self) -> LoadCell {
        LoadCell {
            payload: self.payload,
            in_flight: self.in_flight,
        }
    }

    /// Megabytes (10⁶ bytes) per second in each direction.
    fn megabytes_per_s(&self) -> f64 {
        self.calls_per_s * self.payload as f64 / 1e6
    }
}

/// The row with the median throughput. It is kept whole, so that its figures belong to one measurement.
/// Of an even number of rows it is the slower of the two in the middle.
pub(crate) fn median(mut rounds: Vec<RpcRow>) -> Option<RpcRow> {
    rounds.sort_by(|a, b| a.calls_per_s.total_cmp(&b.calls_per_s));
    let middle = rounds.len().checked_sub(1)? / 2;
    rounds.into_iter().nth(middle)
}

/// All tables, one per cell. The rows of one cell must be consecutive.
pub(crate) fn render(rows: &[RpcRow], cores: usize) -> String {
    let mut text = format!(
        "{cores} cores, loopback; client and server are separate processes\n\
         ÷ is the ratio to that system: of calls/s more is better, of p50 less is better\n"
    );
    for block in rows.chunk_by(|a, b| a.cell() == b.cell()) {
        let Some(first) = block.first() else { continue };
        let size = size(first.payload);
        // Writing to a string does not fail.
        let _ = write!(text, "\n{size} each way, {} in flight\n", first.in_flight);
        text.push_str(&block_table(block, first.payload >= LARGE_PAYLOAD).to_string());
    }
    text
}

fn block_table(block: &[RpcRow], large: bool) -> TextTable {
    let baselines: Vec<&RpcRow> = BASELINES
        .iter()
        .filter_map(|baseline| block.iter().find(|row| row.system == *baseline))
        .collect();
    let mut header: Vec<String> = ["system", "calls/s", "p50 µs", "p99 µs"]
        .map(Into::into)
        .into();
    if large {
        header.push("MB/s".to_owned());
    }
    for of in ["calls/s", "p50"] {
        header.extend(
            baselines
                .iter()
                .map(|row| format!("{of} ÷ {}", row.system.name())),
        );
    }
    let mut table = TextTable::new(header);
    for row in block {
        let mut line = vec![
            row.system.name(),
            figure(row.calls_per_s),
            figure(row.p50_us),
            figure(row.p99_us),
        ];
        if large {
            line.push(figure(row.megabytes_per_s()));
        }
        line.extend(
            baselines
                .iter()
                .map(|base| ratio(row.calls_per_s, base.calls_per_s)),
        );
        line.extend(baselines.iter().map(|base| ratio(row.p50_us, base.p50_us)));
        table.push(line);
    }
    table
}

/// A size in the largest unit that divides it.
fn size(bytes: usize) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(system: System, payload: usize, calls_per_s: f64) -> RpcRow {
        RpcRow {
            system,
            in_flight: 1,
            payload,
            calls_per_s,
            p50_us: 1e6 / calls_per_s,
            p99_us: 2e6 / calls_per_s,
        }
    }

    #[test]
    fn the_median_round_is_kept_whole() {
        let rounds = |speeds: &[f64]| {
            let rows = speeds.iter().map(|&speed| row(System::Raw, 64, speed));
            median(rows.collect())
        };
        assert_eq!(
            rounds(&[30.0, 10.0, 20.0]),
            Some(row(System::Raw, 64, 20.0))
        );
        assert_eq!(
            rounds(&[40.0, 10.0, 20.0, 30.0]),
            Some(row(System::Raw, 64, 20.0))
        );
        assert_eq!(rounds(&[10.0]), Some(row(System::Raw, 64, 10.0)));
        assert_eq!(rounds(&[]), None);
    }

    #[test]
    fn a_block_compares_every_system_with_each_baseline_there_is() {
        let rows = [
            row(System::Raw, 64, 40000.0),
            row(System::Tonic, 64, 10000.0),
        ];
        assert_eq!(
            render(&rows, 2),
            "2 cores, loopback; client and server are separate processes\n\
             ÷ is the ratio to that system: of calls/s more is better, of p50 less is better\n\
             \n\
             64 bytes each way, 1 in flight\n\
             system  calls/s  p50 µs  p99 µs  calls/s ÷ raw  calls/s ÷ tonic  p50 ÷ raw  p50 ÷ tonic\n\
             raw       40000    25.0    50.0           1.00             4.00       1.00         0.25\n\
             tonic     10000   100.0   200.0           0.25             1.00       4.00         1.00\n"
        );
    }

    #[test]
    fn large_payloads_show_their_bandwidth() {
        let text = render(&[row(System::Tarpc, 8 << 20, 100.0)], 2);
        assert!(text.contains("8 MiB each way, 1 in flight\n"), "{text}");
        assert!(text.contains("  MB/s  "), "{text}");
        assert!(text.contains("  838.9  "), "{text}");
    }

    #[test]
    fn each_cell_has_its_own_block() {
        let rows = [row(System::Raw, 64, 4.0), row(System::Raw, 1000, 3.0)];
        let text = render(&rows, 2);
        assert!(text.contains("64 bytes each way"), "{text}");
        assert!(text.contains("1000 bytes each way"), "{text}");
        let headers = text.lines().filter(|line| line.starts_with("system"));
        assert_eq!(headers.count(), 2, "{text}");
    }

    #[test]
    fn json_has_the_agreed_names() {
        let json = serde_json::to_string(&row(System::Raw, 64, 4.0)).unwrap();
        assert_eq!(
            json,
            r#"{"system":"raw","in_flight":1,"payload":64,"calls_per_s":4.0,"p50_us":250000.0,"p99_us":500000.0}"#
        );
    }
}
