//! The interfaces that come with the broker.

pub mod directory;
pub mod invoke;
