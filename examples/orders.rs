//! An interface whose arguments and answers are structs of your own.
//!
//! Such a program depends on `pyroxene`, `tarpc` and `serde` (with its feature `derive`). With a name
//! server running (`pyroxene nameserver`):
//!
//! ```text
//! cargo run --example orders -- serve
//! cargo run --example orders -- order tea 3
//! pyroxene call Example.orders place 'order={"item": "tea", "count": 3}'
//! ```
//!
//! All in one process, with a name server of its own:
//!
//! ```text
//! cargo run --example orders --features nameserver
//! ```

use pyroxene::{
    Client, Worker, WorkerBuilder, interface,
    schemars::{self, JsonSchema},
    tarpc::context::{self, Context},
};
use serde::{Deserialize, Serialize};
use std::{env, error::Error};

/// An order.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    /// The article.
    pub item: String,
    /// How many of it.
    pub count: u32,
}

/// Why an order is not accepted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub enum OrderError {
    /// There are fewer articles than were ordered.
    SoldOut {
        /// How many there are.
        left: u32,
    },
}

interface! {
    /// A shop.
    #[name = "Example.Orders"]
    #[version = 1]
    pub trait Orders in orders {
        /// Accepts an order, and answers its price in cents.
        async fn place(order: Order) -> Result<u32, OrderError>;
    }
}

#[derive(Clone)]
struct Shop;

impl orders::Orders for Shop {
    async fn place(self, _: Context, order: Order) -> Result<u32, OrderError> {
        match order.count {
            count @ ..100 => Ok(count * 250),
            _ => Err(OrderError::SoldOut { left: 99 }),
        }
    }
}

fn worker(nameserver: &str) -> WorkerBuilder {
    Worker::builder()
        .nameserver(nameserver)
        .host("Example.orders", Orders, Shop)
}

async fn order(nameserver: &str, item: &str, count: u32) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(nameserver).await?;
    let shop = client.object::<Orders>("Example.orders").await?;
    let item = item.to_owned();
    let placed = shop.place(context::current(), Order { item, count }).await;
    match placed? {
        Ok(price) => println!("that is {price} cents"),
        Err(error) => println!("no: {error:?}"),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve"] => {
            worker("127.0.0.1:9090").bind().await?.join().await?;
        }
        ["order", item, count] => order("127.0.0.1:9090", item, count.parse()?).await?,
        #[cfg(feature = "nameserver")]
        [] => {
            let config = pyroxene::NameServerConfig::new("127.0.0.1:0".parse()?);
            let nameserver = pyroxene::NameServer::bind(config).await?;
            let address = nameserver.local_addr().to_string();
            let _worker = worker(&address).bind().await?;
            order(&address, "tea", 3).await?;
            order(&address, "tea", 300).await?;
        }
        _ => return Err("the arguments are 'serve', or 'order ITEM COUNT'".into()),
    }
    Ok(())
}
