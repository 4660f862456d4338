//! How many connections the files that this process may open are enough for.

use rustix::process::{Resource, getrlimit};

/// What is left for files, databases and the connections that the process makes itself: an eighth, and
/// as many as this at least.
const LEAST_RESERVE: usize = 64;

/// How many files this process may have open; nothing if there is no limit.
pub(super) fn limit() -> Option<usize> {
    let soft = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(soft).unwrap_or(usize::MAX))
}

/// Of `wanted` connections those for which there are files, when the process may open `files`.
pub(super) fn connections(wanted: usize, files: Option<usize>) -> usize {
    let Some(files) = files else {
        return wanted;
    };
    let reserve = (files / 8).max(LEAST_RESERVE);
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
