//! `pyroxene multiply`: one large matrix product, over all workers.

use crate::{
    commands::distributed::{
        DistributedJob, Format, MatrixSide, NumberInput, SpreadArguments, read_matrix, write_matrix,
    },
    failure::Failure,
    flags::ClientArguments,
};
use pyroxene_common::values::Matrix;
use pyroxene_objects::DistributedCalculator;
use serde_json::json;

/// Multiply two matrices, over all workers
///
/// The product is cut into tiles, and each tile is calculated by one worker. If that worker dies, another one
/// calculates the tile.
///
/// With --json and --output FILE it prints
/// {"rows": 2, "columns": 2, "pieces": 1, "repeated": 0, "workers": {"w1": 1}, "elapsed_ms": 0.41}.
#[derive(Debug, clap::Args)]
pub(crate) struct MultiplyArguments {
    /// The file with the left matrix; - is standard input
    a: String,
    /// The file with the right matrix; - is standard input
    b: String,
    /// The format of the matrices in the input and in the output
    #[arg(long, value_enum, env = "PYROXENE_FORMAT", default_value = "json")]
    format: Format,
    /// With --format f64le: the number of columns of the left matrix
    #[arg(long, value_name = "N", env = "PYROXENE_COLUMNS", value_parser = clap::value_parser!(u32).range(1..))]
    columns: Option<u32>,
    #[command(flatten)]
    spread: SpreadArguments,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: MultiplyArguments) -> Result<(), Failure> {
    let format = arguments.format;
    if arguments.a == "-" && arguments.b == "-" {
        return Err(Failure::usage("only one matrix can be on standard input"));
    }
    let inner = match (format, arguments.columns) {
        (Format::F64le, None) => {
            let sentence = "--format f64le needs --columns N: how many columns the left matrix has";
            return Err(Failure::usage(sentence));
        }
        (_, columns) => columns.unwrap_or(1),
    };
    let (a, b) = (
        NumberInput::open(&arguments.a)?,
        NumberInput::open(&arguments.b)?,
    );
    let job = DistributedJob {
        spread: arguments.spread,
        client: arguments.client,
        read: move || {
            let a = read_matrix(a, format, MatrixSide::Columns(inner))?;
            let b = read_matrix(b, format, MatrixSide::Rows(inner))?;
            Ok::<_, Failure>((a, b))
        },
        write: move |product: &Matrix, target| write_matrix(product, format, target),
    };
    job.run(
        |client, object, (a, b), options| async move {
            client.matmul_distributed(&object, a, b, &options).await
        },
        |product| json!({ "rows": product.rows(), "columns": product.columns() }),
    )
    .await
}
