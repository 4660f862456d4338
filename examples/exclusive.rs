//! An exclusive name: of the workers that offer it, one has it. When that worker is gone, another one takes
//! over, with a greater fence.
//!
//! ```text
//! cargo run --example exclusive --features nameserver
//! ```

use pyroxene::{
    Client, NameServer, NameServerConfig, Worker,
    common::scope,
    interface,
    tarpc::context::{self, Context},
};
use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

interface! {
    /// Writes to a disk that several workers share, one at a time.
    #[name = "Example.Writer"]
    #[version = 1]
    pub trait Writer in writer {
        /// Writes a line, and answers which worker wrote it under which fence.
        async fn write(line: String) -> Result<(String, u64), String>;
    }
}

/// What the workers write to: it refuses all fences but the greatest that it has seen. A worker that was
/// frozen and does not know yet that it lost the name cannot write any more.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(u64, Vec<String>)>>);

impl Disk {
    fn append(&self, fence: u64, line: String) -> Result<(), String> {
        let mut disk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if fence < disk.0 {
            return Err(format!("fence {fence} is old: {} was here", disk.0));
        }
        disk.0 = fence;
        disk.1.push(line);
        Ok(())
    }
}

#[derive(Clone)]
struct OneWriter {
    worker: String,
    disk: Disk,
}

impl writer::Writer for OneWriter {
    async fn write(self, _: Context, line: String) -> Result<(String, u64), String> {
        let fence = scope::current().fence.ok_or("the name is not exclusive")?;
        self.disk.append(fence, line)?;
        Ok((self.worker, fence))
    }
}

async fn start(name: &str, nameserver: &str, disk: &Disk) -> Result<Worker, Box<dyn Error>> {
    let writer = OneWriter {
        worker: name.to_owned(),
        disk: disk.clone(),
    };
    let worker = Worker::builder()
        .nameserver(nameserver)
        .name(name)
        .host_exclusive("Example.writer", Writer, writer);
    Ok(worker.bind().await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = NameServerConfig::new("127.0.0.1:0".parse()?);
    let nameserver = NameServer::bind(config).await?;
    let address = nameserver.local_addr().to_string();
    let disk = Disk::default();
    let first = start("w1", &address, &disk).await?;
    let second = start("w2", &address, &disk).await?;

    // A weak object may have no instance for a while: its calls wait for one until their deadline.
    let client = Client::connect(&address).await?;
    let writer = client.weak_object::<Writer>("Example.writer");
    let write = async |line: &str| {
        let mut context = context::current();
        context.deadline = Instant::now() + Duration::from_secs(20);
        let written = writer.write(context, line.to_owned()).await;
        let (worker, fence) = written??;
        println!("{worker} wrote '{line}' under fence {fence}");
        Ok::<_, Box<dyn Error>>((worker, fence))
    };
    let (holder, old_fence) = write("one").await?;
    assert_eq!(holder, "w1");
    first.shutdown(Duration::from_secs(5)).await;
    let (holder, new_fence) = write("two").await?;
    assert_eq!(holder, "w2");
    assert!(new_fence > old_fence);
    match disk.append(old_fence, "three".to_owned()) {
        Ok(()) => return Err("the former holder could still write".into()),
        Err(error) => println!("the former holder cannot write: {error}"),
    }
    second.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
