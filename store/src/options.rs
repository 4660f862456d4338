//! Options for opening a store.

use super::model::UnixMillis;
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The source of the time.
#[derive(Clone, Debug, Default)]
pub enum StoreClock {
    /// The machine's clock; with PostgreSQL that of its server, so that the clocks of name servers
    /// need not agree.
    #[default]
    Database,
    /// The time that the test sets.
    Manual(Arc<ManualTime>),
}

/// A clock that a test controls: the time that it shows, and the elapsed time.
#[derive(Debug, Default)]
pub struct ManualTime(Mutex<(UnixMillis, Duration)>);

impl ManualTime {
    /// A clock that shows this time.
    pub fn starting_at(shown: UnixMillis) -> Self {
        Self(Mutex::new((shown, Duration::ZERO)))
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let mut now = self.0.lock();
        now.0 = now.0.saturating_add(super::tasks::millis(time));
        now.1 = now.1.saturating_add(time);
    }

    /// Sets the clock forward or back by a number of milliseconds, while no time passes.
    pub fn set(&self, by: i64) {
        let mut now = self.0.lock();
        now.0 = now.0.saturating_add(by);
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.lock().1
    }
}

impl StoreClock {
    /// The time, unless the database provides it.
    pub(super) fn manual(&self) -> Option<UnixMillis> {
        match self {
            Self::Database => None,
            Self::Manual(time) => Some(time.0.lock().0),
        }
    }

    /// The time of this machine, or the manual one.
    pub(super) fn here(&self) -> UnixMillis {
        self.manual().unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, super::tasks::millis)
        })
    }
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Whether to create a store that does not exist. Otherwise opening it is
    /// [`Missing`](super::StoreError::Missing).
    pub create: bool,
    /// The source of the time.
    pub clock: StoreClock,
    /// The timeout for a connection, for another process that writes, and for room in the queue of writes.
    pub timeout: Duration,
    /// The number of connections that read (SQLite), or of all connections (PostgreSQL, where at least six
    /// are left besides those that write).
    pub connections: u32,
    /// Whether to receive changes of other processes at once, over `LISTEN`. Without it they are found by
    /// polling.
    pub listen: bool,
    /// The largest size of a task's arguments, a result or an entry, in bytes.
    pub max_body: usize,
    /// The largest size of an SQLite file, in bytes.
    pub max_file: Option<u64>,
}

impl StoreOptions {
    /// How long one request waits for a server, or for another process that writes: shorter than those who asked
    /// wait for its answer, so that the answer has the reason.
    pub(crate) fn wait_timeout(&self) -> Duration {
        self.timeout * 3 / 5
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            create: false,
            clock: StoreClock::default(),
            timeout: Duration::from_secs(5),
            connections: 12,
            listen: true,
            max_body: 64 << 20,
            max_file: None,
        }
    }
}
