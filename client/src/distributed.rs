//! One large piece of work, spread over all workers that host a calculator.
//!
//! [`Client::sort_distributed`] and [`Client::matmul_distributed`] cut their input into pieces and
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

use crate::{client::Client, error::CallError};
use pyroxene_common::interfaces::calculator::CalculatorError;
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

impl Client {
    /// The greatest number of numbers in a piece, as far as this side is concerned.
    fn piece_limit(&self, options: &DistributedOptions) -> usize {
        let limit = numbers_in(self.max_message());
        match options.piece_bytes {
            Some(bytes) => limit.min(bytes / size_of::<f64>()),
            None => limit,
        }
    }
}
