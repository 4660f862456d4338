//! Results: one row for each kernel, as a table and as JSON.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::{Kernel, KernelSamples};
use crate::table::{TextTable, figure, ratio};

/// All that was measured. This is the JSON output.
#[derive(Serialize)]
pub(super) struct ComputeReport {
    cores: usize,
    /// The versions of Python and NumPy that the kernels are compared with, if a Python was found.
    python: Option<String>,
    rows: Vec<KernelRow>,
}

/// One kernel. Times are medians, in milliseconds.
#[derive(Debug, Serialize)]
struct KernelRow {
    kernel: Kernel,
    kernel_ms: f64,
    python_ms: Option<f64>,
    /// Python's time divided by the kernel's.
    times_python: Option<f64>,
    /// The transfer of as many bytes each way over bare TCP.
    transfer_ms: Option<f64>,
    end_to_end_ms: Option<f64>,
    /// The end-to-end time divided by the sum of the kernel's and the transfer's time.
    end_to_end_over_floor: Option<f64>,
}

impl ComputeReport {
    pub(super) fn new(python: Option<String>) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            python,
            rows: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, samples: KernelSamples) {
        let Some(kernel_ms) = median_ms(samples.kernel_times) else {
            return;
        };
        let python_ms = median_ms(samples.python);
        let transfer_ms = median_ms(samples.transfer);
        let end_to_end_ms = median_ms(samples.end_to_end);
        self.rows.push(KernelRow {
            kernel: samples.kernel,
            kernel_ms,
            python_ms,
            times_python: python_ms.map(|python| python / kernel_ms),
            transfer_ms,
            end_to_end_ms,
            end_to_end_over_floor: end_to_end_ms
                .zip(transfer_ms)
                .map(|(whole, transfer)| whole / (kernel_ms + transfer)),
        });
    }

    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else {
            print!("{}", self.render());
        }
        Ok(())
    }

    fn render(&self) -> String {
        let compared = self.python.as_deref().unwrap_or("no Python was found");
        let mut table = TextTable::new([
            "kernel",
            "kernel ms",
            "python ms",
            "python ÷ kernel",
            "transfer ms",
            "end to end ms",
            "end to end ÷ (kernel + transfer)",
        ]);
        let cell = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figure);
        let times = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| ratio(v, 1.0));
        for row in &self.rows {
            table.push(vec![
                row.kernel.name(),
                figure(row.kernel_ms),
                cell(row.python_ms),
                times(row.times_python),
                cell(row.transfer_ms),
                cell(row.end_to_end_ms),
                times(row.end_to_end_over_floor),
            ]);
        }
        format!(
            "{} cores; {compared}\n\
             python ÷ kernel: more is better; end to end ÷ (kernel + transfer): less is better\n\n{table}",
            self.cores
        )
    }
}

/// The median in milliseconds. Of an even number of times it is the greater of the two in the middle.
fn median_ms(mut times: Vec<Duration>) -> Option<f64> {
    times.sort_unstable();
    let middle = times.get(times.len() / 2)?;
    Some(middle.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(times: &[u64]) -> Vec<Duration> {
        times.iter().copied().map(Duration::from_millis).collect()
    }

    fn report(python: &[u64]) -> ComputeReport {
        let mut report = ComputeReport::new(Some("Python 3".to_owned()));
        report.cores = 2;
        report.push(KernelSamples {
            kernel: Kernel::Sort,
            kernel_times: milliseconds(&[30, 10, 20]),
            python: milliseconds(python),
            end_to_end: milliseconds(&[33]),
            transfer: milliseconds(&[10]),
        });
        report
    }

    #[test]
    fn a_row_compares_medians() {
        let row = &report(&[40]).rows[0];
        assert_eq!((row.kernel_ms, row.times_python), (20.0, Some(2.0)));
        assert_eq!(row.end_to_end_over_floor, Some(1.1));
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let text = report(&[]).render();
        assert!(
            text.contains("sort         20.0          –                –"),
            "{text}"
        );
        let json = serde_json::to_value(report(&[])).unwrap();
        assert!(json["rows"][0]["python_ms"].is_null());
        assert_eq!(json["rows"][0]["kernel"], "sort");
    }
}
