//! How to test an object of your own: alone, and through a broker in the same process.
//!
//! ```text
//! cargo test --example testing --features nameserver
//! cargo run --example testing --features nameserver     # the same checks, as a program
//! ```
//!
//! The broker is in the memory of the process, and the time is paused: where all wait, it passes at once. That needs tokio's
//! feature `test-util`.

use pyroxene::{
    CallError, Client, context_within, interface,
    tarpc::context::{self, Context},
    testing::Broker,
};
use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

interface! {
    /// A stock of one article.
    #[name = "Example.Stock"]
    #[version = 1]
    pub trait Stock in stock {
        /// Takes articles out, and answers how many are left; or an error with the number that is there.
        async fn take(count: u32) -> Result<u32, u32>;
        /// How many articles there are.
        #[idempotent]
        async fn left() -> u32;
    }
}

#[derive(Clone)]
struct Shelf(Arc<Mutex<u32>>);

impl Shelf {
    fn with(count: u32) -> Self {
        Self(Arc::new(Mutex::new(count)))
    }
}

impl stock::Stock for Shelf {
    async fn take(self, _: Context, count: u32) -> Result<u32, u32> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.checked_sub(count).ok_or(*left)?;
        Ok(*left)
    }

    async fn left(self, _: Context) -> u32 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The implementation is a plain type: its methods can be called without a broker.
async fn a_shelf_gives_no_more_than_it_has() {
    use stock::Stock as _;
    let shelf = Shelf::with(3);
    assert_eq!(shelf.clone().take(context::current(), 2).await, Ok(1));
    assert_eq!(shelf.clone().take(context::current(), 2).await, Err(1));
    assert_eq!(shelf.left(context::current()).await, 1);
}

/// A broker whose workers have a shelf in common, and a client. Dropping the broker stops all of it.
async fn broker(workers: &[&str], shelf: &Shelf) -> Result<(Broker, Client), Box<dyn Error>> {
    let mut broker = Broker::start().await?;
    for name in workers {
        let added = broker.worker(name, |worker| worker.host("stock", Stock, shelf.clone()));
        added.await?;
    }
    let client = broker.client().await?;
    Ok((broker, client))
}

/// Through the broker: encoding, errors, and the death of a worker.
async fn the_stock_is_there_after_a_worker_has_died() -> Result<(), Box<dyn Error>> {
    let (mut broker, client) = broker(&["w1", "w2"], &Shelf::with(5)).await?;
    let stock = client.object::<Stock>("stock").await?;
    let taken = stock.take(context::current(), 9).await;
    assert_eq!(taken?, Err(5));

    // It dies without a word. `left` is idempotent, so a call that it has got is made again at the other one.
    broker.kill("w1");
    for _ in 0..20 {
        let left = stock.left(context::current()).await;
        assert_eq!(left?, 5);
    }
    Ok(())
}

/// What a caller has to expect of a method that is not idempotent.
async fn a_take_whose_answer_comes_too_late_has_happened() -> Result<(), Box<dyn Error>> {
    let shelf = Shelf::with(5);
    let (broker, client) = broker(&["w1"], &shelf).await?;
    let stock = client.object::<Stock>("stock").await?;
    assert_eq!(stock.left(context::current()).await?, 5);

    broker.delay("w1", Duration::from_secs(1)); // in each direction
    let taken = stock
        .take(context_within(Duration::from_millis(1500)), 2)
        .await;
    match taken {
        Err(CallError::DeadlineExceeded(log)) => assert!(log.may_have_run(), "{log:?}"),
        other => return Err(format!("it is not late: {other:?}").into()),
    }
    assert_eq!(*shelf.0.lock().unwrap_or_else(PoisonError::into_inner), 3);
    Ok(())
}

/// A connection that loses what is sent is noticed, and left.
async fn the_stock_is_there_after_a_worker_was_cut_off() -> Result<(), Box<dyn Error>> {
    let (broker, client) = broker(&["w1", "w2"], &Shelf::with(5)).await?;
    let stock = client.object::<Stock>("stock").await?;
    broker.loss("w1", 1.0);
    for _ in 0..20 {
        let left = stock.left(context_within(Duration::from_secs(30))).await;
        assert_eq!(left?, 5);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    a_shelf_gives_no_more_than_it_has().await;
    the_stock_is_there_after_a_worker_has_died().await?;
    a_take_whose_answer_comes_too_late_has_happened().await?;
    the_stock_is_there_after_a_worker_was_cut_off().await?;
    println!("all checks passed");
    Ok(())
}

#[cfg(test)]
mod tests {

    #[tokio::test]
    async fn a_shelf_gives_no_more_than_it_has() {
        super::a_shelf_gives_no_more_than_it_has().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_stock_is_there_after_a_worker_has_died() {
        let checked = super::the_stock_is_there_after_a_worker_has_died().await;
        checked.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_take_whose_answer_comes_too_late_has_happened() {
        let checked = super::a_take_whose_answer_comes_too_late_has_happened().await;
        checked.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_stock_is_there_after_a_worker_was_cut_off() {
        let checked = super::the_stock_is_there_after_a_worker_was_cut_off().await;
        checked.unwrap();
    }
}
