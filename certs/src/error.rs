//! Errors of certificates and their files.

use crate::{InvalidSan, MAX_DAYS};
use std::{io, path::PathBuf};

/// An error of a certificate or its files.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// The directory has no authority.
    #[error("there is no certificate authority in {}", directory.display())]
    NoAuthority {
        /// The directory.
        directory: PathBuf,
    },
    /// A file exists already, and the caller did not ask to overwrite it.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The path to overwrite is a directory, a link or another thing that is not a file.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    CannotWrite {
        /// The file or directory.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// One of the authority's files has the wrong content.
    #[error("{} is unusable: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The input is not a certificate.
    #[error("it is not a certificate: {why}")]
    NotACertificate {
        /// The reason.
        why: String,
    },
    /// The authority's own certificate has expired.
    #[error("the certificate authority expired on {when}")]
    Expired {
        /// When it expired.
        when: String,
    },
    /// The certificate would expire after its authority.
    #[error("the certificate authority expires on {when}, before {days} days are over")]
    OutlivesAuthority {
        /// The requested validity of the certificate, in days.
        days: u32,
        /// When the authority expires.
        when: String,
    },
    /// The name cannot be the name of a certificate's holder.
    #[error("'{name}' is not a name for a certificate: {why}")]
    InvalidName {
        /// The name.
        name: String,
        /// Why it is invalid.
        why: &'static str,
    },
    /// A host is neither a DNS name nor an address.
    #[error(transparent)]
    InvalidSan(#[from] InvalidSan),
    /// The number of days is not between 1 and [`MAX_DAYS`].
    #[error("a certificate cannot be valid for {0} days; from 1 to {MAX_DAYS} are possible")]
    InvalidDays(u32),
    /// The time is before 1970 or after 9999.
    #[error("certificates cannot be made for this time: check the clock")]
    InvalidTime,
    /// A key or a certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    CannotGenerate(rcgen::Error),
}
