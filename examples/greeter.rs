//! An interface of one's own, a worker that hosts it, and a client that calls it.
//!
//! With a name server running (`pyroxene nameserver`):
//!
//! ```text
//! cargo run --example greeter -- serve
//! cargo run --example greeter -- greet Ana
//! ```

use pyroxene::{
    CallError, Client, Worker, interface,
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve"] => {
            let worker = Worker::builder().nameserver("127.0.0.1:9090").host(
                "Example.greeter",
                Greeter,
                Polite,
            );
            worker.bind().await?.join().await?;
        }
        ["greet", name] => {
            let client = Client::connect("127.0.0.1:9090").await?;
            let greeter = client.object::<Greeter>("Example.greeter").await?;
            let greeting = greeter
                .hello(context::current(), (*name).to_owned())
                .await
                .map_err(CallError::from)?;
            println!("{greeting}");
        }
        _ => return Err("say 'serve', or 'greet NAME'".into()),
    }
    Ok(())
}
