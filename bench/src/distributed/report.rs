//! Results: the row of one setup, the median of rounds, and the tables.

use std::{fmt::Write, time::Duration};

use serde::Serialize;

use super::{
    Setup,
    work::{WorkInput, WorkSample},
};
use crate::table::{TextTable, figure};

/// The measurement of one setup. This is an element of the JSON output.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DistributedRow {
    pub(super) work: String,
    pub(super) setup: String,
    pub(super) ms: f64,
    /// The time of the baseline (one call of one worker of one thread), divided by this row's time.
    pub(super) speedup: Option<f64>,
    pub(super) pieces: Option<usize>,
    pub(super) cut_ms: Option<f64>,
    pub(super) client_cpu_ms: Option<f64>,
    pub(super) workers_cpu_ms: Option<f64>,
}

impl DistributedRow {
    pub(super) fn new(
        work: &WorkInput,
        setup: Setup,
        sample: &WorkSample,
        [client, workers]: [Option<Duration>; 2],
    ) -> Self {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            work: work.name(),
            setup: setup.name(),
            ms: sample.ms,
            speedup: None,
            pieces: sample.pieces,
            cut_ms: sample.cut_ms,
            client_cpu_ms: client.map(milliseconds),
            workers_cpu_ms: workers.map(milliseconds),
        }
    }
}

/// The row with the median time. It is kept whole, so that its figures belong together. Of an even
/// number of rows it is the slower of the two in the middle.
pub(super) fn median(mut rows: Vec<DistributedRow>) -> Option<DistributedRow> {
    rows.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    let middle = rows.len() / 2;
    rows.into_iter().nth(middle)
}

/// Sets the speed-up of every row, relative to the row of the baseline.
pub(super) fn compare(rows: &mut [DistributedRow], baseline: &str) {
    let Some(time) = rows
        .iter()
        .find(|row| row.setup == baseline)
        .map(|row| row.ms)
    else {
        return;
    };
    for row in rows {
        row.speedup = Some(time / row.ms);
    }
}

/// All tables, one for each work.
pub(super) fn render(rows: &[DistributedRow], cores: usize) -> String {
    let mut text = format!(
        "{cores} cores, loopback; client, name server and workers are separate processes\n\
         speed-up: the time of one call of one worker of 1 thread, divided by the time\n"
    );
    for block in rows.chunk_by(|a, b| a.work == b.work) {
        let Some(first) = block.first() else { continue };
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{}", first.work);
        let header = [
            "setup",
            "ms",
            "speed-up",
            "pieces",
            "cutting ms",
            "client CPU ms",
            "workers CPU ms",
        ];
        let mut table = TextTable::new(header);
        let optional = |value: Option<f64>| value.map(figure).unwrap_or_default();
        for row in block {
            table.push(vec![
                row.setup.clone(),
                figure(row.ms),
                row.speedup
                    .map(|ratio| format!("{ratio:.2}"))
                    .unwrap_or_default(),
                row.pieces
                    .map(|count| count.to_string())
                    .unwrap_or_default(),
                optional(row.cut_ms),
                optional(row.client_cpu_ms),
                optional(row.workers_cpu_ms),
            ]);
        }
        text.push_str(&table.to_string());
    }
    text
}
