//! The name server: which workers host which objects.
//!
//! - [`directory`]: sessions, leases, instances and their changes, without I/O; and the service that answers
//!   calls and watches on them.
//! - [`users`]: the users who may log in, and the key that signs their tickets.
//! - `tasks`: durable tasks over the store (`pyroxene_store`), and the dispatcher that runs them.
//! - `exclusive_names`: how the directories of several name servers agree on exclusive names through the
//!   store.
//! - `figures`: what workers report of their calls, summed.
//! - `limits`: the limits of users, and their usage.
//! - `presence`: the members that are present in chat rooms.
//! - `pyro`: Pyro's names over the directory, for programs in Python.
//! - `schedules`: calls that become tasks at the times of cron patterns.
//! - `topics`: the store's topics as an object.
//! - [`NameServer`]: the daemon, which serves all of these on a port.

mod access;
mod daemon;
pub mod directory;
mod exclusive_names;
mod figures;
mod limits;
mod long_poll;
mod peers;
mod presence;
mod pyro;
mod schedules;
mod tasks;
mod topics;
pub mod users;
mod visitors;

pub use access::{CertificatePolicy, InvalidCertificatePolicy};
pub use daemon::{
    DEFAULT_DRAIN, DEFAULT_TICKET_LIFE, DEFAULT_TOPIC_RETENTION, NameServer, NameServerConfig,
    NameServerError,
};
pub use tasks::DEFAULT_TASK_RETENTION;
