//! `pyroxene sort`: one large sort, over all workers.

use crate::{
    commands::distributed::{
        DistributedJob, Format, NumberInput, SpreadArguments, read_numbers, write_numbers,
    },
    failure::Failure,
    flags::ClientArguments,
};
use pyroxene_common::values::Numbers;
use pyroxene_objects::DistributedCalculator;
use serde_json::json;

/// Sort numbers, over all workers
///
/// The numbers are cut into ranges, and each range is sorted by one worker. If that worker dies, another one
/// sorts the range. The order is that of the calculator's sort: -NaN, -inf, numbers (-0 before 0), inf, NaN.
///
/// With --json and --output FILE it prints
/// {"numbers": 3, "pieces": 1, "repeated": 0, "workers": {"w1": 1}, "elapsed_ms": 0.41}.
#[derive(Debug, clap::Args)]
pub(crate) struct SortArguments {
    /// The file with the numbers; - is standard input
    #[arg(long, value_name = "FILE", env = "PYROXENE_INPUT", default_value = "-")]
    input: String,
    /// The format of the numbers in the input and in the output
    #[arg(long, value_enum, env = "PYROXENE_FORMAT", default_value = "lines")]
    format: Format,
    #[command(flatten)]
    spread: SpreadArguments,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: SortArguments) -> Result<(), Failure> {
    let format = arguments.format;
    let input = NumberInput::open(&arguments.input)?;
    let job = DistributedJob {
        spread: arguments.spread,
        client: arguments.client,
        read: move || read_numbers(input, format),
        write: move |sorted: &Numbers, target| write_numbers(sorted, format, target),
    };
    job.run(
        |client, object, values, options| async move {
            client.sort_distributed(&object, values, &options).await
        },
        |sorted| json!({ "numbers": sorted.0.len() }),
    )
    .await
}
