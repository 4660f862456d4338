//! TLS 1.3 on every link: certificates, trusted authorities, and readable errors.
//!
//! - [`Stream`] is a socket, encrypted or not;
//! - [`TlsServer`] makes an encrypted stream of an accepted socket, and identifies the peer if it has a
//!   certificate;
//! - [`TlsClient`] makes one of a connected socket, and always verifies the server;
//! - [`TlsFailure`] is the reason why a stream could not be encrypted.
//!
//! Certificates are reloaded when their files change (see [`crate::reload`]). Open connections keep the
//! certificates with which they were opened. There are no session tickets: every connection proves both
//! certificates again.

mod client;
mod failure;
mod holder;
mod metered;
mod pem;
#[cfg(feature = "serve")]
mod server;
mod stream;

pub use client::TlsClient;
pub use failure::TlsFailure;
pub use holder::CertificateHolder;
pub(crate) use metered::ReadAllowance;
pub use metered::{MeteredSocket, ReadLimit};
pub use pem::{KeyPairFiles, TlsFileError};
#[cfg(feature = "serve")]
pub use server::{ClientAuth, TlsServer};
pub use stream::Stream;

use std::sync::Arc;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

/// The protocol name inside TLS (ALPN, RFC 7301), so that a server of another protocol is not mistaken for
/// one of ours.
pub(crate) const ALPN: &[u8] = b"pyroxene/1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
