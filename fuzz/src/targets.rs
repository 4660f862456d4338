//! What is fed with hostile bytes. A target panics if something does not hold that must hold
//! whatever the bytes are.
//!
//! A target that needs a clock is a future: its caller decides whose time passes.

pub mod answers;
pub mod frames;
pub mod hello;
pub mod json;
pub mod requests;
pub mod tickets;

pub(crate) mod faces;
pub(crate) mod object;
mod reference;

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Something real would send it.
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
