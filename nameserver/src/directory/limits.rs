//! What bounds the directory: terms of leases, and how much it holds.

pub use pyroxene_common::interfaces::directory::{MAX_NAME, MAX_TTL, MIN_TTL};
use std::time::Duration;

/// The time to live of a lease whose worker asks for none (zero).
pub const DEFAULT_TTL: Duration = Duration::from_secs(3);
/// How often a worker renews, and what is left of its lease once its connection is lost.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// The longest pause between two runs of [`expire`](super::Directory::expire). It is shorter than
/// any lease, so a lease that begins during the pause is still ended on time.
pub(super) const MAX_PAUSE: Duration = Duration::from_millis(250);
/// The shortest pause between two runs, so that many leases which end at about the same time are
/// ended together.
pub(super) const MIN_PAUSE: Duration = Duration::from_millis(10);
/// How many sessions and instances one run removes, give or take one session: a hundred thousand
/// at once would hold up everybody else for a good part of a second.
pub(super) const MAX_EXPIRED: usize = 10_000;

/// The longest pattern of a filter, in bytes.
pub const MAX_PATTERN: usize = 256;
/// The most memory that a compiled pattern may take, in bytes: more than any pattern for names needs,
/// and compiled in a few milliseconds.
pub(super) const MAX_COMPILED_PATTERN: usize = 256 * 1024;
/// How many compiled patterns are kept for the next who ask for the same.
pub(super) const KEPT_PATTERNS: usize = 32;
/// How many objects or workers a list looks at before others may change the directory.
pub(super) const PAGE: usize = 1_000;
/// How long a list may look for names that its pattern lets through.
pub(super) const MAX_SEARCH: Duration = Duration::from_secs(1);

/// How much a directory holds before it answers that it is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions, one per live worker.
    pub sessions: usize,
    /// Objects that one session offers.
    pub objects_per_session: usize,
    /// Instances, those that wait for an exclusive name included.
    pub instances: usize,
    /// How long after its start a name server takes for granted that live workers may still be on their
    /// way to it: who asks for an object that it does not know waits that long.
    pub settle: Duration,
    /// Tags of one instance.
    pub tags_per_object: usize,
    /// Static names.
    pub static_names: usize,
    /// Calls of `watch` that wait at the same time.
    pub watchers: usize,
    /// Changes that are remembered for watchers, over all objects. A watcher that has missed an
    /// older change of its object starts again from a snapshot.
    pub changes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 100_000,
            objects_per_session: 1_024,
            instances: 1_000_000,
            settle: DEFAULT_TTL + HEARTBEAT,
            tags_per_object: 32,
            static_names: 10_000,
            watchers: 100_000,
            changes: 65_536,
        }
    }
}

/// The term that is granted to a worker which asks for `ttl_ms` milliseconds.
pub(super) fn granted_ttl(ttl_ms: u64) -> Duration {
    if ttl_ms == 0 {
        return DEFAULT_TTL;
    }
    Duration::from_millis(ttl_ms).clamp(MIN_TTL, MAX_TTL)
}
