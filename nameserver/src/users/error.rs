//! The errors of users and their files.

use super::MAX_USERS;
use pyroxene_common::identity::{InvalidUserName, KeyError, printable_user};
use std::{fmt, io, path::PathBuf};

/// The errors of users and their files.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// There is no users file.
    #[error("there is no users file {}", path.display())]
    Missing {
        /// The path of the missing file.
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
    /// A file cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    CannotWrite {
        /// The file.
        path: PathBuf,
        /// Why it cannot.
        error: io::Error,
    },
    /// A file is readable or writable for others on this machine, and must not be.
    #[error("others can {what} {}: only its owner may", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What others can do: `read` or `write`.
        what: &'static str,
    },
    /// A file has invalid content.
    #[error("{place}{why}")]
    Invalid {
        /// The position in the file.
        place: UsersFilePosition,
        /// What is wrong.
        why: String,
    },
    /// A user of this name exists already.
    #[error("there is a user '{}' already", printable_user(name))]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no user of this name.
    #[error("there is no user '{}'", printable_user(name))]
    Unknown {
        /// The name.
        name: String,
    },
    /// The name is no valid name of a user.
    #[error(transparent)]
    InvalidName(#[from] InvalidUserName),
    /// The number of users has reached the limit.
    #[error("there are {MAX_USERS} users already, which is the limit")]
    Full,
    /// No token or domain key could be made.
    #[error(transparent)]
    NoKey(#[from] KeyError),
}

/// A position in a file, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersFilePosition {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from one.
    pub line: Option<usize>,
    /// The user.
    pub user: Option<String>,
}

impl fmt::Display for UsersFilePosition {
    /// The text before an error message about the position.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(user) = &self.user {
            write!(f, ", user '{}'", user.escape_debug())?;
        }
        f.write_str(": ")
    }
}
