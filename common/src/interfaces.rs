//! The interfaces that come with the broker.

pub mod calculator;
pub mod directory;
pub mod echo;
pub mod hash;
pub mod text;
