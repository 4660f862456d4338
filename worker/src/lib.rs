//! The worker: hosts objects, holds leases with name servers, runs methods.
//!
//! - [`Worker`] and [`WorkerBuilder`]: putting one together, its life.
//! - `session`: the lease with one name server; `registrations`: with all of them; `admission`: what they
//!   say together to a worker that starts.
//!   `advertise`: the address that clients are told.
//! - `hosted`: the way of a call within the worker, with [`compute`] for what is CPU-bound and
//!   `exclusive` for names that only one worker may serve.

mod admission;
mod advertise;
mod builder;
mod chaos;
pub mod compute;
mod exclusive;
mod guard;
mod hosted;
mod load;
mod registrations;
mod runtime;
mod session;
mod watchdog;
mod worker;

pub use builder::WorkerBuilder;
pub use chaos::{Chaos, InvalidChaos};
pub use hosted::Surroundings;
pub use runtime::runtime;
pub use worker::{MAX_THREADS, Worker, WorkerError};
