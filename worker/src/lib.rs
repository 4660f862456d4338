//! The worker: hosts objects, holds leases with name servers, runs methods.
//!
//! - [`WorkerBuilder`] and [`Worker`]: the settings and the life cycle of a worker.
//! - `session`: the lease with one name server. `registrations`: the sessions with all of them.
//!   `admission`: their combined answer to a starting worker. `successors`: who keeps a name that two live
//!   workers have. `advertise`: the address for clients.
//! - `hosted`: the steps of a call within the worker, with `instances` for the services of objects that have
//!   several, with [`compute`] for CPU-bound calls and `exclusive`
//!   for names that only one worker may serve.

mod admission;
mod advertise;
mod chaos;
pub mod compute;
mod error;
mod exclusive;
mod figures;
mod hosted;
mod instances;
mod load;
mod probe;
mod pyro_logins;
mod registrations;
mod runtime;
mod session;
mod session_context;
mod session_state;
mod successors;
mod ticket_trust;
mod watchdog;
mod worker;

pub use chaos::{Chaos, InvalidChaos};
pub use compute::MAX_THREADS;
pub use error::WorkerError;
pub use hosted::WorkerContext;
pub use probe::WorkerProbe;
pub use runtime::runtime;
pub use worker::{Worker, WorkerBuilder};
