//! One large piece of work, spread over all workers that host a calculator.
//!
//! [`DistributedCalculator`] adds two calls to a [`Client`]. They cut their input into pieces, call `sort` or
//! `matrix_multiply` for each piece, and write the results to their positions as they arrive. A piece is an
//! ordinary call of an idempotent method, so the call itself repeats it on another worker if its worker dies
//! or freezes. If that is not possible, because no worker is left, the piece is tried again until no piece
//! was answered for [`DistributedOptions::retry_timeout`].
//!
//! Each worker has [`DistributedOptions::in_flight`] pieces in flight, and the next one goes to the worker
//! that finishes first, so a slow worker gets fewer. Pieces fit into a message. If a worker accepts only
//! smaller messages than this client, they are cut smaller.

mod multiply;
mod options;
mod pieces;
mod sort;

pub use options::{DistributedOptions, DistributedProgress};

use crate::interfaces::calculator::CalculatorError;
use pyroxene_client::{CallError, Client};
use pyroxene_common::values::{Matrix, Numbers};
use std::collections::BTreeMap;

/// A result, and statistics about its computation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distributed<T> {
    /// The result.
    pub result: T,
    /// The number of pieces; 0 if no worker was needed.
    pub pieces: usize,
    /// How many attempts at pieces were lost and repeated.
    pub repeated: usize,
    /// How many pieces each worker answered, by name.
    pub workers: BTreeMap<String, usize>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum DistributedError {
    /// A piece got no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The calculator refuses a piece, as it would refuse the complete input.
    #[error(transparent)]
    Calculator(#[from] CalculatorError),
    /// The smallest possible piece does not fit into a message.
    #[error(
        "the least piece of the work needs messages of {needed} bytes; they are limited to {limit} bytes"
    )]
    LimitTooSmall {
        /// The size of a message with the smallest possible piece, in bytes.
        needed: usize,
        /// The size of the largest message, in bytes.
        limit: usize,
    },
    /// A worker answered a piece with something that is not a result for it.
    #[error("worker '{worker}' answered a piece with something else")]
    UnexpectedAnswer {
        /// The worker.
        worker: String,
    },
    /// The client's machine cannot start the threads that cut the input.
    #[error("the input cannot be cut: {0}")]
    CannotCut(String),
}

/// The largest size of a message besides a piece's numbers, in bytes.
const OVERHEAD: usize = 1024;

/// How many numbers fit into a message of this size.
const fn numbers_in(max_message: usize) -> usize {
    max_message.saturating_sub(OVERHEAD) / size_of::<f64>()
}

/// The largest number of numbers in a piece, by the limits of this client.
fn piece_limit(client: &Client, options: &DistributedOptions) -> usize {
    let limit = numbers_in(client.max_message());
    match options.piece_bytes {
        Some(bytes) => limit.min(bytes / size_of::<f64>()),
        None => limit,
    }
}

/// One large sort or product, in pieces over all workers that host a calculator.
pub trait DistributedCalculator {
    /// Sorts values in the order of the calculator's `sort` (IEEE 754's total order), in pieces on all
    /// workers that host `object`, a calculator.
    ///
    /// The client holds the values about twice (as given, and cut into ranges), and the results of the pieces
    /// in flight. The sorted values overwrite the given ones. Values that are frequent in a random sample are
    /// counted and not sent.
    ///
    /// ```no_run
    /// use pyroxene_common::values::Numbers;
    /// use pyroxene_objects::{DistributedCalculator, DistributedOptions};
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let values: Numbers = (0..100_000_000).rev().map(f64::from).collect();
    /// let options = DistributedOptions::default();
    /// let sorted = client.sort_distributed("calculator", values, &options).await?;
    /// println!("{} values in {} pieces", sorted.result.0.len(), sorted.pieces);
    /// for (worker, pieces) in &sorted.workers {
    ///     println!("{worker} sorted {pieces} pieces");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`DistributedError`].
    fn sort_distributed(
        &self,
        object: &str,
        values: Numbers,
        options: &DistributedOptions,
    ) -> impl Future<Output = Result<Distributed<Numbers>, DistributedError>> + Send;

    /// Multiplies two matrices, in tiles on all workers that host `object`, a calculator. Unlike the product
    /// of one call, the product may have more numbers than fit into a message.
    ///
    /// The client holds both matrices and the product once each, a copy of the columns in flight if the right
    /// matrix is sent in parts, and the results of the tiles in flight.
    ///
    /// The last bits of the result may depend on the shapes of the tiles.
    ///
    /// ```no_run
    /// use pyroxene_common::values::Matrix;
    /// use pyroxene_objects::{DistributedCalculator, DistributedOptions};
    ///
    /// # async fn example(client: pyroxene_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let a = Matrix::new(4000, 4000, vec![0.5; 4000 * 4000])?;
    /// let b = a.clone();
    /// let options = DistributedOptions::default();
    /// let product = client.matmul_distributed("calculator", a, b, &options).await?;
    /// assert_eq!(product.result.values()[0], 1000.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`DistributedError`]. As in one call, finite matrices with a product that is not finite are
    /// [`CalculatorError::Overflow`]; here the rows and columns of one tile suffice for that.
    fn matmul_distributed(
        &self,
        object: &str,
        a: Matrix,
        b: Matrix,
        options: &DistributedOptions,
    ) -> impl Future<Output = Result<Distributed<Matrix>, DistributedError>> + Send;
}

impl DistributedCalculator for Client {
    async fn sort_distributed(
        &self,
        object: &str,
        values: Numbers,
        options: &DistributedOptions,
    ) -> Result<Distributed<Numbers>, DistributedError> {
        sort::sort(self, object, values, options).await
    }

    async fn matmul_distributed(
        &self,
        object: &str,
        a: Matrix,
        b: Matrix,
        options: &DistributedOptions,
    ) -> Result<Distributed<Matrix>, DistributedError> {
        multiply::multiply(self, object, a, b, options).await
    }
}
