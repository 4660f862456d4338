//! A name server, a worker and a client in one program.
//!
//! ```text
//! cargo run --example embedded --features nameserver
//! ```

use pyroxene::{
    Client, NameServer, NameServerConfig, Worker, interface,
    nameserver::DEFAULT_DRAIN,
    tarpc::context::{self, Context},
};
use std::{error::Error, time::Duration};

interface! {
    /// Counts.
    #[name = "Example.Words"]
    #[version = 1]
    pub trait Words in words {
        /// The number of words in a text.
        #[idempotent]
        async fn count(text: String) -> u64;
        /// The longest word of a text. A text without words has none, which is an error.
        #[idempotent]
        async fn longest(text: String) -> Result<String, String>;
    }
}

#[derive(Clone)]
struct Counter;

impl words::Words for Counter {
    async fn count(self, _: Context, text: String) -> u64 {
        text.split_whitespace().count() as u64
    }

    async fn longest(self, _: Context, text: String) -> Result<String, String> {
        let longest = text.split_whitespace().max_by_key(|word| word.len());
        longest
            .map(str::to_owned)
            .ok_or_else(|| "the text has no words".to_owned())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Port 0 is any free port. Without a store the name server keeps no tasks and no topics.
    let config = NameServerConfig::new("127.0.0.1:0".parse()?);
    let nameserver = NameServer::bind(config).await?;
    let address = nameserver.local_addr().to_string();
    println!("the name server listens at {address}");

    // `bind` returns once the name server has accepted the worker.
    let worker = Worker::builder()
        .nameserver(&address)
        .name("w1")
        .host("Example.words", Words, Counter)
        .bind()
        .await?;
    println!("{} listens at {}", worker.name(), worker.local_addr());

    let client = Client::connect(&address).await?;
    let words = client.object::<Words>("Example.words").await?;
    let text = "the quick brown fox";
    let count = words.count(context::current(), text.to_owned()).await;
    let count = count?;
    println!("'{text}' has {count} words");
    assert_eq!(count, 4);

    // The outer error says that there is no answer, the inner one is the object's own.
    let longest = words.longest(context::current(), String::new()).await;
    match longest? {
        Ok(word) => return Err(format!("'{word}' is in no text").into()),
        Err(error) => println!("the object answers an error: {error}"),
    }

    // The worker leaves the directory and lets its calls finish; then the name server stops.
    drop((words, client));
    worker.shutdown(Duration::from_secs(5)).await;
    nameserver.shutdown(DEFAULT_DRAIN).await?;
    Ok(())
}
