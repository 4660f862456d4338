//! Results: the memory of very large calls, the latency of small calls and the lateness of heartbeats, as
//! tables and as JSON.

use anyhow::Result;
use serde::Serialize;

use super::{heartbeats::HeartbeatRow, load::WaitingRow, memory::MemoryRow};
use crate::table::{TextTable, figure};

/// All that was measured. This is the JSON output.
#[derive(Default, Serialize)]
pub(super) struct LargeReport {
    pub(super) memory: Vec<MemoryRow>,
    pub(super) waiting: Vec<WaitingRow>,
    pub(super) heartbeats: Vec<HeartbeatRow>,
}

impl LargeReport {
    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        if !self.memory.is_empty() {
            println!("one call; memory is how far it grew, in times the size of the message\n");
            println!("{}", self.memory_table());
        }
        if !self.waiting.is_empty() {
            println!("small calls at a fixed rate, from when each was due\n");
            print!("{}", self.waiting_table());
        }
        if !self.heartbeats.is_empty() {
            println!(
                "\nheartbeats of a worker, three in half a second, and how late the slowest was\n"
            );
            print!("{}", self.heartbeat_table());
        }
        Ok(())
    }

    fn memory_table(&self) -> TextTable {
        let mut table = TextTable::new(["kind", "bytes each way", "ms", "client ×", "worker ×"]);
        for row in &self.memory {
            table.push(vec![
                row.kind.name(),
                row.size.to_string(),
                figure(row.milliseconds),
                format!("{:.2}", row.client_copies),
                format!("{:.2}", row.worker_copies),
            ]);
        }
        table
    }

    fn heartbeat_table(&self) -> TextTable {
        let mut table = TextTable::new(["heartbeats beside", "call ms", "late ms"]);
        for row in &self.heartbeats {
            table.push(vec![
                row.beside.to_owned(),
                figure(row.call_ms),
                format!("{:.1}", row.late_ms),
            ]);
        }
        table
    }

    fn waiting_table(&self) -> TextTable {
        let mut table = TextTable::new([
            "beside",
            "clients",
            "load calls/s",
            "load MB/s",
            "calls",
            "p50 ms",
            "p99 ms",
            "max ms",
        ]);
        for row in &self.waiting {
            table.push(vec![
                row.load
                    .map_or_else(|| "nothing".to_owned(), super::ValueKind::name),
                row.clients.to_string(),
                figure(row.load_calls_per_s),
                figure(row.load_calls_per_s * row.size as f64 / 1e6),
                row.small.calls.to_string(),
                format!("{:.2}", row.small.p50_ms),
                format!("{:.2}", row.small.p99_ms),
                format!("{:.2}", row.small.max_ms),
            ]);
        }
        table
    }
}
