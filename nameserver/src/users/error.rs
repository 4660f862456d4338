//! What can go wrong with users and their files.

use super::MAX_USERS;
use pyroxene_common::access::{InvalidUserName, KeyError, shown_user};
use std::{fmt, io, path::PathBuf};

/// What can go wrong with users and their files.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// There is no users file.
    #[error("there is no users file {}", path.display())]
    Missing {
        /// Where it should be.
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
    /// Others on this machine may do with a file what nobody but its owner may.
    #[error("others can {what} {}: only its owner may", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What they can do: `read` or `write`.
        what: &'static str,
    },
    /// A file is not what it should be.
    #[error("{place}{why}")]
    Invalid {
        /// Where in which file.
        place: Place,
        /// What is wrong there.
        why: String,
    },
    /// There is such a user already.
    #[error("there is a user '{}' already", shown_user(name))]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no such user.
    #[error("there is no user '{}'", shown_user(name))]
    Unknown {
        /// The name.
        name: String,
    },
    /// The name cannot be that of a user.
    #[error(transparent)]
    InvalidName(#[from] InvalidUserName),
    /// There are as many users as there may be.
    #[error("there are {MAX_USERS} users already, which is the limit")]
    Full,
    /// No token or domain key could be made.
    #[error(transparent)]
    NoKey(#[from] KeyError),
}

/// A place in a file, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from one on.
    pub line: Option<usize>,
    /// The user.
    pub user: Option<String>,
}

impl fmt::Display for Place {
    /// What stands before a sentence about it.
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
