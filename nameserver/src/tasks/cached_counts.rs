//! The number of tasks in each state, cached: counting reads the whole table in the store.

use pyroxene_store::TaskCounts;
use tokio::{sync::Mutex, time::Instant};

/// A count is valid for this many times as long as it took. So counting takes at most a tenth of the time,
/// however many calls ask for it.
const GOOD_FOR: u32 = 10;

/// The last count and until when it is valid.
#[derive(Debug, Default)]
pub(super) struct CachedCounts(Mutex<Option<(TaskCounts, Instant)>>);

impl CachedCounts {
    /// The last count, or a new one if that is too old. Calls that arrive during a count share its result.
    pub(super) async fn get<E, F>(&self, count: impl FnOnce() -> F) -> Result<TaskCounts, E>
    where
        F: Future<Output = Result<TaskCounts, E>>,
    {
        let mut last = self.0.lock().await;
        let asked = Instant::now();
        if let Some((counts, until)) = *last
            && asked < until
        {
            return Ok(counts);
        }
        let counts = count().await?;
        let took = asked.elapsed();
        *last = Some((counts, Instant::now() + took * GOOD_FOR));
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicI64, Ordering},
        time::Duration,
    };
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_a_tenth_of_the_time_is_spent_on_counting() {
        let (counted, calls) = (CachedCounts::default(), AtomicI64::new(0));
        let count = || async {
            sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(TaskCounts {
                queued: calls.fetch_add(1, Ordering::Relaxed),
                ..TaskCounts::default()
            })
        };
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(22) {
            let asked = Instant::now();
            let many = (0..100).map(|_| counted.get(count));
            let answers = futures::future::join_all(many).await;
            assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
            assert!(asked.elapsed() <= Duration::from_secs(1));
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}
