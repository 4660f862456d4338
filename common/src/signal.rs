//! The signals by which the operating system asks a daemon to stop.

use std::{io, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

/// The requests to stop: SIGTERM and SIGINT.
///
/// Some programs send one request as several signals: `timeout` of GNU signals the process and then its whole
/// group, and a supervisor may do the same. So a signal that follows another one of its kind at once is not a
/// second request.
#[derive(Debug)]
pub struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    echoes: Echoes,
}

impl StopSignals {
    /// Handles the signals instead of their default action, which ends the process.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            echoes: Echoes::default(),
        })
    }

    /// Waits for the next request.
    pub async fn next(&mut self) {
        loop {
            let kind = tokio::select! {
                _ = self.terminate.recv() => StopSignal::Terminate,
                _ = self.interrupt.recv() => StopSignal::Interrupt,
            };
            if self.echoes.is_request(kind, Instant::now()) {
                return;
            }
        }
    }
}

/// The kind of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StopSignal {
    Terminate,
    Interrupt,
}

impl StopSignal {
    /// How long after a signal another one of its kind counts as the same request.
    fn echo_window(self) -> Duration {
        match self {
            Self::Terminate => Duration::from_secs(1),
            // A person presses Ctrl-C twice in less than a second.
            Self::Interrupt => Duration::from_millis(300),
        }
    }
}

/// Tells requests from their repetitions.
#[derive(Debug, Default)]
struct Echoes {
    /// The last request.
    last: Option<(StopSignal, Instant)>,
}

impl Echoes {
    /// Whether a signal is a new request.
    fn is_request(&mut self, kind: StopSignal, now: Instant) -> bool {
        let is_echo = self.last.is_some_and(|(last, at)| {
            last == kind && now.saturating_duration_since(at) < kind.echo_window()
        });
        if !is_echo {
            self.last = Some((kind, now));
        }
        !is_echo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_repeated_at_once_is_one_request() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut echoes = Echoes::default();
        assert!(echoes.is_request(StopSignal::Terminate, start));
        assert!(!echoes.is_request(StopSignal::Terminate, after(0)));
        assert!(!echoes.is_request(StopSignal::Terminate, after(999)));
        assert!(echoes.is_request(StopSignal::Terminate, after(1000)));
        assert!(echoes.is_request(StopSignal::Interrupt, after(1001)));
        assert!(!echoes.is_request(StopSignal::Interrupt, after(1300)));
        assert!(echoes.is_request(StopSignal::Interrupt, after(1301)));
    }
}
