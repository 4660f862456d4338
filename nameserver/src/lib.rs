//! The name server: which workers host which objects.
//!
//! - [`directory`]: sessions, leases, instances and their changes, without I/O; and the service
//!   that answers calls and watches over it.
//! - [`users`]: who may log in, and the key that signs their tickets.
//! - `tasks`: durable tasks over the store (`pyroxene_store`), and the dispatcher that runs them.
//! - `exclusive_names`: how the directories of several name servers agree on them over the store.
//! - `limits`: what users may take, and what they have taken.
//! - `presence`: who is there, for those who keep members.
//! - `topics`: the store's topics as an object.
//! - [`NameServer`]: the daemon, which is that service behind a port.

mod access;
mod daemon;
pub mod directory;
mod exclusive_names;
mod limits;
mod peers;
mod presence;
mod tasks;
mod topics;
pub mod users;

pub use access::{Certificates, InvalidCertificates};
pub use daemon::{
    DEFAULT_DRAIN, DEFAULT_TICKET_LIFE, DEFAULT_TOPIC_RETENTION, NameServer, NameServerConfig,
    NameServerError,
};
pub use tasks::DEFAULT_TASK_RETENTION;
