//! The deadline of a call, in tarpc's context.

use std::time::Duration;
use tarpc::context::{self, Context};
use tokio::time::Instant;

/// A new context with this deadline.
///
/// ```
/// use pyroxene_client::context_until;
/// use tokio::time::Instant;
///
/// let deadline = Instant::now();
/// assert_eq!(context_until(deadline).deadline, deadline.into_std());
/// ```
pub fn context_until(deadline: Instant) -> Context {
    let mut context = context::current();
    context.deadline = deadline.into_std();
    context
}

/// A new context whose deadline is after this time.
///
/// ```
/// use pyroxene_client::context_within;
/// use std::time::{Duration, Instant};
///
/// let minute = Duration::from_secs(60);
/// assert!(context_within(minute).deadline <= Instant::now() + minute);
/// ```
pub fn context_within(time: Duration) -> Context {
    context_until(Instant::now() + time)
}
