//! Who has locked a SQLite file. The kernel lists the locks of all processes in `/proc/locks`.
//!
//! The files themselves are not opened: closing one would end the locks that this process has on it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// The process that keeps others from writing to the database `file`, such as `process 4711 (sqlite3)`; `None` if
/// that is not known.
pub(crate) fn holder(file: &Path) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let mut beside = file.as_os_str().to_owned();
    // In WAL mode the locks are on the shared memory beside the file.
    beside.push("-shm");
    let number = |path: &Path| fs::metadata(path).ok().map(|found| found.ino());
    let files = [(number(Path::new(&beside)), true), (number(file), false)];
    let mut files = files
        .into_iter()
        .filter_map(|(number, is_shared_memory)| Some((number?, is_shared_memory)));
    let process = files.find_map(|file| writer(&locks, file, std::process::id()))?;
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok();
    Some(match name.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() => format!("process {process} ({name})"),
        _ => format!("process {process}"),
    })
}

/// The first process other than `own` that has locked the file with this number for writing. A line of the list is
/// `1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120`; one of a process that only waits has `->` after its number.
fn writer(locks: &str, (file, is_shared_memory): (u64, bool), own: u32) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_writing = words.next() != Some("->") && words.nth(1) == Some("WRITE");
        let process = words.next()?.parse().ok()?;
        let locked = words.next()?.rsplit(':').next()?;
        // One writer has this byte; others are those of readers and of checkpoints.
        let is_writer = match is_shared_memory {
            true => words.next() == Some("120"),
            false => true,
        };
        let is_it =
            is_writing && is_writer && process != own && process != 0 && locked.parse() == Ok(file);
        is_it.then_some(process)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_for_writing_has_a_holder_and_one_who_waits_or_reads_is_none() {
        let locks = "1: POSIX  ADVISORY  READ  10 08:01:7 128 128\n\
                     2: POSIX  ADVISORY  WRITE 11 08:01:7 120 120\n\
                     2: -> POSIX  ADVISORY  WRITE 12 08:01:8 120 120\n\
                     3: POSIX  ADVISORY  WRITE 13 08:01:9 120 120\n";
        let held = |file, own| writer(locks, (file, true), own);
        assert_eq!(held(7, 1), Some(11));
        assert_eq!(held(7, 11), None);
        assert_eq!(held(8, 1), None);
        assert_eq!(held(9, 1), Some(13));
        let checkpoint = "1: POSIX  ADVISORY  WRITE 11 08:01:7 121 121\n";
        assert_eq!(writer(checkpoint, (7, true), 1), None);
        assert_eq!(writer(checkpoint, (7, false), 1), Some(11));
        assert_eq!(writer("", (9, true), 1), None);
        assert_eq!(writer("nonsense", (9, true), 1), None);
    }
}
