//! How many empty tasks a broker runs from submission to end, and how long one takes alone.
//!
//! ```text
//! pyroxene up --workers 2 --store sqlite:/tmp/speed.db
//! cargo run --release --example task_speed -- 127.0.0.1:9090 20000
//! ```

use pyroxene::{
    Endpoint,
    client::Direct,
    common::interfaces::tasks::{
        self, Submission, TaskFilter, TaskState, Tasks, tasks::TasksClient,
    },
    tarpc::context,
};
use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

/// As many submit side by side.
const SUBMITTERS: usize = 64;

/// So many tasks are in one submission.
const LOT: usize = 10;

/// As many are run one after the other, to see how long each takes.
const ALONE: usize = 200;

type Desk = TasksClient<Direct<Tasks>>;

fn within(time: Duration) -> context::Context {
    let mut context = context::current();
    context.deadline = Instant::now() + time;
    context
}

fn empty() -> Submission {
    Submission {
        object: "echo".to_owned(),
        method: "echo".to_owned(),
        arguments: r#"{"data":""}"#.to_owned(),
        key: String::new(),
        priority: 0,
        delay_ms: 0,
        deadline_ms: None,
        max_attempts: tasks::DEFAULT_MAX_ATTEMPTS,
        backoff_ms: tasks::DEFAULT_BACKOFF_MS,
        worker: None,
    }
}

/// How many tasks have not ended.
async fn left(desk: &Desk) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let counts = desk.counts(within(Duration::from_secs(30))).await??;
    let open = counts.iter().filter(|(state, _)| !state.is_final());
    Ok(open.map(|(_, count)| count).sum())
}

async fn alone(desk: &Desk) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    let began = Instant::now();
    let minute = Duration::from_secs(60);
    let ids = desk.submit(within(minute), vec![empty()]).await??;
    let id = ids.into_iter().next().ok_or("no id")?;
    let mut seen = None;
    loop {
        let status = desk
            .wait(within(minute), id.clone(), seen, 50_000)
            .await??;
        if status.state.is_final() {
            return Ok(began.elapsed());
        }
        seen = Some(status.version);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = env::args().skip(1);
    let endpoint: Endpoint = arguments.next().ok_or("which name server?")?.parse()?;
    let tasks: usize = arguments.next().unwrap_or("20000".to_owned()).parse()?;
    let connect = || Direct::<Tasks>::connect(&endpoint, tasks::OBJECT);
    let desk = connect().await?.client();

    let mut times = Vec::new();
    for _ in 0..ALONE {
        times.push(alone(&desk).await?);
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied();
    println!("alone: p50 {:?}, p90 {:?}", at(50), at(90));

    let began = Instant::now();
    let mut submitters = Vec::new();
    for _ in 0..SUBMITTERS {
        let desk = connect().await?.client();
        submitters.push(tokio::spawn(async move {
            for _ in 0..tasks / SUBMITTERS / LOT {
                let lot = vec![empty(); LOT];
                desk.submit(within(Duration::from_secs(60)), lot).await??;
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        }));
    }
    for submitter in submitters {
        submitter.await??;
    }
    let submitted = began.elapsed();
    while left(&desk).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ended = began.elapsed();
    let failed = TaskFilter {
        states: vec![TaskState::Failed],
        ..TaskFilter::default()
    };
    let failed = desk.list(within(Duration::from_secs(10)), failed).await??;
    let count = tasks / SUBMITTERS / LOT * SUBMITTERS * LOT;
    let rate = |time: Duration| count as f64 / time.as_secs_f64();
    println!(
        "{count} tasks: submitted at {:.0}/s, ended at {:.0}/s; {} failed",
        rate(submitted),
        rate(ended),
        failed.len()
    );
    Ok(())
}
