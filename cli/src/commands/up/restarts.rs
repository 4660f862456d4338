//! When a process that ended by itself is started again.

use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// The most restarts of one process within [`WITHIN`].
pub(super) const MOST: usize = 5;
const WITHIN: Duration = Duration::from_secs(60);

/// The wait before the first restart. Each further one within [`WITHIN`] waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The restarts of one process in the last minute.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    recent: VecDeque<Instant>,
}

impl Restarts {
    /// How long to wait before the process that ended `now` is started again; `None` if it ended too often.
    pub(super) fn next(&mut self, now: Instant) -> Option<Duration> {
        let is_old = |at: &mut Instant| now.duration_since(*at) >= WITHIN;
        while self.recent.pop_front_if(is_old).is_some() {}
        if self.recent.len() >= MOST {
            return None;
        }
        let pauses = std::iter::successors(Some(FIRST_PAUSE), |pause| Some(*pause * 2));
        let pause = pauses.take(self.recent.len() + 1).last()?;
        self.recent.push_back(now);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_there_were_too_many_restarts_in_a_minute() {
        let begin = Instant::now();
        let mut restarts = Restarts::default();
        let mut at = |second| {
            let pause = restarts.next(begin + Duration::from_secs(second));
            pause.map(|pause| pause.as_millis())
        };
        let pauses = [at(0), at(1), at(2), at(3), at(4)];
        assert_eq!(pauses.map(Option::unwrap), [200, 400, 800, 1600, 3200]);
        assert_eq!(at(59), None);
        // The first restart is a minute ago, the others are not.
        assert_eq!(at(60), Some(3200));
        assert_eq!(at(60), None);
        // A process that ran for long begins anew.
        assert_eq!(at(600), Some(200));
    }
}
