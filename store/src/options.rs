//! Which store, and how it is opened.

use super::model::UnixMillis;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What tells the time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock; with PostgreSQL that of its server, so that the clocks of name servers
    /// need not agree.
    #[default]
    Database,
    /// What the test says it is.
    Manual(Arc<ManualTime>),
}

/// A clock that a test winds: what it shows, and how much time has passed.
#[derive(Debug, Default)]
pub struct ManualTime(Mutex<(UnixMillis, Duration)>);

impl ManualTime {
    /// A clock that shows this.
    pub fn starting_at(shown: UnixMillis) -> Self {
        Self(Mutex::new((shown, Duration::ZERO)))
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let mut now = self.lock();
        now.0 = now.0.saturating_add(super::tasks::millis(time));
        now.1 = now.1.saturating_add(time);
    }

    /// Sets the clock forward by so many milliseconds, or back, while no time passes.
    pub fn set(&self, by: i64) {
        let mut now = self.lock();
        now.0 = now.0.saturating_add(by);
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.lock().1
    }

    fn lock(&self) -> MutexGuard<'_, (UnixMillis, Duration)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock {
    /// The time if it is not the server's to tell.
    pub(super) fn manual(&self) -> Option<UnixMillis> {
        match self {
            Self::Database => None,
            Self::Manual(time) => Some(time.lock().0),
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
    /// Whether a store that is not there is to be made. Otherwise it is
    /// [`Missing`](super::StoreError::Missing).
    pub create: bool,
    /// What tells the time.
    pub clock: Clock,
    /// How long one waits for a connection, for another process that writes, or to be let in.
    pub patience: Duration,
    /// How many connections read (SQLite), or how many there are in all (PostgreSQL, where at least six
    /// are left beside those that write).
    pub connections: u32,
    /// Whether to hear from other processes at once, over `LISTEN`. Without it all that is theirs is found
    /// by looking.
    pub listen: bool,
    /// The greatest body of a task's arguments, a result or an entry, in bytes.
    pub max_body: usize,
    /// The greatest size of an SQLite file, in bytes.
    pub max_file: Option<u64>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            create: false,
            clock: Clock::default(),
            patience: Duration::from_secs(5),
            connections: 12,
            listen: true,
            max_body: 64 << 20,
            max_file: None,
        }
    }
}
