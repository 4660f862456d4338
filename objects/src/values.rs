//! Value types of the built-in objects: amounts of money, and integers of any size.

mod decimal;
mod integer;

pub use decimal::{Decimal, DecimalError};
pub use integer::Integer;
