//! The default amount of memory for messages.

use rustix::process::{Resource, getrlimit};
use std::{fs, path::Path};

/// The memory that is assumed if it cannot be found out: 2 GiB.
const ASSUMED_MEMORY: u64 = 2 << 30;

/// The least memory for messages: 16 MiB.
const MIN_MESSAGE_MEMORY: u64 = 16 << 20;

/// Requests may take one eighth of a process's memory. Answers may take as much again, and those of a store
/// as much once more. While a request is decoded or an answer is made, it takes its memory twice.
const MEMORY_DIVISOR: u64 = 8;

/// One eighth of the memory available to this process, and at least 16 MiB. The available memory is the least
/// of its control group's limit, its own limit, and the machine's memory.
pub fn default_message_memory() -> usize {
    let known = [cgroup(), address_space(), machine()];
    let memory = known.into_iter().flatten().min().unwrap_or(ASSUMED_MEMORY);
    usize::try_from((memory / MEMORY_DIVISOR).max(MIN_MESSAGE_MEMORY)).unwrap_or(usize::MAX)
}

fn address_space() -> Option<u64> {
    getrlimit(Resource::As).current
}

fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The least limit of this process's control group and of the groups above it.
fn cgroup() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limit_of = |controller: &str, root: &str, file: &str| {
        let path = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = controllers.split(',').any(|name| name == controller);
            is_it.then(|| path.trim_start_matches('/'))
        })?;
        let root = Path::new(root);
        let groups = Path::new(path).ancestors();
        groups
            .filter_map(|group| number(&root.join(group).join(file)))
            .min()
    };
    let unified = limit_of("", "/sys/fs/cgroup", "memory.max");
    let first = limit_of("memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes");
    [unified, first].into_iter().flatten().min()
}

/// The number in a file; `None` if there is none, for example because there is no limit.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_part_of_what_there_is() {
        let memory = default_message_memory() as u64;
        assert!(memory >= MIN_MESSAGE_MEMORY);
        if let Some(machine) = machine() {
            assert!(memory <= (machine / MEMORY_DIVISOR).max(MIN_MESSAGE_MEMORY));
        }
    }
}
