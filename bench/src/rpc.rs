//! Echo calls of several systems, measured in turn.
//!
//! A cell is one payload size with one number of calls in flight. In each cell every system is measured
//! once per round, in turn, so that a drift of the machine's speed affects all systems alike.

mod payload;
mod report;
pub(crate) mod systems;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, builder::RangedU64ValueParser};

use self::report::RpcRow;
pub(crate) use self::{
    payload::EchoPayload,
    systems::{System, pyroxene::serve_echo},
};
use crate::load::Measurement;

const DEFAULT_IN_FLIGHT: [usize; 3] = [1, 64, 256];

/// Payloads of at least this size are measured with one call in flight, unless the options say otherwise.
const LARGE_PAYLOAD: usize = 1 << 20;

/// The options of the benchmark `rpc`.
#[derive(Args)]
pub(crate) struct RpcBenchOptions {
    /// Measured seconds per system and cell; a fifth of that is added for warming up
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    seconds: Duration,

    /// Rounds; for each system and cell the round with the median throughput is kept
    #[arg(long, default_value_t = 1, value_parser = at_least_one())]
    rounds: usize,

    /// Systems to measure, separated by commas [default: all but tarpc-inline, tonic-balanced, pyroxene-three,
    /// pyroxene-text, pyroxene-dynamic and pyroxene-secured]
    #[arg(long, value_enum, value_delimiter = ',')]
    systems: Vec<System>,

    /// Calls in flight, separated by commas [default: 1,64,256; 1 for payloads of at least 1 MiB]
    #[arg(long, value_delimiter = ',', value_parser = at_least_one())]
    in_flight: Vec<usize>,

    /// Payload sizes in bytes, each way, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "64,8388608")]
    payload: Vec<usize>,

    /// Print a JSON array instead of tables
    #[arg(long)]
    json: bool,
}

/// One payload size with one number of calls in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadCell {
    /// Bytes each way.
    payload: usize,
    /// Calls at the same time.
    in_flight: usize,
}

/// The warm-up time and the measured time of one measurement.
#[derive(Clone, Copy)]
pub(crate) struct MeasurementDurations {
    warm_up: Duration,
    measured: Duration,
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: RpcBenchOptions) -> Result<()> {
    let systems = match options.systems.as_slice() {
        [] => &System::DEFAULT,
        chosen => chosen,
    };
    let windows = MeasurementDurations {
        warm_up: options.seconds / 5,
        measured: options.seconds,
    };
    let mut rows = Vec::new();
    for cell in cells(&options.payload, &options.in_flight) {
        rows.extend(measure_cell(systems, cell, windows, options.rounds).await?);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        let cores = std::thread::available_parallelism()?.get();
        print!("{}", report::render(&rows, cores));
    }
    Ok(())
}

/// Every payload with every number of calls in flight. Without `in_flight`, the defaults of each payload.
fn cells(payloads: &[usize], in_flight: &[usize]) -> Vec<LoadCell> {
    let mut cells = Vec::new();
    for &payload in payloads {
        let in_flight = match in_flight {
            [] if payload >= LARGE_PAYLOAD => &[1],
            [] => DEFAULT_IN_FLIGHT.as_slice(),
            chosen => chosen,
        };
        cells.extend(
            in_flight
                .iter()
                .map(|&in_flight| LoadCell { payload, in_flight }),
        );
    }
    cells
}

/// Measures one system with one payload and number of calls in flight.
pub(crate) async fn measure(
    system: System,
    payload: usize,
    in_flight: usize,
    seconds: Duration,
) -> Result<Measurement> {
    let windows = MeasurementDurations {
        warm_up: seconds / 5,
        measured: seconds,
    };
    system
        .measure(LoadCell { payload, in_flight }, windows)
        .await
}

async fn measure_cell(
    systems: &[System],
    cell: LoadCell,
    windows: MeasurementDurations,
    rounds: usize,
) -> Result<Vec<RpcRow>> {
    let mut measured: Vec<Vec<RpcRow>> = vec![Vec::new(); systems.len()];
    for round in 1..=rounds {
        for (&system, rows) in systems.iter().zip(&mut measured) {
            let row = RpcRow::new(system, cell, &system.measure(cell, windows).await?);
            eprintln!(
                "{}: {} bytes, {} in flight, round {round} of {rounds}: {:.0} calls/s",
                system.name(),
                cell.payload,
                cell.in_flight,
                row.calls_per_s
            );
            rows.push(row);
        }
    }
    Ok(measured.into_iter().filter_map(report::median).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(payloads: &[usize], in_flight: &[usize]) -> Vec<(usize, usize)> {
        let cells = cells(payloads, in_flight);
        cells.iter().map(|c| (c.payload, c.in_flight)).collect()
    }

    #[test]
    fn large_payloads_go_one_at_a_time_unless_told_otherwise() {
        assert_eq!(
            pairs(&[64, 8 << 20], &[]),
            [(64, 1), (64, 64), (64, 256), (8 << 20, 1)]
        );
        assert_eq!(pairs(&[8 << 20], &[2, 3]), [(8 << 20, 2), (8 << 20, 3)]);
    }

    #[test]
    fn seconds_may_be_fractions_and_not_negative() {
        assert_eq!(parse_seconds("0.5").unwrap(), Duration::from_millis(500));
        assert!(parse_seconds("-1").is_err());
        assert!(parse_seconds("soon").is_err());
    }
}
