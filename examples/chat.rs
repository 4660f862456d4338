//! Two members of a chat room, which lives on two workers.
//!
//! ```text
//! cargo run --example chat --features full                      # all in one process
//! cargo run --example chat --features full -- 127.0.0.1:9090    # over name servers and workers that run
//! ```

use pyroxene::{
    Chat, Client, HostBuiltins, NameServer, NameServerConfig, StoreUrl, Worker, tarpc::context,
};
use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

/// A context whose deadline is beyond the longest wait for messages.
fn patient() -> context::Context {
    let mut context = context::current();
    context.deadline = Instant::now() + Duration::from_secs(30);
    context
}

/// A name server that keeps the messages in a topic, and workers with the built-in chat.
async fn broker() -> Result<(NameServer, Vec<Worker>), Box<dyn Error>> {
    let config = NameServerConfig::new("127.0.0.1:0".parse()?).store(StoreUrl::Memory);
    let nameserver = NameServer::bind(config).await?;
    let mut workers = Vec::new();
    for name in ["w1", "w2"] {
        let worker = Worker::builder()
            .nameserver(nameserver.local_addr().to_string())
            .name(name)
            .builtins(["chat"])?;
        workers.push(worker.bind().await?);
    }
    Ok((nameserver, workers))
}

/// Joins, receives messages until one says "bye", and leaves. Answers how many there were.
async fn listen(client: Client, name: &str) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let chat = client.object::<Chat>("chat").await?;
    let joined = chat.join(patient(), name.to_owned(), None).await;
    let joined = joined??;
    println!("{name}: here are {}", joined.members.join(", "));
    let session = Some(joined.session);
    let (mut after, mut count) = (joined.head, 0);
    loop {
        // It waits up to 20 s for a message. Going on from `next`, it sees every message once.
        let received = chat
            .receive(patient(), name.to_owned(), after, 20_000, session.clone())
            .await;
        let received = received??;
        after = received.next;
        for message in received.messages {
            count += 1;
            println!("{name}: {} says '{}'", message.from, message.text);
            if message.text == "bye" {
                let left = chat.leave(patient(), name.to_owned(), session).await;
                left??;
                return Ok(count);
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let given = env::args().nth(1);
    let own = match given {
        Some(_) => None,
        None => Some(broker().await?),
    };
    let own_address = own.as_ref().map(|(own, _)| own.local_addr().to_string());
    let client = Client::connect(&given.or(own_address).unwrap_or_default()).await?;

    let chat = client.object::<Chat>("chat").await?;
    let bob = tokio::spawn(listen(client.clone(), "bob"));
    // Another worker may be the one that answers: the members are known to all of them.
    while !chat.members(patient()).await??.contains(&"bob".to_owned()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (ana, to_bob) = ("ana".to_owned(), "bob".to_owned());
    for text in ["hello", "is anybody there?"] {
        let sent = chat
            .broadcast(patient(), ana.clone(), text.to_owned(), None)
            .await;
        let sent = sent??;
        println!("ana: said '{text}' as message {}", sent.sequence);
    }
    // A message to one member; only ana and bob can read it.
    let sent = chat
        .send(patient(), ana, to_bob, "bye".to_owned(), None)
        .await;
    assert!(sent??.present, "bob is there");
    assert_eq!(bob.await?.map_err(|error| error.to_string())?, 3);
    Ok(())
}
