//! A sort that is spread over workers.
//!
//! A sample sort (Frazer and McKellar, "Samplesort: a sampling approach to minimal storage tree sorting",
//! JACM 17, 1970): splitters from a random sample cut the values into ranges, each range is sorted by a
//! worker, and the sorted ranges follow each other. The client reads each value once, before the workers
//! begin. To merge sorted pieces instead, it would compare each value with about log2(pieces) others, after
//! they are done.

mod partition;

use super::{
    Distributed, DistributedError, DistributedOptions, OVERHEAD, numbers_in, piece_limit,
    pieces::{self, DistributedWork},
};
use crate::interfaces::calculator::{
    Calculator,
    calculator::{CalculatorRequest, CalculatorResponse},
};
use partition::{Partition, partition};
use pyroxene_client::Client;
use pyroxene_common::{
    interface::Interface,
    values::{NumberParts, Numbers},
};
use rand::{make_rng, rngs::SmallRng};
use serde::{Serialize, Serializer, ser::SerializeStructVariant};
use std::{collections::VecDeque, num::NonZeroUsize, thread::available_parallelism};
use tokio::time::Instant;

/// About how many numbers a piece has: a mebibyte of them fits into a core's own cache, where they are sorted
/// and copied faster.
const TARGET_PIECE: usize = 128 * 1024;

/// Smaller pieces cost more to send than to sort.
const MIN_PIECE: usize = 16 * 1024;

/// The smallest number of pieces for each worker, if they are large enough: then the last one to end does not
/// delay the others for long.
const PIECES_PER_WORKER: usize = 8;

/// The largest number of threads with which the client cuts the input.
const MAX_THREADS: usize = 8;

/// See [`DistributedCalculator::sort_distributed`](super::DistributedCalculator::sort_distributed).
pub(super) async fn sort(
    client: &Client,
    object: &str,
    values: Numbers,
    options: &DistributedOptions,
) -> Result<Distributed<Numbers>, DistributedError> {
    let deadline = Instant::now() + options.timeout;
    let proxy = client
        .proxy_with_deadline::<Calculator>(object, deadline)
        .await?;
    let limit = piece_limit(client, options);
    if limit == 0 {
        return Err(limit_too_small(client.max_message()));
    }
    let workers = proxy.instance_count().max(1);
    let fair = (values.0.len() / (workers * PIECES_PER_WORKER)).max(MIN_PIECE);
    let piece = TARGET_PIECE.min(fair).min(limit);
    let ranges = values.0.len().div_ceil(piece);
    let cut = tokio::task::spawn_blocking(move || {
        let threads = available_parallelism().map_or(1, NonZeroUsize::get);
        let mut random: SmallRng = make_rng();
        partition(values.0, ranges, threads.min(MAX_THREADS), &mut random)
    });
    let partition = cut
        .await
        .map_err(|error| DistributedError::CannotCut(error.to_string()))?;
    let (mut sort, before) = SortInProgress::new(partition, limit);
    let done = pieces::run(&proxy, options, deadline, &mut sort, before).await?;
    Ok(Distributed {
        result: Numbers(sort.result),
        pieces: done.pieces,
        repeated: done.repeated,
        workers: done.workers,
    })
}

fn limit_too_small(limit: usize) -> DistributedError {
    DistributedError::LimitTooSmall {
        needed: OVERHEAD + size_of::<f64>(),
        limit,
    }
}

/// A sort in progress.
struct SortInProgress {
    /// The pieces to be sent, in the order of the result.
    left: VecDeque<SortPiece>,
    /// In the end, the sorted values.
    result: Vec<f64>,
    /// How many numbers a piece may have.
    limit: usize,
}

/// Values that follow each other in the result.
#[derive(Debug)]
struct SortPiece {
    /// Their start in the result.
    start: usize,
    values: NumberParts,
}

impl Serialize for SortPiece {
    /// As a request to sort them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let like = SortInProgress::sample_request();
        let index = u32::try_from(Calculator::request_index(&like)).unwrap_or(u32::MAX);
        let mut request =
            serializer.serialize_struct_variant("CalculatorRequest", index, "Sort", 1)?;
        request.serialize_field("values", &self.values)?;
        request.end()
    }
}

impl SortInProgress {
    /// A sort of values that were cut into ranges, and how many of the values are already in the result.
    fn new(partition: Partition, limit: usize) -> (Self, u64) {
        let mut sort = Self {
            left: VecDeque::new(),
            result: partition.memory,
            limit,
        };
        let mut start = 0;
        let mut before = 0;
        for range in partition.ranges {
            let len = range.values.len();
            if len > 0 {
                sort.left.push_back(SortPiece {
                    start,
                    values: range.values,
                });
            }
            start += len;
            if let Some(copies) = sort.result.get_mut(start..start + range.copies) {
                copies.fill(range.greatest);
                before += copies.len() as u64;
            }
            start += range.copies;
        }
        (sort, before)
    }
}

impl DistributedWork for SortInProgress {
    type Piece = SortPiece;

    fn sample_request() -> CalculatorRequest {
        CalculatorRequest::Sort {
            values: Numbers::default(),
        }
    }

    fn total(&self) -> u64 {
        self.result.len() as u64
    }

    fn next(&mut self) -> Result<Option<SortPiece>, DistributedError> {
        let Some(piece) = self.left.pop_front() else {
            return Ok(None);
        };
        if piece.values.len() <= self.limit {
            return Ok(Some(piece));
        }
        // The sample was unlucky, or a worker accepts smaller messages than others.
        let mut values = piece.values.to_vec();
        while values.len() > self.limit {
            let middle = values.len() / 2;
            values.select_nth_unstable_by(middle, f64::total_cmp);
            let upper = values.split_off(middle);
            self.left.push_front(SortPiece {
                start: piece.start + middle,
                values: upper.into(),
            });
        }
        Ok(Some(SortPiece {
            start: piece.start,
            values: values.into(),
        }))
    }

    fn shrink(&mut self, piece: SortPiece, limit: usize) -> Result<(), DistributedError> {
        // Smaller than the piece in any case, so that repeated calls end.
        let smaller = numbers_in(limit).min(piece.values.len() - 1);
        if smaller == 0 {
            return Err(limit_too_small(limit));
        }
        self.limit = self.limit.min(smaller);
        self.left.push_front(piece);
        Ok(())
    }

    fn write_answer(
        &mut self,
        piece: &SortPiece,
        response: CalculatorResponse,
    ) -> Result<Option<u64>, DistributedError> {
        let CalculatorResponse::Sort(answer) = response else {
            return Ok(None);
        };
        let sorted = answer?.0;
        let len = piece.values.len();
        match self.result.get_mut(piece.start..piece.start + len) {
            Some(place) if sorted.len() == len => place.copy_from_slice(&sorted),
            _ => return Ok(None),
        }
        Ok(Some(len as u64))
    }
}

#[cfg(test)]
mod tests;
