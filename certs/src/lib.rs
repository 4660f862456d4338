//! A small certificate authority for brokers that use TLS. It makes the certificates of name servers,
//! workers and people, and reads the holder's name and role from a certificate.
//!
//! - [`CertificateAuthority`] makes certificates: [`CertificateAuthority::create`] makes a new authority in a directory,
//!   [`CertificateAuthority::open`] opens an existing one, [`CertificateAuthority::in_memory`] is for tests;
//! - [`CertificateRequest`] describes a certificate to make, [`IssuedCertificate`] is the certificate with its key;
//! - [`inspect`] and [`inspect_der`] return the content of a certificate as [`CertificateInfo`].
//!
//! # The holder of a certificate
//!
//! The subject's common name (CN) is the holder's name. Its organizational unit (OU) is the holder's
//! [`CertificateRole`]. [`CertificateInfo::name`] and [`CertificateInfo::role`] are read from there. Trust them
//! only after the certificate has been verified against a trusted authority: this crate does not verify.
//!
//! # Files
//!
//! An authority is the files `ca.crt` and `ca.key` in a directory. A certificate that it issues is
//! `NAME.crt` and `NAME.key` in the same directory. Keys are ECDSA P-256 in PKCS #8, certificates are
//! X.509 version 3, both as PEM. Only their owner can read key files.

mod authority;
mod error;
mod files;
mod info;
mod name;
mod request;

pub use authority::CertificateAuthority;
pub use error::CertsError;
pub use files::{MAX_FILE_BYTES, read};
pub use info::{CertificateInfo, inspect, inspect_der};
pub use name::{InvalidSan, San};
/// The role of a certificate's holder in a broker.
pub use pyroxene_common::identity::{
    InvalidRole as InvalidCertificateRole, Role as CertificateRole,
};
pub use request::{CertificateRequest, DEFAULT_DAYS, IssuedCertificate, MAX_DAYS};
