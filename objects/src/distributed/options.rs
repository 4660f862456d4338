//! How work is spread, and how far it is.

use std::{fmt, sync::Arc, time::Duration};

/// How work is spread over workers.
#[derive(Clone)]
pub struct DistributedOptions {
    pub(super) timeout: Duration,
    pub(super) patience: Duration,
    pub(super) in_flight: usize,
    pub(super) piece_bytes: Option<usize>,
    pub(super) progress: Option<Arc<dyn Fn(DistributedProgress) + Send + Sync>>,
}

impl fmt::Debug for DistributedOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DistributedOptions")
            .field("timeout", &self.timeout)
            .field("patience", &self.patience)
            .field("in_flight", &self.in_flight)
            .field("piece_bytes", &self.piece_bytes)
            .finish_non_exhaustive()
    }
}

/// How far distributed work is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DistributedProgress {
    /// Numbers of the result that are in their places.
    pub done: u64,
    /// Numbers of the result.
    pub total: u64,
    /// Pieces that were answered.
    pub pieces: usize,
    /// Attempts at pieces that were lost, and made again.
    pub repeated: usize,
}

impl Default for DistributedOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60 * 60),
            patience: Duration::from_secs(10),
            in_flight: 2,
            piece_bytes: None,
            progress: None,
        }
    }
}

impl DistributedOptions {
    /// How long all of it may take. The default is an hour.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long pieces that nobody takes or answers are tried again, counted from the last piece
    /// that was answered. The default is 10 seconds: workers are restarted in that time.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How many pieces each worker has in front of it, at least one. The default is 2: one to work
    /// on, and one on its way.
    #[must_use]
    pub fn in_flight(mut self, pieces: usize) -> Self {
        self.in_flight = pieces.max(1);
        self
    }

    /// The greatest size of a piece, in bytes of numbers. The default is what suits the work; in any
    /// case pieces fit into a message.
    #[must_use]
    pub fn piece_bytes(mut self, bytes: usize) -> Self {
        self.piece_bytes = Some(bytes);
        self
    }

    /// Calls `hear` with how far the work is: at its beginning, and after each piece. It is called
    /// by whoever polls the work, and should return soon.
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
