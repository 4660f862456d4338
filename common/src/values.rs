//! Value types for the signatures of interfaces: bulk data that is packed in the binary codec and readable in
//! JSON.
//!
//! Each type has two forms. In the binary codec, which reports itself as not human readable, bulk data is one
//! run of little-endian bytes, copied at the speed of memory. In JSON it has the usual form: arrays of
//! numbers, arrays of rows, strings of digits.
//!
//! Decoding allocates no more memory than the input fills, and never panics.

mod blob;
mod bulk;
mod lifted;
mod matrix;
mod numbers;
mod packed;
mod payload;
mod shared;

pub use blob::{BYTES_MARK, Blob};
pub use bulk::Bulk;
pub use lifted::{lifting_blobs, placing_blobs};
pub use matrix::{Matrix, MatrixError};
pub use numbers::{Number, Numbers};
pub use payload::{Payload, check_depth};
pub use shared::{NumberParts, SharedNumbers};
