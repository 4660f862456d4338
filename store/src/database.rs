//! What the databases of the daemons share: the name server's store and the workers' accounts.
//!
//! - [`StoreUrl`] reads the text that names a database, the same for both.
//! - [`Fault`] says what an error of a database means, by what can be done about it.
//! - [`sqlite`] opens files, and keeps their write-ahead log whole.
//! - [`postgres`] connects to servers, refuses those that cannot hold a store, and keeps a schema that
//!   nobody else can put anything into.

mod fault;
pub mod postgres;
pub mod sqlite;
mod url;

pub use fault::{Fault, FaultKind};
pub use url::{InvalidStoreUrl, StoreUrl};
