//! How many tasks there are in each state, counted now and then: the store has to look at all of them.

use pyroxene_store::Counts;
use tokio::{sync::Mutex, time::Instant};

/// So many times as long as counting took its answer is good: at most a tenth of the time is spent on it,
/// however many ask.
const GOOD_FOR: u32 = 10;

/// The last answer.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<Option<(Counts, Instant)>>);

impl Counted {
    /// The last answer, or a new one if it is too old. Who asks while it is being counted gets that
    /// answer.
    pub(super) async fn get<E, F>(&self, count: impl FnOnce() -> F) -> Result<Counts, E>
    where
        F: Future<Output = Result<Counts, E>>,
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
        let (counted, calls) = (Counted::default(), AtomicI64::new(0));
        let count = || async {
            sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(Counts {
                queued: calls.fetch_add(1, Ordering::Relaxed),
                ..Counts::default()
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
