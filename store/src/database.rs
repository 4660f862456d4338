//! Database code that the name server's store and the workers' accounts share.
//!
//! - [`StoreUrl`] parses the address of a database, the same for both.
//! - [`Fault`] classifies the errors of databases, by what can be done about them.
//! - [`sqlite`] opens files, and keeps their write-ahead log complete.
//! - [`postgres`] connects to servers, refuses servers that cannot hold a store, and keeps a schema in which
//!   no other role can create anything.

mod fault;
pub mod postgres;
pub mod sqlite;
mod url;

pub use fault::{Fault, FaultKind};
pub use url::{InvalidStoreUrl, StoreUrl};
