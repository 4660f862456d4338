//! The one way to wait for something: look at the state until it is as wanted, for a bounded time.

use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long [`eventually`] waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it waits between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until it sees `Ok`; panics after ten seconds with `what` and the last state seen, which
/// the look hands over as its `Err`.
pub(crate) async fn eventually<T, F>(what: &str, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    eventually_within(PATIENCE, what, look).await
}

/// As [`eventually`], for another time than ten seconds.
pub(crate) async fn eventually_within<T, F>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + patience;
    let mut last = "nothing".to_owned();
    while Instant::now() < deadline {
        match timeout_at(deadline, look()).await {
            Ok(Ok(seen)) => return seen,
            Ok(Err(state)) => last = state,
            Err(_) => break,
        }
        sleep(PAUSE).await;
    }
    panic!("{what}: not within {patience:?}; last seen: {last}");
}

/// The outcome of `future`, which must come in time.
pub(crate) async fn in_time<T>(
    patience: Duration,
    what: &str,
    future: impl Future<Output = T>,
) -> T {
    match timeout(patience, future).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("{what}: not within {patience:?}"),
    }
}
