//! How many connections are possible with the process's limit of open files.

use rustix::process::{Resource, getrlimit};

/// The least number of files that is reserved for files, databases and outgoing connections. Otherwise an
/// eighth of the limit is reserved.
const MIN_RESERVE: usize = 64;

/// How many files this process may have open; `None` if there is no limit.
pub(super) fn limit() -> Option<usize> {
    let soft = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(soft).unwrap_or(usize::MAX))
}

/// How many of `wanted` connections are possible if the process may open `files` files.
pub(super) fn connections(wanted: usize, files: Option<usize>) -> usize {
    let Some(files) = files else {
        return wanted;
    };
    let reserve = (files / 8).max(MIN_RESERVE);
    wanted.min(files.saturating_sub(reserve)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_left_for_other_things() {
        assert_eq!(connections(16_384, None), 16_384);
        assert_eq!(connections(16_384, Some(1 << 20)), 16_384);
        assert_eq!(connections(16_384, Some(1024)), 896);
        assert_eq!(connections(100, Some(1024)), 100);
        assert_eq!(connections(16_384, Some(128)), 64);
        assert_eq!(connections(16_384, Some(10)), 1);
    }
}
