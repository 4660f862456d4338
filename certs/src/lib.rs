//! A small certificate authority for brokers that speak TLS: it makes the certificates of name
//! servers, workers and people, and reads who a certificate stands for.
//!
//! - [`Authority`] makes certificates: [`Authority::create`] in a directory, [`Authority::open`]
//!   one that is there, [`Authority::in_memory`] for tests;
//! - [`Request`] says what a certificate is to be, [`Issued`] is what comes of it;
//! - [`inspect`] and [`inspect_der`] tell what is in a certificate as [`CertificateInfo`].
//!
//! # Who a certificate stands for
//!
//! The subject's common name (CN) is the holder's name, its organizational unit (OU) the holder's
//! [`Role`]. [`CertificateInfo::name`] and [`CertificateInfo::role`] are read from there. They are
//! worth something only after the certificate has been verified against an authority that one
//! trusts: nothing here verifies.
//!
//! # Files
//!
//! An authority is `ca.crt` and `ca.key` in a directory; what it issues under a name is `NAME.crt`
//! and `NAME.key` beside them. Keys are ECDSA P-256 in PKCS #8, certificates X.509 version 3, both
//! as PEM. Only their owner can read key files.

mod authority;
mod error;
mod files;
mod info;
mod name;
mod request;
mod role;

pub use authority::Authority;
pub use error::CertsError;
pub use files::{MAX_FILE, read};
pub use info::{CertificateInfo, inspect, inspect_der};
pub use name::{InvalidSan, San};
pub use request::{DEFAULT_DAYS, Issued, MAX_DAYS, Request};
pub use role::{InvalidRole, Role};
