//! Retries at the start of a daemon after temporary problems: a database that cannot be reached, is starting
//! or is locked, a disk that is full or fails, or an address that another process still has.

use std::{fmt::Display, time::Duration};
use tokio::time::{Instant, sleep};

/// The first pause between two attempts. Each pause is twice as long as the one before, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Retries until an attempt succeeds, fails for a reason that is not temporary, or `timeout` is over; `None`
/// means without limit. `waits_for` names what an attempt failed for, if that may end by itself. Each reason
/// for waiting is logged once.
pub(crate) async fn retry_transient<T, E: Display>(
    timeout: Option<Duration>,
    waits_for: impl Fn(&E) -> Option<String>,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    loop {
        let outcome = attempt().await;
        let what = outcome.as_ref().err().and_then(&waits_for);
        let (error, what) = match (outcome, what) {
            (Err(error), Some(what)) => (error, what),
            (outcome, _) => return outcome,
        };
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(error);
        }
        let reason = error.to_string();
        if reason != said {
            tracing::warn!(reason, "waiting for {what}");
            said = reason;
        }
        sleep(left.map_or(pause, |left| pause.min(left))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database that cannot be reached for `away` attempts. Returns the number of attempts, and the
    /// outcome.
    async fn tried(timeout: Option<Duration>, away: u32) -> (u32, Result<(), String>) {
        let mut tries = 0;
        let outcome = retry_transient(
            timeout,
            |error: &String| (error == "away").then(|| "a database".to_owned()),
            async || {
                tries += 1;
                match tries {
                    tries if tries <= away => Err("away".to_owned()),
                    666 => Err("broken".to_owned()),
                    _ => Ok(()),
                }
            },
        );
        let outcome = outcome.await;
        (tries, outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn what_heals_is_waited_for_as_long_as_was_said() {
        assert_eq!(tried(None, 0).await, (1, Ok(())));
        assert_eq!(tried(None, 600).await, (601, Ok(())));
        let began = Instant::now();
        let (tries, outcome) = tried(Some(Duration::from_secs(10)), 600).await;
        assert_eq!(outcome, Err("away".to_owned()));
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        assert!((10..20).contains(&tries), "{tries}");
        let none = tried(Some(Duration::ZERO), 600).await;
        assert_eq!(none, (1, Err("away".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_heal_ends_the_wait() {
        let broken = Err("broken".to_owned());
        assert_eq!(tried(None, 665).await, (666, broken));
    }
}
