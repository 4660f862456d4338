//! The code that both sides of a Pyroxene connection share, in layers: each module imports only from modules
//! that stand above it in this file. A test in `tests/rooms` checks that.

// Small parts that only a process that listens uses are left to the compiler.
#![cfg_attr(not(feature = "serve"), allow(dead_code, unused_imports))]

// Tools, which know nothing of Pyroxene's protocol.
pub mod byte_budget;
pub mod clean;
pub mod dedicated;
pub mod endpoint;
pub mod offload;
pub mod private_file;
pub mod reload;
pub mod signal;
pub mod spans;
pub mod stable_hash;
pub mod steady_clock;

// The wire: constants, frames and their bodies, and values that are sent without a copy.
pub mod codec;
pub mod values;
pub mod wire;

pub mod envelope;
pub mod frame;
pub mod message;
pub mod metadata;
pub mod transport;

// Who a caller is, as values, and the limits of users.
pub mod identity;
pub mod limits;

// A connection: sockets, then TLS over them, then the hello.
pub mod net;

pub mod tls;

pub mod hello;

// Calls over a connection, and what a method sees of its call.
pub mod scope;

pub mod interceptor;

pub mod local;

pub mod channel;

// Interfaces: their declaration, those of a name server, and calls as JSON.
pub mod interface;
pub mod interfaces;
pub mod json;
pub mod roster;

// Which callers may connect, and what they may call.
#[cfg(feature = "serve")]
pub mod access;

// The hosting of objects.
#[cfg(feature = "serve")]
pub mod host;

pub use channel::Stream;
pub use interface::Remote;

#[doc(hidden)]
pub use {pastey, trait_variant};
