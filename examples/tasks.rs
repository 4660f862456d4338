//! Durable tasks: submit, follow the progress, wait for the result.
//!
//! ```text
//! cargo run --example tasks --features nameserver                      # all in one process
//! cargo run --example tasks --features nameserver -- 127.0.0.1:9090    # over name servers that run
//! ```

use futures::StreamExt;
use pyroxene::{
    Client, NameServer, NameServerConfig, NewTask, StoreUrl, TaskError, Worker, interface,
    progress,
    tarpc::context::{self, Context},
};
use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};
use tokio::time::sleep;

interface! {
    /// Makes reports.
    #[name = "Example.Reports"]
    #[version = 1]
    pub trait Reports in reports {
        /// A report of this number of pages, at most 100. Each page takes a fifth of a second.
        #[idempotent]
        async fn build(pages: u32) -> Result<String, String>;
    }
}

#[derive(Clone)]
struct Printer;

impl reports::Reports for Printer {
    async fn build(self, _: Context, pages: u32) -> Result<String, String> {
        if pages > 100 {
            return Err(format!("{pages} pages are too many"));
        }
        for page in 1..=pages {
            sleep(Duration::from_millis(200)).await;
            progress(
                f64::from(page) / f64::from(pages),
                format_args!("page {page}"),
            );
        }
        Ok(format!("a report of {pages} pages"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Tasks need a store. In memory it ends with the name server; `sqlite:FILE` keeps it.
    let config = NameServerConfig::new("127.0.0.1:0".parse()?).store(StoreUrl::Memory);
    let given = env::args().nth(1);
    let own = match given {
        Some(_) => None,
        None => Some(NameServer::bind(config).await?),
    };
    let own_address = own.as_ref().map(|own| own.local_addr().to_string());
    let nameservers = given.or(own_address).unwrap_or_default();

    let client = Client::connect(&nameservers).await?;
    // It is on disk (or in this store's memory) when `submit` returns, also if no worker is there yet.
    let task = NewTask::new("Example.reports", "build")
        .argument("pages", 5)
        .max_attempts(5)
        .deadline(Duration::from_secs(60));
    let task = client.submit(task).await?;
    println!("submitted {}", task.id());

    let worker = Worker::builder()
        .nameserver(&nameservers)
        .host("Example.reports", Reports, Printer)
        .bind()
        .await?;
    let mut updates = task.updates();
    while let Some(status) = updates.next().await {
        let status = status?;
        match status.progress {
            Some(at) => println!(
                "{}: {:.0} %, {}",
                status.state,
                at.fraction * 100.0,
                at.note
            ),
            None => println!("{}", status.state),
        }
    }
    let report: String = task.wait_as().await?;
    println!("the result: {report}");
    assert_eq!(report, "a report of 5 pages");

    // An error that the object answers is the end of the task: it is not tried again.
    let task = NewTask::new("Example.reports", "build").argument("pages", 1000);
    match client.submit(task).await?.wait().await {
        Err(error @ TaskError::Failed { .. }) => println!("as expected: {error}"),
        other => return Err(format!("unexpected: {other:?}").into()),
    }

    // tarpc's client, whose calls are tasks. The deadline of the call is that of the task.
    let reports = client.durable::<Reports>("Example.reports");
    let mut context = context::current();
    context.deadline = Instant::now() + Duration::from_secs(60);
    let report = reports.build(context, 2).await?;
    println!("a call that was a task: {}", report?);

    worker.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
