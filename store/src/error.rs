//! Errors of the store, by what can be done about them.

use crate::database::{Fault, FaultKind, InvalidStoreUrl};
use std::path::Path;
use thiserror::Error;

/// Why the store did not carry out a request. Each error is a message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The database does not answer, or is busy. A retry may help. A write may have been done.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The database cannot be written to.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// The disk is full.
    #[error("the store is full: {0}")]
    Full(String),
    /// The disk fails. The write does not count, and nothing is written until the disk works again.
    #[error("the disk of the store fails: {0}")]
    Io(String),
    /// The stored data is damaged.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
    /// A later version of this program wrote it.
    #[error(
        "the store has schema version {found}, but this program knows versions up to {known} only"
    )]
    NewerSchema {
        /// The version of the store.
        found: i64,
        /// The latest version known here.
        known: i64,
    },
    /// There is no store at this address.
    #[error("there is no store: {0}")]
    Missing(String),
    /// There is something at this address, but not a store.
    #[error("it is not a store: {0}")]
    NotAStore(String),
    /// The database does not permit this user the operation.
    #[error("the store refuses access: {0}")]
    Refused(String),
    /// Other roles could act with the rights of this program.
    #[error("the store is not safe from others: {0}")]
    Untrusted(String),
    /// The connection to the database cannot be used: a pooler shares it between clients.
    #[error("the connection to the store cannot be used: {0}")]
    Protocol(String),
    /// The request is invalid, or exceeds a limit.
    #[error("{0}")]
    Invalid(String),
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether a retry may help a little later: after the database is back, or the disk was repaired.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_) | Self::Io(_))
    }

    /// This error of the SQLite store in `file`; see [`Fault::on_disk_of`].
    pub(super) fn on_disk_of(self, file: &Path) -> Self {
        match self {
            Self::Io(message) => Fault::new(FaultKind::Io, message).on_disk_of(file).into(),
            Self::Unavailable(message) => Fault::new(FaultKind::Unavailable, message)
                .on_disk_of(file)
                .into(),
            Self::Missing(message) => Fault::new(FaultKind::Missing, message)
                .on_disk_of(file)
                .into(),
            other => other,
        }
    }

    /// Puts the address before the message.
    pub(super) fn at(self, place: impl std::fmt::Display) -> Self {
        let at = |why: String| format!("{place}: {why}");
        match self {
            Self::Unavailable(why) => Self::Unavailable(at(why)),
            Self::ReadOnly(why) => Self::ReadOnly(at(why)),
            Self::Full(why) => Self::Full(at(why)),
            Self::Io(why) => Self::Io(at(why)),
            Self::Corrupt(why) => Self::Corrupt(at(why)),
            Self::Missing(why) => Self::Missing(at(why)),
            Self::NotAStore(why) => Self::NotAStore(at(why)),
            Self::Refused(why) => Self::Refused(at(why)),
            Self::Untrusted(why) => Self::Untrusted(at(why)),
            Self::Protocol(why) => Self::Protocol(at(why)),
            Self::Invalid(why) => Self::Invalid(at(why)),
            Self::NewerSchema { .. } | Self::Closed => self,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(Fault { kind, message }: Fault) -> Self {
        match kind {
            FaultKind::Unavailable => Self::Unavailable(message),
            FaultKind::ReadOnly => Self::ReadOnly(message),
            FaultKind::Full => Self::Full(message),
            FaultKind::Io => Self::Io(message),
            FaultKind::Corrupt => Self::Corrupt(message),
            FaultKind::Missing => Self::Missing(message),
            FaultKind::NotADatabase => Self::NotAStore(message),
            FaultKind::Refused => Self::Refused(message),
            FaultKind::Untrusted => Self::Untrusted(message),
            FaultKind::Invalid => Self::Invalid(message),
            FaultKind::Protocol => Self::Protocol(message),
            FaultKind::Closed => Self::Closed,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Fault::from(error).into()
    }
}

impl From<InvalidStoreUrl> for StoreError {
    fn from(error: InvalidStoreUrl) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Whether a statement before the commit had no effect, and the whole transaction may well succeed if it is
/// run again.
pub(super) fn is_worth_repeating(error: &sqlx::Error) -> bool {
    match error {
        // A restart of the server, or a transaction that waited for its client for too long.
        sqlx::Error::Database(reported) => {
            is_conflict(error)
                || reported
                    .code()
                    .is_some_and(|code| ["57P01", "25P03"].contains(&&*code))
        }
        // The connection was idle, and the server has closed it since.
        sqlx::Error::Io(_) => true,
        _ => false,
    }
}

/// Whether the server rolled the transaction back because of another one: a deadlock, a conflict, or a key
/// that another transaction inserted between the look-up and the insert. A commit that ended in any other way
/// may have been done.
pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    error
        .code()
        .is_some_and(|code| ["40P01", "40001", "23505"].contains(&&*code))
}
