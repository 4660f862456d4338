//! The targets: code that is run with hostile bytes. A target panics if a property does not hold that must
//! hold for every input.
//!
//! A target that needs a clock is a future: its caller decides how time passes.

pub mod answers;
pub mod frames;
pub mod hello;
pub mod json;
pub mod pyro;
pub mod requests;
pub mod streams;
pub mod tickets;

mod connection;
pub(crate) mod erased_interfaces;
pub(crate) mod object;
mod reference_reader;

/// The result of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A real peer could have sent it.
    Accepted,
    /// It was refused, as a whole or in part.
    Refused,
}

impl Verdict {
    fn accepted_if(accepted: bool) -> Self {
        match accepted {
            true => Self::Accepted,
            false => Self::Refused,
        }
    }
}
