//! The options of distributed work, and its progress.

use std::{fmt, sync::Arc, time::Duration};

/// The options of distributed work.
///
/// ```
/// use pyroxene_objects::DistributedOptions;
/// use std::time::Duration;
///
/// let options = DistributedOptions::default()
///     .timeout(Duration::from_secs(600))
///     .in_flight(4)
///     .piece_bytes(1 << 20);
/// ```
#[derive(Clone)]
pub struct DistributedOptions {
    pub(super) timeout: Duration,
    pub(super) retry_timeout: Duration,
    pub(super) in_flight: usize,
    pub(super) piece_bytes: Option<usize>,
    pub(super) progress: Option<Arc<dyn Fn(DistributedProgress) + Send + Sync>>,
}

impl fmt::Debug for DistributedOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DistributedOptions")
            .field("timeout", &self.timeout)
            .field("patience", &self.retry_timeout)
            .field("in_flight", &self.in_flight)
            .field("piece_bytes", &self.piece_bytes)
            .finish_non_exhaustive()
    }
}

/// The progress of distributed work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DistributedProgress {
    /// How many numbers of the result are known.
    pub done: u64,
    /// How many numbers the result has.
    pub total: u64,
    /// How many pieces were answered.
    pub pieces: usize,
    /// How many attempts at pieces were lost and repeated.
    pub repeated: usize,
}

impl Default for DistributedOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60 * 60),
            retry_timeout: Duration::from_secs(10),
            in_flight: 2,
            piece_bytes: None,
            progress: None,
        }
    }
}

impl DistributedOptions {
    /// The timeout of the complete work. The default is an hour.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long pieces without an answer are tried again, counted from the last answered piece. The default
    /// is 10 seconds: workers are restarted within that time.
    #[must_use]
    pub fn retry_timeout(mut self, patience: Duration) -> Self {
        self.retry_timeout = patience;
        self
    }

    /// How many pieces each worker has in flight, at least one. The default is 2: one in work, and one on its
    /// way.
    #[must_use]
    pub fn in_flight(mut self, pieces: usize) -> Self {
        self.in_flight = pieces.max(1);
        self
    }

    /// The largest size of a piece, in bytes of numbers. The default depends on the work. Pieces always fit
    /// into a message.
    #[must_use]
    pub fn piece_bytes(mut self, bytes: usize) -> Self {
        self.piece_bytes = Some(bytes);
        self
    }

    /// Calls `hear` with the progress: at the beginning, and after each piece. It is called by the task that
    /// polls the work, and should return soon.
    ///
    /// ```
    /// use pyroxene_objects::DistributedOptions;
    ///
    /// let options = DistributedOptions::default().progress(|progress| {
    ///     println!("{} of {} numbers are known", progress.done, progress.total);
    /// });
    /// ```
    #[must_use]
    pub fn progress(mut self, hear: impl Fn(DistributedProgress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(hear));
        self
    }

    pub(super) fn report(&self, progress: DistributedProgress) {
        if let Some(hear) = &self.progress {
            hear(progress);
        }
    }
}
