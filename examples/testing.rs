//! How to test an object of your own: alone, and through a broker in the same process.
//!
//! ```text
//! cargo test --example testing --features nameserver
//! cargo run --example testing --features nameserver     # the same checks, as a program
//! ```

use pyroxene::{
    Client, NameServer, NameServerConfig, Worker, interface,
    tarpc::context::{self, Context},
};
use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
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

/// A broker for one test: no fixed ports, no files, no other processes. Dropping it stops all of it.
struct Broker {
    nameserver: NameServer,
    workers: Vec<Worker>,
    client: Client,
}

impl Broker {
    async fn start() -> Result<Self, Box<dyn Error>> {
        let config = NameServerConfig::new("127.0.0.1:0".parse()?);
        let nameserver = NameServer::bind(config).await?;
        let client = Client::connect(&nameserver.local_addr().to_string()).await?;
        Ok(Self {
            nameserver,
            workers: Vec::new(),
            client,
        })
    }

    async fn host(&mut self, shelf: Shelf) -> Result<(), Box<dyn Error>> {
        let worker = Worker::builder()
            .nameserver(self.nameserver.local_addr().to_string())
            .host("stock", Stock, shelf);
        self.workers.push(worker.bind().await?);
        Ok(())
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

/// Through the broker: encoding, errors, and the death of a worker.
async fn the_stock_is_there_after_a_worker_has_died() -> Result<(), Box<dyn Error>> {
    let mut broker = Broker::start().await?;
    let shelf = Shelf::with(5);
    broker.host(shelf.clone()).await?;
    broker.host(shelf).await?;
    let stock = broker.client.object::<Stock>("stock").await?;
    let taken = stock.take(context::current(), 9).await;
    assert_eq!(taken?, Err(5));

    // Dropping a worker stops it at once, as a crash would. `left` is repeatable, so it is retried.
    broker.workers.pop();
    for _ in 0..20 {
        let left = stock.left(context::current()).await;
        assert_eq!(left?, 5);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    a_shelf_gives_no_more_than_it_has().await;
    the_stock_is_there_after_a_worker_has_died().await?;
    println!("all checks passed");
    Ok(())
}

#[cfg(test)]
mod tests {

    #[tokio::test]
    async fn a_shelf_gives_no_more_than_it_has() {
        super::a_shelf_gives_no_more_than_it_has().await;
    }

    #[tokio::test]
    async fn the_stock_is_there_after_a_worker_has_died() {
        let checked = super::the_stock_is_there_after_a_worker_has_died().await;
        checked.unwrap();
    }
}
