//! The limits of the directory: terms of leases, and sizes.

pub use pyroxene_common::interfaces::directory::{MAX_NAME, MAX_TTL, MIN_TTL};
use std::time::Duration;

/// The time to live of a lease whose worker asks for none (zero).
pub const DEFAULT_TTL: Duration = Duration::from_secs(3);
/// How often a worker renews, and the remaining term of its lease after its connection is lost.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// The longest pause between two runs of [`expire`](super::InstanceDirectory::expire). It is shorter than
/// any lease, so a lease that begins during the pause is still ended on time.
pub(super) const MAX_PAUSE: Duration = Duration::from_millis(250);
/// The shortest pause between two runs, so that leases that end at about the same time are removed together.
pub(super) const MIN_PAUSE: Duration = Duration::from_millis(10);
/// How many sessions and instances one run removes, give or take one session: a hundred thousand at once
/// would block all other calls for a good part of a second.
pub(super) const MAX_EXPIRED: usize = 10_000;

/// The longest pattern of a filter, in bytes.
pub const MAX_PATTERN: usize = 256;
/// The most memory of a compiled pattern, in bytes: more than any pattern for names needs, and compiled in a
/// few milliseconds.
pub(super) const MAX_COMPILED_PATTERN: usize = 256 * 1024;
/// How many compiled patterns are cached.
pub(super) const KEPT_PATTERNS: usize = 32;
/// How many objects or workers a list reads before it releases the directory's lock.
pub(super) const PAGE: usize = 1_000;
/// How long a list with a pattern may search.
pub(super) const MAX_SEARCH: Duration = Duration::from_secs(1);

/// The sizes beyond which a directory answers that it is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryLimits {
    /// Sessions, one per live worker.
    pub sessions: usize,
    /// Objects that one session offers.
    pub objects_per_session: usize,
    /// Instances, including those that wait for an exclusive name.
    pub instances: usize,
    /// How long after its start a name server assumes that live workers have not reconnected yet: calls for
    /// an unknown object wait that long.
    pub settle: Duration,
    /// Tags of one instance.
    pub tags_per_object: usize,
    /// Static names.
    pub static_names: usize,
    /// Calls of `watch` that wait at the same time.
    pub watchers: usize,
    /// Changes that are kept for watchers, over all objects. A watcher that has missed an older change of its
    /// object starts again from a snapshot.
    pub changes: usize,
}

impl Default for DirectoryLimits {
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

/// The term of a worker that asks for `ttl_ms` milliseconds.
pub(super) fn granted_ttl(ttl_ms: u64) -> Duration {
    if ttl_ms == 0 {
        return DEFAULT_TTL;
    }
    Duration::from_millis(ttl_ms).clamp(MIN_TTL, MAX_TTL)
}
