//! The code that both sides of a Pyroxene connection share, in layers: each module imports only from those
//! above it in this file.

// What everything builds on.
pub mod byte_budget;
pub mod clean;
pub mod dedicated;
pub mod endpoint;
pub mod offload;
pub mod private_file;
pub mod reload;
pub mod signal;
pub mod steady_clock;

// The wire: frames, their bodies, and values that are sent without a copy.
pub mod codec;
pub mod values;
pub mod wire;

pub mod envelope;
pub mod frame;
pub mod message;
pub mod transport;

// A connection: who is at its ends, and the streams and the hello that open it.
pub mod identity;
pub mod limits;
pub mod net;

pub mod tls;

pub mod hello;

// Calls over a connection.
pub mod scope;

pub mod channel;

// Interfaces: their declaration, their calls as JSON, and those of a name server.
pub mod interface;

pub mod interfaces;

pub mod json;
pub mod roster;

// Which callers may connect, and what they may call.
pub mod access;

// Hosting of objects.
pub mod host;

#[doc(hidden)]
pub use {pastey, trait_variant};
