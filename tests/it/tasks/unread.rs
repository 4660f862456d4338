//! Large results that nobody reads.

use super::desk::{Desk, echo};
use crate::harness::{Broker, eventually_within, seconds, turn};
use pyroxene_common::{
    codec,
    envelope::Envelope,
    frame::FrameHeader,
    hello::{Hello, say_hello},
    interface::Interface,
    interfaces::tasks::{self, TaskId, Tasks, tasks::TasksRequest},
    wire::{DEFAULT_MAX_MESSAGE, FrameKind},
};
use tarpc::context;
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// Connects, asks for a result so many times, and reads none.
async fn deaf(address: &str, id: &TaskId, times: u64) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let hello = Hello {
        object: tasks::OBJECT.to_owned(),
        interface: Tasks::NAME.to_owned(),
        interface_version: Tasks::VERSION,
        client: "deaf".to_owned(),
        max_message: DEFAULT_MAX_MESSAGE as u64,
        credential: None,
    };
    say_hello(&mut stream, &hello).await.unwrap();
    let request = TasksRequest::Wait {
        id: id.clone(),
        seen: None,
        wait_ms: 0,
    };
    let request = codec::encode(&request).unwrap();
    let envelope = Envelope {
        deadline: seconds(600),
        trace_context: context::current().trace_context,
    };
    let mut asked = Vec::new();
    for number in 0..times {
        let body = [&envelope.request(number)[..], &request].concat();
        let header = FrameHeader {
            kind: FrameKind::Call,
            len: body.len(),
        };
        asked.extend(header.to_bytes());
        asked.extend(body);
    }
    stream.write_all(&asked).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_that_nobody_reads_stay_in_the_store() {
    let _turn = turn().await;
    const RESULT: usize = 19 * 1024 * 1024;
    let mut broker = Broker::start().workers(1).await;
    let desk = Desk::at(&mut broker, 0);
    let id = desk.submit(echo(&"x".repeat(RESULT))).await;
    desk.ended(&id).await;
    let before = broker.nameserver(0).process().peak_memory();

    let address = broker.nameserver(0).address().to_owned();
    let stream = deaf(&address, &id, 120).await;

    // Others, who ask later, are answered.
    for _ in 0..3 {
        let result = desk.show(&id).await.result.unwrap();
        assert!(result.len() > RESULT);
    }
    let grown = broker.nameserver(0).process().peak_memory() - before;
    // Two results of the deaf one, and those of others.
    let bound = 20 * RESULT as u64;
    assert!(grown < bound, "it grew by {grown} bytes");
    drop(stream);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_that_nobody_reads_take_no_more_memory_the_more_connections_there_are() {
    let _turn = turn().await;
    const RESULT: usize = 8 * 1024 * 1024;
    const MEMORY: u64 = 64 * 1024 * 1024;
    let mut broker = Broker::start()
        .nameserver_flags(&["--message-memory", "64MiB"])
        .workers(1)
        .await;
    let desk = Desk::at(&mut broker, 0);
    let id = desk.submit(echo(&"x".repeat(RESULT))).await;
    desk.ended(&id).await;
    let before = broker.nameserver(0).process().peak_memory();

    let address = broker.nameserver(0).address().to_owned();
    let mut deaf_ones = Vec::new();
    for _ in 0..60 {
        deaf_ones.push(deaf(&address, &id, 2).await);
    }
    // Whoever reads gets the result meanwhile, if not at once.
    for _ in 0..20 {
        eventually_within(seconds(60), "the result is read", || async {
            let shown = desk.try_show(&id).await?;
            let task = shown.map_err(|error| error.to_string())?;
            assert!(task.result.unwrap().len() > RESULT);
            Ok(())
        })
        .await;
    }
    let grown = broker.nameserver(0).process().peak_memory() - before;
    assert!(grown < 3 * MEMORY, "it grew by {grown} bytes");
    drop(deaf_ones);
}
