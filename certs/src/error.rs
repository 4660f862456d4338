//! What can go wrong with certificates and their files.

use crate::{InvalidSan, MAX_DAYS};
use std::{io, path::PathBuf};

/// What can go wrong with certificates and their files.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// The directory has no authority.
    #[error("there is no certificate authority in {}", directory.display())]
    NoAuthority {
        /// The directory.
        directory: PathBuf,
    },
    /// A file is there already, and nothing is overwritten unasked.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What is to be overwritten is a directory, a link or something else that is not a file.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What it is not.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why it cannot.
        error: io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    CannotWrite {
        /// The file or directory.
        path: PathBuf,
        /// Why it cannot.
        error: io::Error,
    },
    /// One of the authority's files is not what it should be.
    #[error("{} is unusable: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why it is.
        why: String,
    },
    /// What should be a certificate is none.
    #[error("it is not a certificate: {why}")]
    NotACertificate {
        /// Why it is none.
        why: String,
    },
    /// The authority's own certificate has expired.
    #[error("the certificate authority expired on {when}")]
    Expired {
        /// When it expired.
        when: String,
    },
    /// The certificate would be valid for longer than its authority's.
    #[error("the certificate authority expires on {when}, before {days} days are over")]
    OutlivesAuthority {
        /// For how many days the certificate was to be valid.
        days: u32,
        /// When the authority expires.
        when: String,
    },
    /// The name cannot be the name of a certificate's holder.
    #[error("'{name}' is not a name for a certificate: {why}")]
    InvalidName {
        /// The name.
        name: String,
        /// Why it cannot.
        why: &'static str,
    },
    /// A host is neither a DNS name nor an address.
    #[error(transparent)]
    InvalidSan(#[from] InvalidSan),
    /// The number of days is not between one and the greatest.
    #[error("a certificate cannot be valid for {0} days; from 1 to {MAX_DAYS} are possible")]
    InvalidDays(u32),
    /// The time is before 1970 or after 9999.
    #[error("certificates cannot be made for this time: check the clock")]
    InvalidTime,
    /// A key or a certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    NotMade(rcgen::Error),
}
