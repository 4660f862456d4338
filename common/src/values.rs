//! Value types for the signatures of interfaces: bulk data that travels packed between programs
//! and stays readable in JSON.
//!
//! Each type has two forms. In the binary codec, which calls itself not human readable, bulk data
//! is one run of little-endian bytes, copied at the speed of memory. In JSON it is what a person
//! would write: arrays of numbers, arrays of rows, strings of digits.
//!
//! Decoding allocates no more than the input fills, and never panics.

mod blob;
mod bulk;
mod matrix;
mod numbers;
mod packed;
mod payload;
mod shared;

pub use blob::Blob;
pub use bulk::Bulk;
pub use matrix::{Matrix, MatrixError};
pub use numbers::{Number, Numbers};
pub use payload::{Payload, check_depth};
pub use shared::{NumberParts, SharedNumbers};
