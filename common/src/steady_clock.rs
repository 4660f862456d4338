//! A clock that nobody can set: what the machine's clock showed when this process began to serve, and
//! the time that has passed since. For what must not end or be forgotten because a clock was set.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What the machine's clock showed, and when.
static STARTED: LazyLock<(Duration, Instant)> = LazyLock::new(|| {
    let shown = SystemTime::now().duration_since(UNIX_EPOCH);
    (shown.unwrap_or_default(), Instant::now())
});

/// Reads the machine's clock, unless that was done before.
pub(crate) fn start() {
    LazyLock::force(&STARTED);
}

/// What it shows, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let (shown, at) = *STARTED;
    u64::try_from((shown + at.elapsed()).as_millis()).unwrap_or(u64::MAX)
}
