//! The interfaces of a name server, and [`invoke`], which every object serves.

pub mod access;
pub mod batches;
pub mod directory;
pub mod figures;
pub mod invoke;
pub mod presence;
pub mod schedules;
pub mod tasks;
pub mod topics;
pub mod visitors;
