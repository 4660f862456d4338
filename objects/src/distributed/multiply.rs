//! A matrix product that is spread over workers.
//!
//! The product is cut into tiles. Each tile is the product of a block of the left matrix's rows and a block
//! of the right matrix's columns, and its request carries both. So a few large tiles need the least data to
//! be sent. The grid of tiles is the one with the least data to send that gives every worker a tile, and
//! whose tiles fit into a message.

mod grid;

use super::{
    Distributed, DistributedError, DistributedOptions, OVERHEAD, numbers_in, piece_limit,
    pieces::{self, DistributedWork},
};
use crate::interfaces::calculator::{
    Calculator, CalculatorError,
    calculator::{CalculatorRequest, CalculatorResponse},
};
use grid::{Grid, Shape};
use pyroxene_client::Client;
use pyroxene_common::{
    interface::Interface,
    values::{Matrix, NumberParts, SharedNumbers},
};
use serde::{Serialize, Serializer, ser::SerializeStructVariant};
use std::{collections::VecDeque, ops::Range};
use tokio::time::Instant;

/// See [`DistributedCalculator::matmul_distributed`](super::DistributedCalculator::matmul_distributed).
pub(super) async fn multiply(
    client: &Client,
    object: &str,
    a: Matrix,
    b: Matrix,
    options: &DistributedOptions,
) -> Result<Distributed<Matrix>, DistributedError> {
    if a.columns() != b.rows() {
        return Err(DistributedError::Calculator(CalculatorError::Mismatch {
            left_rows: a.rows(),
            left_columns: a.columns(),
            right_rows: b.rows(),
            right_columns: b.columns(),
        }));
    }
    let deadline = Instant::now() + options.timeout;
    let proxy = client
        .proxy_with_deadline::<Calculator>(object, deadline)
        .await?;
    let shape = Shape {
        rows: a.rows() as usize,
        inner: a.columns() as usize,
        columns: b.columns() as usize,
    };
    let limit = piece_limit(client, options);
    let Some(grid) = shape.grid(proxy.instance_count().max(1), limit) else {
        return Err(limit_too_small(shape, client.max_message()));
    };
    let mut product = ProductInProgress::new(shape, grid, limit, a, b);
    let done = pieces::run(&proxy, options, deadline, &mut product, 0).await?;
    Ok(Distributed {
        result: product.result,
        pieces: done.pieces,
        repeated: done.repeated,
        workers: done.workers,
    })
}

fn limit_too_small(shape: Shape, limit: usize) -> DistributedError {
    DistributedError::LimitTooSmall {
        needed: OVERHEAD + shape.sent(1, 1) * size_of::<f64>(),
        limit,
    }
}

/// A product in progress.
struct ProductInProgress {
    shape: Shape,
    /// The tiles to be sent.
    left: VecDeque<Tile>,
    a: SharedNumbers,
    b: SharedNumbers,
    /// The columns of `b` that were copied last, and the copy.
    panel: (Range<usize>, SharedNumbers),
    result: Matrix,
    /// How many numbers a message may hold.
    limit: usize,
}

/// A part of the product, by its rows and columns.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tile {
    rows: Range<usize>,
    columns: Range<usize>,
}

/// A tile, with the rows and columns that it is the product of.
struct TilePiece {
    tile: Tile,
    inner: usize,
    a: NumberParts,
    b: NumberParts,
}

impl Serialize for TilePiece {
    /// As a request to multiply.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The sides of the matrices fit into 32 bits, and so do those of their parts.
        let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let like = ProductInProgress::sample_request();
        let index = u32::try_from(Calculator::request_index(&like)).unwrap_or(u32::MAX);
        let mut request =
            serializer.serialize_struct_variant("CalculatorRequest", index, "MatrixMultiply", 2)?;
        let inner = side(self.inner);
        request.serialize_field("a", &(side(self.tile.rows.len()), inner, &self.a))?;
        request.serialize_field("b", &(inner, side(self.tile.columns.len()), &self.b))?;
        request.end()
    }
}

