//! Many calls over all workers: the results come in the order of the inputs.
//!
//! ```text
//! cargo run --example map --features full                      # a name server and three workers in one process
//! cargo run --example map --features full -- 127.0.0.1:9090    # over name servers that run
//! ```

use futures::StreamExt;
use pyroxene::{
    Calculator, Client, HostBuiltins, NameServer, NameServerConfig, Worker, tarpc::context,
};
use std::{
    env,
    error::Error,
    pin::pin,
    time::{Duration, Instant},
};

/// How many calls.
const COUNT: u64 = 2_000;

/// A name server on a free port, and workers with the built-in calculator.
async fn broker() -> Result<(NameServer, Vec<Worker>), Box<dyn Error>> {
    let config = NameServerConfig::new("127.0.0.1:0".parse()?);
    let nameserver = NameServer::bind(config).await?;
    let mut workers = Vec::new();
    for name in ["w1", "w2", "w3"] {
        let worker = Worker::builder()
            .nameserver(nameserver.local_addr().to_string())
            .name(name)
            .builtins(["calculator"])?;
        workers.push(worker.bind().await?);
    }
    Ok((nameserver, workers))
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

    // The inputs are drawn as they are needed, so there may be any number of them. The closure is called
    // once for each, with tarpc's client; up to 32 calls for each instance are in flight.
    let began = Instant::now();
    let answers = client
        .map::<Calculator, _, _, _>("calculator", 1..=COUNT, |calculator, n| async move {
            let mut context = context::current();
            context.deadline = Instant::now() + Duration::from_secs(60);
            let answer = calculator.factorial(context, n).await;
            (n, answer)
        })
        .await?;

    let mut answers = pin!(answers);
    let mut expected = 1;
    let mut digits = 0;
    while let Some((n, answer)) = answers.next().await {
        assert_eq!(n, expected, "the order of the inputs");
        expected += 1;
        let factorial = answer??.to_string();
        digits += factorial.len();
        if n % 500 == 0 {
            println!("{n}! has {} digits", factorial.len());
        }
    }
    assert_eq!(expected, COUNT + 1);
    println!("{COUNT} calls, {digits} digits, {:.1?}", began.elapsed());
    Ok(())
}
