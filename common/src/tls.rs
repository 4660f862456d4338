//! TLS 1.3 on every link: who a side is, whom it trusts, and what went wrong in words.
//!
//! - [`TlsServer`] turns an accepted socket into an encrypted stream, and knows who is at its other
//!   end if that side has a certificate;
//! - [`TlsClient`] does the same for a socket that was connected, and always verifies the server;
//! - [`TlsFailure`] says why there is no encrypted stream.
//!
//! Certificates are read again when their files change (see [`crate::reload`]). Connections that are
//! open keep what they were opened with. There are no session tickets: every connection proves both
//! certificates anew.

mod client;
mod failure;
mod holder;
mod metered;
mod pem;
mod server;

pub use client::TlsClient;
pub use failure::TlsFailure;
pub use holder::Holder;
pub use metered::Metered;
pub use pem::{KeyPair, TlsFileError};
pub use server::{ClientAuth, TlsServer};

use std::sync::Arc;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

/// What both sides name as the protocol inside TLS, so that no other protocol's server is mistaken
/// for one of ours (RFC 7301).
const ALPN: &[u8] = b"pyroxene/1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
