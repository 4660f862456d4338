//! An interface of your own, a worker that hosts it, and a client that calls it.
//!
//! With a name server running (`pyroxene nameserver`):
//!
//! ```text
//! cargo run --example greeter -- serve
//! cargo run --example greeter -- greet Ana
//! ```
//!
//! All in one process, with a name server of its own:
//!
//! ```text
//! cargo run --example greeter --features nameserver
//! ```

use pyroxene::{
    Client, Worker, WorkerBuilder, interface,
    tarpc::context::{self, Context},
};
use std::{env, error::Error};

interface! {
    /// People who say hello.
    #[name = "Example.Greeter"]
    #[version = 1]
    pub trait Greeter in greeter {
        /// A greeting for `name`.
        #[idempotent]
        async fn hello(name: String) -> String;
    }
}

#[derive(Clone)]
struct Polite;

impl greeter::Greeter for Polite {
    async fn hello(self, _: Context, name: String) -> String {
        format!("Hello, {name}!")
    }
}

fn worker(nameserver: &str) -> WorkerBuilder {
    Worker::builder()
        .nameserver(nameserver)
        .host("Example.greeter", Greeter, Polite)
}

async fn greet(nameserver: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(nameserver).await?;
    let greeter = client.object::<Greeter>("Example.greeter").await?;
    let greeting = greeter.hello(context::current(), name.to_owned()).await;
    println!("{}", greeting?);
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
        ["greet", name] => greet("127.0.0.1:9090", name).await?,
        #[cfg(feature = "nameserver")]
        [] => {
            let config = pyroxene::NameServerConfig::new("127.0.0.1:0".parse()?);
            let nameserver = pyroxene::NameServer::bind(config).await?;
            let address = nameserver.local_addr().to_string();
            let _worker = worker(&address).bind().await?;
            greet(&address, "Ana").await?;
        }
        _ => return Err("the arguments are 'serve', or 'greet NAME'".into()),
    }
    Ok(())
}
