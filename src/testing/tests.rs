//! A broker in paused time.

mod counted;
mod evolving;
mod nested;
mod travelling;

use super::Broker;
use crate::{CallError, tarpc::context::Context};
use pyroxene_client::context_within;
use std::time::Duration;
use tarpc::context;
use tokio::time::{Instant, sleep};

crate::interface! {
    /// Waits.
    #[name = "Test.Waiter"]
    #[version = 1]
    pub(crate) trait Waiter in waiter {
        /// Waits for so many seconds, and answers the name of the worker.
        #[idempotent]
        async fn wait(seconds: u64) -> String;
    }
}

#[derive(Clone)]
struct Waiting(&'static str);

impl waiter::Waiter for Waiting {
    async fn wait(self, _: Context, seconds: u64) -> String {
        sleep(Duration::from_secs(seconds)).await;
        self.0.to_owned()
    }
}

async fn broker(workers: &[&'static str]) -> Broker {
    let mut broker = Broker::start().await.unwrap();
    for name in workers {
        let added = broker.worker(name, |worker| worker.host("waiter", Waiter, Waiting(name)));
        added.await.unwrap();
    }
    broker
}

#[tokio::test(start_paused = true)]
async fn hours_pass_at_once_and_leases_go_on() {
    let broker = broker(&["w1"]).await;
    let client = broker.client().await.unwrap();
    let waiter = client.object::<Waiter>("waiter").await.unwrap();
    let (began, real) = (Instant::now(), std::time::Instant::now());
    let day = context_within(Duration::from_secs(24 * 3600));
    assert_eq!(waiter.wait(day, 3600).await.unwrap(), "w1");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(3600), "{took:?}");
    assert!(real.elapsed() < Duration::from_secs(60), "{real:?}");
    // The worker is still there, and a context of the system's time still does.
    assert_eq!(waiter.wait(context::current(), 1).await.unwrap(), "w1");
    let late = waiter.wait(context::current(), 60).await.unwrap_err();
    assert!(matches!(late, CallError::DeadlineExceeded(_)), "{late}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_is_left_and_one_that_is_slow_is_waited_for() {
    let mut broker = broker(&["w1", "w2"]).await;
    let client = broker.client().await.unwrap();
    let waiter = client.object::<Waiter>("waiter").await.unwrap();
    for _ in 0..10 {
        waiter.wait(context::current(), 0).await.unwrap();
    }
    broker.kill("w1");
    for _ in 0..10 {
        let answered = waiter.wait(context::current(), 0).await.unwrap();
        assert_eq!(answered, "w2");
    }
    broker.delay("w2", Duration::from_secs(1));
    let began = Instant::now();
    waiter.wait(context::current(), 0).await.unwrap();
    let took = began.elapsed();
    assert!((2..4).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_worker_is_cut_off_goes_to_another_one_or_is_late() {
    let mut broker = broker(&["w1"]).await;
    let client = broker.client().await.unwrap();
    let waiter = client.object::<Waiter>("waiter").await.unwrap();
    waiter.wait(context::current(), 0).await.unwrap();
    broker.loss("w1", 1.0);
    let error = waiter.wait(context::current(), 0).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::DeadlineExceeded(_) | CallError::MaybeRan(_) | CallError::Unavailable(_)
        ),
        "{error}"
    );
    let added = broker.worker("w2", |worker| worker.host("waiter", Waiter, Waiting("w2")));
    added.await.unwrap();
    assert_eq!(waiter.wait(context::current(), 0).await.unwrap(), "w2");
    broker.stop("w2").await;
}
