//! What both ends of a Pyroxene connection share.

pub mod codec;
pub mod interface;
pub mod interfaces;
pub mod scope;
pub mod values;
pub mod wire;

#[doc(hidden)]
pub use {pastey, trait_variant};
