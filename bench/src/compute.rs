//! The methods of the built-in objects, compared with Python and NumPy, and the cost of calling them
//! through the broker.
//!
//! The methods are a factorial, a sort, a product of matrices and a digest. Each is measured four
//! times: on a compute pool of this process, as a worker runs it; in Python; as a call to a worker in
//! another process, found through a name server; and as a bare transfer of as many bytes over loopback.
//! The four take turns within a round, so that a drift of the machine affects all alike.

mod bare_transfer;
mod broker;
mod kernels;
mod python;
mod report;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Args, ValueEnum, builder::RangedU64ValueParser};
use serde::Serialize;

pub(crate) use self::bare_transfer::serve as serve_bytes;
use self::{
    bare_transfer::TransferPeer, broker::ComputeBroker, kernels::Kernels, python::Python,
    report::ComputeReport,
};

/// The options of the benchmark `compute`.
#[derive(Args)]
pub(crate) struct ComputeBenchOptions {
    /// Rounds; the median of each figure is shown
    #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,

    /// Kernels to measure, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    kernels: Vec<Kernel>,

    /// The Python interpreter to compare with; without NumPy in it some cells are empty
    #[arg(long, default_value = "python3")]
    python: PathBuf,

    /// Print a JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// The computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kernel {
    /// 100,000!
    Factorial,
    /// The decimal digits of 100,000!, which a caller needs in order to print it
    Digits,
    /// A sort of 10,000,000 random doubles
    Sort,
    /// The product of two matrices of 1024 by 1024 doubles
    Product,
    /// SHA-256 of a text of 256 MB
    Sha256,
}

/// The n of the factorial.
const FACTORIAL_N: u64 = 100_000;
/// The length of the list that is sorted.
const SORT_LENGTH: usize = 10_000_000;
/// Rows and columns of the matrices.
const MATRIX_SIZE: u32 = 1024;
/// The length of the text, in bytes.
const TEXT_LENGTH: usize = 256_000_000;

impl Kernel {
    /// The name on the command line and in results.
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// The number of runs in each round. Quick kernels have more, so that they are measured for long enough.
    fn repeats(self) -> usize {
        match self {
            Self::Factorial | Self::Digits | Self::Product => 9,
            Self::Sort | Self::Sha256 => 3,
        }
    }
}

/// The measured times of one kernel.
struct KernelSamples {
    kernel: Kernel,
    /// The time of the method alone, on the compute pool.
    kernel_times: Vec<Duration>,
    python: Vec<Duration>,
    /// From the call to its answer, through the broker. Empty for `Digits`, which no call carries.
    end_to_end: Vec<Duration>,
    /// The transfer of as many bytes as the call and its answer have, over bare TCP.
    transfer: Vec<Duration>,
}

/// Measures and prints. Progress goes to standard error.
pub(crate) async fn run(options: ComputeBenchOptions) -> Result<()> {
    let chosen = match options.kernels.as_slice() {
        [] => Kernel::value_variants(),
        chosen => chosen,
    };
    let python = Python::find(&options.python).await;
    let kernels = Kernels::new()?;
    let broker = ComputeBroker::start().await?;
    let mut floor = TransferPeer::start().await?;
    let mut report = ComputeReport::new(python.as_ref().map(|python| python.version.clone()));
    for &kernel in chosen {
        let mut samples = KernelSamples {
            kernel,
            kernel_times: Vec::new(),
            python: Vec::new(),
            end_to_end: Vec::new(),
            transfer: Vec::new(),
        };
        for round in 1..=options.rounds {
            eprintln!("{}: round {round} of {}", kernel.name(), options.rounds);
            samples.kernel_times.extend(kernels.measure(kernel).await?);
            if let Some(python) = &python {
                samples.python.extend(python.measure(kernel).await?);
            }
            if kernel != Kernel::Digits {
                let (bytes_in, bytes_out) = kernels.message_sizes(kernel);
                let transfers = floor.measure(bytes_in, bytes_out, kernel.repeats()).await?;
                samples.transfer.extend(transfers);
                let calls = broker.measure(kernel, &kernels).await?;
                samples.end_to_end.extend(calls);
            }
        }
        report.push(samples);
    }
    broker.stop().await?;
    floor.stop().await?;
    report.print(options.json)
}
