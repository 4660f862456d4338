//! A topic: append to it, follow it, read from it.
//!
//! ```text
//! cargo run --example topic --features nameserver                      # all in one process
//! cargo run --example topic --features nameserver -- 127.0.0.1:9090    # over name servers that run
//! ```

use futures::StreamExt;
use pyroxene::{Client, NameServer, NameServerConfig, StoreUrl, TopicError};
use std::{env, error::Error, pin::pin, time::Duration};

/// How long an operation is tried again while name servers cannot answer.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Prints the entries after a sequence as they come, until there was one that is "closed".
async fn follow(client: Client, after: u64) -> Result<Vec<u64>, TopicError> {
    let mut entries = pin!(client.topic("Example.orders").follow(after));
    let mut sequences = Vec::new();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let text = String::from_utf8_lossy(entry.body.as_ref());
        println!("follower: {} {text}", entry.sequence);
        sequences.push(entry.sequence);
        if text == "closed" {
            break;
        }
    }
    Ok(sequences)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = NameServerConfig::new("127.0.0.1:0".parse()?).store(StoreUrl::Memory);
    let given = env::args().nth(1);
    let own = match given {
        Some(_) => None,
        None => Some(NameServer::bind(config).await?),
    };
    let own_address = own.as_ref().map(|own| own.local_addr().to_string());
    let client = Client::connect(&given.or(own_address).unwrap_or_default()).await?;

    // A topic begins with its first entry; the sequence of the newest one is its head.
    let topic = client.topic("Example.orders");
    let before = topic.read(0, 1, Duration::ZERO, RETRY_TIMEOUT).await?.head;
    let follower = tokio::spawn(follow(client.clone(), before));

    for item in ["tea", "coffee", "milk"] {
        let sequence = topic
            .append(item.as_bytes().to_vec(), RETRY_TIMEOUT)
            .await?;
        println!("appended {item} as entry {sequence}");
    }
    // An entry with the same key is there once, however often it is appended.
    let key = format!("sugar after {before}");
    let first = topic
        .append_once(&*key, b"sugar".to_vec(), RETRY_TIMEOUT)
        .await?;
    let second = topic
        .append_once(&*key, b"sugar".to_vec(), RETRY_TIMEOUT)
        .await?;
    assert_eq!(first, second);
    let last = topic.append(b"closed".to_vec(), RETRY_TIMEOUT).await?;

    // Every follower sees every entry once, in the order of the sequences.
    let followed = follower.await??;
    assert_eq!(followed, Vec::from_iter(before + 1..=last));

    let page = topic.read(before, 2, Duration::ZERO, RETRY_TIMEOUT).await?;
    println!("the first {} of {} entries:", page.entries.len(), page.head);
    for entry in page.entries {
        println!(
            "{} {}",
            entry.sequence,
            String::from_utf8_lossy(entry.body.as_ref())
        );
    }
    Ok(())
}