impl ProductInProgress {
    fn new(shape: Shape, grid: Grid, limit: usize, a: Matrix, b: Matrix) -> Self {
        let result = Matrix::zeros_for_product(&a, &b);
        let tiles = grid
            .cuts(shape)
            .map(|(rows, columns)| Tile { rows, columns });
        Self {
            shape,
            left: tiles.collect(),
            a: a.into_values().into(),
            b: b.into_values().into(),
            panel: (0..0, Vec::new().into()),
            result,
            limit,
        }
    }

    /// Whether the tile and its request fit into messages.
    fn fits(&self, tile: &Tile) -> bool {
        let (rows, columns) = (tile.rows.len(), tile.columns.len());
        self.shape.fits(rows, columns, self.limit)
    }

    /// The columns of the right matrix, as a matrix.
    fn panel(&mut self, columns: &Range<usize>) -> SharedNumbers {
        if *columns == (0..self.shape.columns) {
            return self.b.clone();
        }
        if self.panel.0 != *columns {
            let panel = (0..self.shape.inner)
                .map(|row| row * self.shape.columns)
                .flat_map(|row| self.b.iter_in(row + columns.start..row + columns.end));
            self.panel = (columns.clone(), panel.collect::<Vec<f64>>().into());
        }
        self.panel.1.clone()
    }
}

impl DistributedWork for ProductInProgress {
    type Piece = TilePiece;

    fn sample_request() -> CalculatorRequest {
        let (a, b) = (Matrix::one_number(0.0), Matrix::one_number(0.0));
        CalculatorRequest::MatrixMultiply { a, b }
    }

    fn total(&self) -> u64 {
        self.result.values().len() as u64
    }

    fn next(&mut self) -> Result<Option<TilePiece>, DistributedError> {
        let Some(mut tile) = self.left.pop_front() else {
            return Ok(None);
        };
        while !self.fits(&tile) {
            let Some((first, second)) = tile.halves() else {
                let limit = OVERHEAD + self.limit * size_of::<f64>();
                return Err(limit_too_small(self.shape, limit));
            };
            self.left.push_front(second);
            tile = first;
        }
        let inner = self.shape.inner;
        let a = self.a.slice(tile.rows.start * inner..tile.rows.end * inner);
        let b = self.panel(&tile.columns);
        Ok(Some(TilePiece {
            tile,
            inner,
            a: a.into(),
            b: b.into(),
        }))
    }

    fn shrink(&mut self, piece: TilePiece, limit: usize) -> Result<(), DistributedError> {
        // Smaller than the piece in any case, so that repeated calls end.
        let sent = piece.a.len() + piece.b.len();
        self.limit = self.limit.min(numbers_in(limit)).min(sent - 1);
        self.left.push_front(piece.tile);
        Ok(())
    }

    fn write_answer(
        &mut self,
        piece: &TilePiece,
        response: CalculatorResponse,
    ) -> Result<Option<u64>, DistributedError> {
        let CalculatorResponse::MatrixMultiply(answer) = response else {
            return Ok(None);
        };
        let answer = answer?;
        let (rows, columns) = (&piece.tile.rows, &piece.tile.columns);
        let shape = (answer.rows() as usize, answer.columns() as usize);
        if shape != (rows.len(), columns.len()) {
            return Ok(None);
        }
        let width = self.shape.columns;
        let target = self.result.values_mut().chunks_exact_mut(width);
        let target = target.skip(rows.start).take(rows.len());
        for (target, row) in target.zip(answer.iter_rows()) {
            if let Some(target) = target.get_mut(columns.clone()) {
                target.copy_from_slice(row);
            }
        }
        Ok(Some(answer.values().len() as u64))
    }
}

impl Tile {
    /// Two tiles that form it, cut across its longer side; `None` for a single number.
    fn halves(&self) -> Option<(Self, Self)> {
        let half = |range: &Range<usize>| {
            let middle = range.start + range.len() / 2;
            (range.start..middle, middle..range.end)
        };
        let (mut first, mut second) = (self.clone(), self.clone());
        if self.rows.len() >= self.columns.len() {
            (first.rows, second.rows) = half(&self.rows);
        } else {
            (first.columns, second.columns) = half(&self.columns);
        }
        let whole = self.rows.len() * self.columns.len();
        (whole > 1).then_some((first, second))
    }
}

#[cfg(test)]
mod tests;
