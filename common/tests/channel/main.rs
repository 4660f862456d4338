//! The call channel against friends, stalled peers and enemies.

mod answers;
mod batches;
mod deadlines;
mod drain;
mod harness;
mod hostile;
mod hosts;
mod liveness;
mod loss;
mod memory;
mod mutations;
mod one_way;
mod probe;
mod stock;
