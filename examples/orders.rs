//! An interface whose arguments and answers are structs of one's own.
//!
//! Such a program depends on `pyroxene`, `tarpc` and `serde` (with its feature `derive`). With a name
//! server running (`pyroxene nameserver`):
//!
//! ```text
//! cargo run --example orders -- serve
//! cargo run --example orders -- order tea 3
//! pyroxene call Example.orders place 'order={"item": "tea", "count": 3}'
//! ```

use pyroxene::{
    CallError, Client, Worker, interface,
    schemars::{self, JsonSchema},
    tarpc::context::{self, Context},
};
use serde::{Deserialize, Serialize};
use std::{env, error::Error};

/// What is ordered.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    /// What.
    pub item: String,
    /// How many.
    pub count: u32,
}

/// Why an order is not taken.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub enum OrderError {
    /// There are not so many.
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
        /// Takes an order, and answers its price in cents.
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve"] => {
            let worker =
                Worker::builder()
                    .nameserver("127.0.0.1:9090")
                    .host("Example.orders", Orders, Shop);
            worker.bind().await?.join().await?;
        }
        ["order", item, count] => {
            let client = Client::connect("127.0.0.1:9090").await?;
            let shop = client.object::<Orders>("Example.orders").await?;
            let order = Order {
                item: (*item).to_owned(),
                count: count.parse()?,
            };
            let placed = shop.place(context::current(), order).await;
            match placed.map_err(CallError::from)? {
                Ok(price) => println!("that is {price} cents"),
                Err(error) => println!("no: {error:?}"),
            }
        }
        _ => return Err("say 'serve', or 'order ITEM COUNT'".into()),
    }
    Ok(())
}
