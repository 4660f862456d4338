//! The code that both sides of a Pyroxene connection share.

pub mod access;
pub mod byte_budget;
pub mod channel;
pub mod clean;
pub mod codec;
pub mod dedicated;
pub mod endpoint;
pub mod envelope;
pub mod frame;
pub mod hello;
pub mod host;
pub mod interface;
pub mod interfaces;
pub mod json;
pub mod message;
pub mod net;
pub mod offload;
pub mod private_file;
pub mod reload;
pub mod roster;
pub mod scope;
pub mod signal;
pub mod steady_clock;
pub mod tls;
pub mod transport;
pub mod values;
pub mod wire;

pub use channel::Stream;

#[doc(hidden)]
pub use {pastey, trait_variant};
