//! How fast a store is: `cargo run --release --example store_speed -- sqlite:/tmp/new.db [BACKLOG]`.
//!
//! The store has to be a new one. Beside what the store does, what the database alone does with one
//! row in each durable transaction.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that fails has nothing to clean up"
)]

use pyroxene_nameserver::store::{
    Claim, Ending, Fence, Finish, Lease, NewEntry, NewTask, Running, Store, StoreOptions, StoreUrl,
};
use sqlx::Connection as _;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

const SUBMITTERS: usize = 64;
const TIME: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let text = arguments.next().expect("the store's URL");
    let backlog: usize = arguments.next().map_or(0, |count| count.parse().unwrap());
    let url: StoreUrl = text.parse().unwrap();
    let options = StoreOptions {
        create: true,
        ..StoreOptions::default()
    };
    let store = Store::open(&url, options).await.unwrap();
    println!(
        "database alone, 1 row a commit: {:.0}/s",
        alone(&text).await
    );
    let lease = store.acquire("dispatcher", "me", LONG).await.unwrap();
    let Lease::Held { fence, .. } = lease else {
        panic!("the store is not a new one");
    };
    let dispatcher = tokio::spawn(dispatch(store.clone(), fence));
    one_alone(&store).await;
    for submitters in [SUBMITTERS, 256] {
        println!(
            "{submitters} submitters: {:.0} tasks/s",
            many(&store, submitters).await
        );
    }
    println!(
        "{SUBMITTERS} appending: {:.0} entries/s",
        append(&store, SUBMITTERS).await
    );
    println!("256 appending: {:.0} entries/s", append(&store, 256).await);
    if backlog > 0 {
        let before = drain(&store, fence, 20_000, 0).await;
        let begun = Instant::now();
        fill(&store, "calc-backlog", backlog).await;
        println!("{backlog} queued in {:.1?}", begun.elapsed());
        for _ in 0..3 {
            let after = drain(&store, fence, 20_000, backlog).await;
            let few = drain(&store, fence, 20_000, 0).await;
            println!(
                "claim and finish: {after:.0}/s of the backlog, {few:.0}/s of 20000 beside it"
            );
        }
        println!("claim and finish: {before:.0}/s of 20000 before that");
        println!(
            "{SUBMITTERS} submitters beside it: {:.0} tasks/s",
            many(&store, SUBMITTERS).await
        );
    }
    dispatcher.abort();
    store.close().await;
}

async fn alone(text: &str) -> f64 {
    let create = "CREATE TABLE IF NOT EXISTS speed (id BIGINT, body TEXT)";
    let insert = "INSERT INTO speed VALUES (1, 'x')";
    let (mut count, begun) = (0, Instant::now());
    if let Some(path) = text.strip_prefix("sqlite:") {
        let file = format!("sqlite:{path}-alone?mode=rwc");
        let mut connection = sqlx::SqliteConnection::connect(&file).await.unwrap();
        let mode = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL";
        sqlx::raw_sql(mode).execute(&mut connection).await.unwrap();
        sqlx::raw_sql(create)
            .execute(&mut connection)
            .await
            .unwrap();
        while begun.elapsed() < TIME {
            sqlx::query(insert).execute(&mut connection).await.unwrap();
            count += 1;
        }
    } else {
        let mut connection = sqlx::PgConnection::connect(text).await.unwrap();
        sqlx::raw_sql(create)
            .execute(&mut connection)
            .await
            .unwrap();
        while begun.elapsed() < TIME {
            sqlx::query(insert).execute(&mut connection).await.unwrap();
            count += 1;
        }
        sqlx::raw_sql("DROP TABLE speed")
            .execute(&mut connection)
            .await
            .unwrap();
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

fn finish(id: pyroxene_nameserver::store::TaskId, attempt: i64, owner: Fence) -> Finish {
    Finish {
        running: Running { id, attempt, owner },
        worker: Some("w1".to_owned()),
        ending: Ending::Succeeded {
            result: b"1".to_vec(),
        },
    }
}

/// A dispatcher whose workers take no time.
async fn dispatch(store: Store, owner: Fence) {
    let mut hints = store.hints();
    loop {
        let objects = vec![("calc".to_owned(), 256)];
        let claimed = store
            .claim(Claim {
                owner,
                objects,
                pinned: Vec::new(),
            })
            .await
            .unwrap()
            .unwrap();
        if claimed.is_empty() {
            while !matches!(
                hints.next().await,
                Some(pyroxene_nameserver::store::Hint::Queued(_))
            ) {}
            continue;
        }
        let ends = claimed
            .iter()
            .map(|task| finish(task.id, task.attempt, owner))
            .collect();
        let store = store.clone();
        tokio::spawn(async move { store.finish(ends).await.unwrap() });
    }
}

async fn run_one(store: &Store) {
    let submitted = store
        .submit(vec![NewTask::new("calc", "run", vec![])])
        .await
        .unwrap();
    store.wait(submitted[0].id, LONG).await.unwrap();
}

async fn one_alone(store: &Store) {
    let mut times = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        run_one(store).await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!(
        "one task alone: p50 {:.2?}, p99 {:.2?}",
        times[150], times[297]
    );
}

async fn many(store: &Store, submitters: usize) -> f64 {
    let done = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let working: Vec<_> = (0..submitters)
        .map(|_| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                while begun.elapsed() < TIME {
                    run_one(&store).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for working in working {
        working.await.unwrap();
    }
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

async fn append(store: &Store, writers: usize) -> f64 {
    let done = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let working: Vec<_> = (0..writers)
        .map(|_| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                while begun.elapsed() < TIME {
                    let (topic, body) = ("log".to_owned(), vec![b'x'; 64]);
                    store
                        .append(vec![NewEntry {
                            topic,
                            body,
                            key: None,
                        }])
                        .await
                        .unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for working in working {
        working.await.unwrap();
    }
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

async fn fill(store: &Store, object: &str, count: usize) {
    for _ in 0..count.div_ceil(1000) {
        let tasks = (0..1000).map(|_| NewTask::new(object, "run", vec![]));
        store.submit(tasks.collect()).await.unwrap();
    }
}

/// Claims and finishes so many tasks, of a queue that has them or, if `fill` is not 0, of all.
async fn drain(store: &Store, owner: Fence, count: usize, of_backlog: usize) -> f64 {
    let object = if of_backlog == 0 {
        "calc-few"
    } else {
        "calc-backlog"
    };
    if of_backlog == 0 {
        fill(store, object, count).await;
    }
    let begun = Instant::now();
    let mut done = 0;
    while done < count {
        let objects = vec![(object.to_owned(), 64)];
        let claimed = store
            .claim(Claim {
                owner,
                objects,
                pinned: Vec::new(),
            })
            .await
            .unwrap()
            .unwrap();
        let ends = claimed
            .iter()
            .map(|task| finish(task.id, task.attempt, owner))
            .collect();
        done += store.finish(ends).await.unwrap().len();
    }
    done as f64 / begun.elapsed().as_secs_f64()
}
