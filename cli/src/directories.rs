//! The directories of this user.

use std::{ffi::OsString, path::PathBuf};

/// A directory of this user: the path in a variable of the XDG base directory specification, or one in the
/// home directory. As the specification demands, a path that is not absolute is ignored.
pub(crate) fn user_directory(
    own: Option<OsString>,
    home: Option<OsString>,
    in_home: &str,
) -> Option<PathBuf> {
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|p| p.is_absolute());
    absolute(own).or_else(|| Some(absolute(home)?.join(in_home)))
}
