//! Pyro's protocol (Pyro5, wire version 502): unmodified Python programs as clients of this broker, and as
//! objects that it calls.
//!
//! - Bytes: [`wire`] has the header and annotations, [`transport`] reads and writes whole messages.
//! - Values: [`PyValue`] is what every [`serializer`] reads and writes; [`schema`] converts it from and to the
//!   JSON of this broker's interfaces.
//! - [`uri`] has Pyro's addresses, [`exception`] its errors, [`tags`] the tags with a meaning here.
//! - [`server`] answers a connection for [`server::PyroObjects`]: those of a host ([`hosted`]), or a name
//!   server ([`naming`]).
//! - [`envelope`] is what a call carries beside its arguments.
//! - [`login`] lets clients in where callers have to log in.
//! - [`client`] calls an object of a Pyro daemon, and [`bridge`] lets this broker's clients do so as if it were
//!   an object of a worker.

pub mod apart;
pub mod bridge;
pub mod client;
#[cfg(feature = "serve")]
pub mod described;
#[cfg(feature = "serve")]
pub mod envelope;
pub mod exception;
#[cfg(feature = "serve")]
pub mod hosted;
pub mod limits;
pub mod literal;
#[cfg(feature = "serve")]
pub mod login;
#[cfg(feature = "serve")]
pub mod naming;
pub mod schema;
pub mod serializer;
#[cfg(feature = "serve")]
pub mod server;
pub mod tags;
pub mod transport;
pub mod uri;
mod value;
pub mod wire;

pub use value::PyValue;
