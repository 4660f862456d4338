//! One large piece of work, spread over all workers that host a calculator.
//!
//! [`DistributedCalculator`] adds two calls to a [`Client`], which cut their input into pieces and
//! call `sort` or `matrix_multiply` for each; the results are written to their places as they come.
//! A piece is an ordinary call of a method that is safe to repeat, so one whose worker dies or
//! freezes is repeated on another one by the call itself; where that is not possible either, because
//! nobody is left, it is tried again until nobody has answered any piece for
//! [`DistributedOptions::patience`].
//!
//! Each worker has [`DistributedOptions::in_flight`] pieces in front of it, and the next one goes to
//! whoever was done first, so a slow worker gets fewer. Pieces fit into a message; where a worker
//! takes smaller messages than this client, they are cut smaller.

mod multiply;
mod options;
mod pieces;
mod sort;

pub use options::{DistributedOptions, DistributedProgress};

use crate::interfaces::calculator::CalculatorError;
use pyroxene_client::{CallError, Client};
use pyroxene_common::values::{Matrix, Numbers};
use std::collections::BTreeMap;

/// A result, and how it came about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distributed<T> {
    /// The result.
    pub result: T,
    /// How many pieces it was made of; none, if it took no worker.
    pub pieces: usize,
    /// How many attempts at pieces were lost, and made again.
    pub repeated: usize,
    /// How many pieces each worker answered, by name.
    pub workers: BTreeMap<String, usize>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum DistributedError {
    /// A piece has no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The calculator refuses, as it would refuse the whole.
    #[error(transparent)]
    Calculator(#[from] CalculatorError),
    /// No message holds the least possible piece.
    #[error(
        "the least piece of the work needs messages of {needed} bytes; they are limited to {limit} bytes"
    )]
    LimitTooSmall {
        /// The size of a message with the least possible piece, in bytes.
        needed: usize,
        /// The greatest message, in bytes.
        limit: usize,
    },
    /// A worker answered something that is no answer to the piece.
    #[error("worker '{worker}' answered a piece with something else")]
    Confused {
        /// The worker.
        worker: String,
    },
    /// The machine of the client cannot start the threads that cut the input.
    #[error("the input cannot be cut: {0}")]
    NotCut(String),
}

/// What a message holds besides a piece's numbers, in bytes: no more than this.
const OVERHEAD: usize = 1024;

/// How many numbers fit into a message of this size.
const fn numbers_in(max_message: usize) -> usize {
    max_message.saturating_sub(OVERHEAD) / size_of::<f64>()
}

/// The greatest number of numbers in a piece, as far as this side is concerned.
fn piece_limit(client: &Client, options: &DistributedOptions) -> usize {
    let limit = numbers_in(client.max_message());
    match options.piece_bytes {
        Some(bytes) => limit.min(bytes / size_of::<f64>()),
        None => limit,
    }
}

/// One large sort or product, in pieces over all workers that host a calculator.
pub trait DistributedCalculator {
    /// The values in the order of the calculator's `sort` (IEEE 754's total order), sorted in pieces
    /// by all workers that host `object`, a calculator.
    ///
    /// The client holds the values about twice (as they came, and cut into ranges), and the answers
    /// of the pieces in flight; the result is written over the values. Values of which a random
    /// sample has many copies are counted and not sent.
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

    /// The product of two matrices, multiplied in tiles by all workers that host `object`, a
    /// calculator. Unlike that of one call, the product may have more numbers than a message.
    ///
    /// The client holds both matrices and the product once each, a copy of the columns that are
    /// being sent if the right matrix is sent in parts, and the answers of the tiles in flight.
    ///
    /// How the calculator rounds may depend on a tile's shape, in the last bits.
    ///
    /// # Errors
    ///
    /// See [`DistributedError`]. As in one call, finite matrices with a product that is not finite
    /// are [`CalculatorError::Overflow`]; here the rows and columns of one tile are enough for that.
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
