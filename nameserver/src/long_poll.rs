//! How long a call may wait for a change.

use std::time::Duration;
use tarpc::context::Context;

/// How long before its caller's deadline a waiting call answers; a tenth of the caller's remaining time if that
/// is shorter.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// How long a call may wait and still answer before its deadline.
pub(crate) fn time_to_wait(context: &Context) -> Duration {
    let left = context
        .deadline
        .saturating_duration_since(std::time::Instant::now());
    left.saturating_sub(ANSWER_MARGIN.min(left / 10))
}
