//! A clock that cannot be set: the machine's time when this process began to serve, plus the time that has
//! passed since. It is for things that must not expire or be forgotten because the machine's clock was set.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The machine's time at the start, and the instant of that reading.
static STARTED: LazyLock<(Duration, Instant)> = LazyLock::new(|| {
    let shown = SystemTime::now().duration_since(UNIX_EPOCH);
    (shown.unwrap_or_default(), Instant::now())
});

/// Reads the machine's clock, if that was not done before.
pub(crate) fn start() {
    LazyLock::force(&STARTED);
}

/// The current time of this clock, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let (shown, at) = *STARTED;
    u64::try_from((shown + at.elapsed()).as_millis()).unwrap_or(u64::MAX)
}
