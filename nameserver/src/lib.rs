//! The name server: which workers host which objects.
//!
//! - [`directory`]: sessions, leases, instances and their changes, without I/O; and the service
//!   that answers calls and watches over it.
//! - [`NameServer`]: the daemon, which is that service behind a port.

mod daemon;
pub mod directory;

pub use daemon::{NameServer, NameServerConfig};
