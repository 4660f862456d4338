//! Tests that only apply to a server.

use crate::batches;
use crate::harness::{
    LONG, Place, Server, call, claim, claim_one, dispatcher, eventually, execute, finish, running,
    show, submit, succeeded,
};
use pyroxene_store::{
    FinishedAttempt, NewStoredChunk, NewStoredTask, Store, StoreError, StoreOptions, StoreUrl,
    StoredBatchId, StoredTaskState, SubmissionOutcome,
};
use rustix::process::Signal;
use sqlx::{Connection as _, PgConnection};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

/// A relay before the server. It can swallow the answer to one commit, and end that connection.
struct Relay {
    directory: tempfile::TempDir,
    armed: Arc<AtomicBool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Relay {
    fn before(server: PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join(server.file_name().unwrap());
        let listener = UnixListener::bind(socket).unwrap();
        let armed = Arc::new(AtomicBool::new(false));
        let arm = Arc::clone(&armed);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.unwrap();
                tokio::spawn(relay(client, server, Arc::clone(&arm)));
            }
        });
        Self {
            directory,
            armed,
            accepting,
        }
    }

    fn swallow_the_next_commit(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    fn has_swallowed(&self) -> bool {
        !self.armed.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(mut client: UnixStream, mut server: UnixStream, armed: Arc<AtomicBool>) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut swallow = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(1..) = read else { return };
                let message = &asked[..read.unwrap()];
                let is_commit = message.windows(6).any(|word| word == b"COMMIT");
                swallow = is_commit && armed.swap(false, Ordering::SeqCst);
                if server.write_all(message).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(1..) = read else { return };
                if swallow || client.write_all(&answered[..read.unwrap()]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The commit is done, and its answer lost with the connection. The write must not be repeated in the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_not_done_twice() {
    let server = Server::shared().await;
    let database = server.new_database().await;
    let relay = Relay::before(server.directory().join(".s.PGSQL.5432"));
    let host = relay.directory.path().display().to_string();
    let url = database.replace(&server.directory().display().to_string(), &host);
    assert_ne!(url, database);
    let place = Place::at(StoreUrl::Postgres(url));
    let store = place.open().await;
    let keyed = |key: &str| NewStoredTask {
        idempotency_key: Some(key.to_owned()),
        ..call("calc")
    };
    submit(&store, keyed("first")).await;

    relay.swallow_the_next_commit();
    let error = store.submit(vec![keyed("second")]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(relay.has_swallowed());
    // The key makes a repeat by the caller safe.
    let again = store.submit(vec![keyed("second")]).await.unwrap();
    assert_eq!(again[0].submission, SubmissionOutcome::Existing);
    assert_eq!(store.counts().await.unwrap().queued, 2);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

fn url(place: &Place) -> String {
    let StoreUrl::Postgres(url) = &place.url else {
        panic!("not a server");
    };
    url.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_crash_of_the_server_and_work_goes_on() {
    let server = Server::own().await;
    let url = StoreUrl::Postgres(server.new_database().await);
    let place = Place::at(url);
    let options = StoreOptions {
        timeout: Duration::from_millis(500),
        ..place.options()
    };
    let store = place.open_with(options).await;
    let owner = dispatcher(&store, LONG).await;
    let id = submit(&store, call("calc")).await;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait(id, crate::harness::PATIENCE).await }
    });
    server.stop(Signal::QUIT);
    let error = store.submit(vec![call("calc")]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(store.counts().await.unwrap_err().is_transient());

    server.run();
    server.ready().await;
    let ask = || async { store.counts().await };
    let counts = eventually(ask, |answer| answer.is_ok()).await.unwrap();
    assert!(counts.queued >= 1);
    let claimed = claim_one(&store, owner, "calc").await;
    assert_eq!(claimed.id, id);
    finish(&store, running(&claimed, owner), succeeded(b"3")).await;
    assert_eq!(show(&store, id).await.state, StoredTaskState::Succeeded);
    assert_eq!(waiting.await.unwrap().unwrap().result.unwrap(), b"3");
}

/// The connection is closed too: nothing else is written in the middle of that transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_given_up_leaves_nothing_behind() {
    let place = Place::postgres().await;
    let options = StoreOptions {
        timeout: Duration::from_millis(500),
        ..place.options()
    };
    let store = place.open_with(options).await;
    submit(&store, call("calc")).await;
    let mut other = PgConnection::connect(&url(&place)).await.unwrap();
    let lock = sqlx::raw_sql("BEGIN; LOCK TABLE tasks");
    lock.execute(&mut other).await.unwrap();
    let error = store.submit(vec![call("calc")]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    other.close().await.unwrap();
    submit(&store, call("calc")).await;
    assert_eq!(store.counts().await.unwrap().queued, 2);
}

/// Leases have their own transactions here, so nothing that waits may keep them waiting.
#[tokio::test]
async fn a_lease_is_renewed_while_a_chunk_takes_all_the_memory_of_waiting_writes() {
    let place = Place::postgres().await;
    let options = StoreOptions {
        max_body: 1 << 30,
        ..place.options()
    };
    let store = place.open_with(options).await;
    let owner = dispatcher(&store, LONG).await;
    let mut other = PgConnection::connect(&url(&place)).await.unwrap();
    let lock = sqlx::raw_sql("BEGIN; LOCK TABLE batches");
    lock.execute(&mut other).await.unwrap();
    let mut chunk = batches::chunk(0, 1);
    chunk.tasks[0].arguments = vec![0; 256 << 20];
    let submitting = store.submit_chunk(chunk);
    tokio::select! {
        biased;
        submitted = submitting => panic!("{submitted:?}"),
        renewed = store.renew(owner) => assert!(renewed.unwrap()),
    }
    other.close().await.unwrap();
}

/// Chunks of two batches arrive in opposite orders at two name servers, each of which merges them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_in_any_order_do_not_lock_each_other_out() {
    let place = Place::postgres().await;
    let stores = stores_without_deadlock_detection(&place).await;
    let mut sending = JoinSet::new();
    for round in 0..20 {
        for (turn, store) in stores.iter().enumerate() {
            let of_round = |number: i64| NewStoredChunk {
                batch: StoredBatchId::new([round * 2 + u8::try_from(number % 2).unwrap(); 16]),
                ..batches::chunk(number / 2, 1)
            };
            let mut chunks: Vec<_> = (0..20).map(of_round).collect();
            if turn == 1 {
                chunks.reverse();
            }
            for chunk in chunks {
                let store = store.clone();
                sending.spawn(async move { store.submit_chunk(chunk).await });
            }
        }
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap().unwrap();
    }
}

/// The ends arrive in the opposite order of the ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_beside_ends_does_not_lock_them_out() {
    let place = Place::postgres().await;
    let stores = stores_without_deadlock_detection(&place).await;
    let owner = dispatcher(&stores[0], LONG).await;
    for number in 0..10 {
        batches::submit_chunk(&stores[0], batches::chunk(number, 500)).await;
        let mut claimed = claim(&stores[0], owner, "bulk", 500).await;
        claimed.sort_by_key(|task| std::cmp::Reverse(task.id));
        let ends = claimed.iter().map(|task| FinishedAttempt {
            running: running(task, owner),
            worker: None,
            ending: succeeded(b"1"),
        });
        let (finished, cancelled) = tokio::join!(
            stores[0].finish(ends.collect()),
            stores[1].cancel_chunk(batches::batch(), number - 1),
        );
        finished.unwrap();
        assert_eq!(cancelled.unwrap(), Some(number));
    }
    let counts = batches::count(&stores[0]).await;
    assert_eq!(counts.succeeded + counts.cancelled, 5000);
}

/// Two stores of one database in which a deadlock lasts until a write is given up.
async fn stores_without_deadlock_detection(place: &Place) -> [Store; 2] {
    let sql = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''1h''', \
               current_database()); END $$";
    execute(&url(place), sql.to_owned()).await;
    [place.open().await, place.open().await]
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_a_database_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path().display();
    let nobody = format!("postgres://u:secret@localhost/d?host={host}");
    let open = async |url: String, create| {
        let options = StoreOptions {
            create,
            ..StoreOptions::default()
        };
        Store::open(&StoreUrl::Postgres(url), options)
            .await
            .unwrap_err()
    };
    let error = open(nobody, true).await;
    assert!(error.is_transient(), "{error:?}");
    assert!(!error.to_string().contains("secret"), "{error}");
    let server = Server::shared().await;
    let error = open(server.url("nowhere"), true).await;
    assert!(matches!(error, StoreError::Missing(_)), "{error:?}");
    let error = open(server.new_database().await, false).await;
    assert!(matches!(error, StoreError::Missing(_)), "{error:?}");
    let error = open("postgres://u@h:port/d".to_owned(), true).await;
    assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
}

#[tokio::test]
async fn a_later_schema_and_a_read_only_database_are_refused() {
    let place = Place::postgres().await;
    place.open().await.close().await.unwrap();
    let url = url(&place);
    execute(
        &url,
        "UPDATE pyroxene_schema SET version = version + 99".to_owned(),
    )
    .await;
    let error = Store::open(&place.url, place.options()).await.unwrap_err();
    let is_newer = matches!(error, StoreError::NewerSchema { found: 99.., .. });
    assert!(is_newer, "{error:?}");
    execute(
        &url,
        "UPDATE pyroxene_schema SET version = version - 99".to_owned(),
    )
    .await;
    let store = place.open().await;
    let database = url
        .rsplit_once('/')
        .map(|_| url.split(['/', '?']).nth(3).unwrap());
    let statement = format!(
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        database.unwrap()
    );
    execute(&url, statement).await;
    store.close().await.unwrap();
    let store = place.open().await;
    let error = store.submit(vec![call("calc")]).await.unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_make_the_store_at_once_share_it() {
    let place = Place::postgres().await;
    let opening = (0..6).map(|_| {
        let (url, options) = (place.url.clone(), place.options());
        tokio::spawn(async move { Store::open(&url, options).await.unwrap() })
    });
    for opening in opening.collect::<Vec<_>>() {
        let store = opening.await.unwrap();
        submit(&store, call("calc")).await;
        store.close().await.unwrap();
    }
    assert_eq!(place.open().await.counts().await.unwrap().queued, 6);
}

#[tokio::test]
async fn what_an_earlier_version_stored_is_counted() {
    let place = Place::postgres().await;
    let store = place.open().await;
    let large = NewStoredTask::new("calc", "run", vec![7; 10_000]);
    store.submit(vec![call("calc"), large]).await.unwrap();
    store.close().await.unwrap();
    let url = url(&place);
    for table in [
        "name_servers",
        "task_usage",
        "visitors",
        "snapshots",
        "drains",
        "logouts",
        "store_identity",
        "schedules",
        "batches",
        "batch_chunks",
        "batch_counts",
    ] {
        execute(&url, format!("DROP TABLE {table}")).await;
    }
    for column in ["run_limit", "certificate_role", "trace", "batch"] {
        execute(&url, format!("ALTER TABLE tasks DROP COLUMN {column}")).await;
    }
    execute(
        &url,
        "DELETE FROM counters WHERE name = 'schedules'".to_owned(),
    )
    .await;
    execute(&url, "UPDATE pyroxene_schema SET version = 5".to_owned()).await;
    let store = place.open().await;
    let (own, all) = store.usage("").await.unwrap();
    assert_eq!((own.tasks, own.bytes), (2, 2 * 300 + 2 + 10_000));
    assert_eq!(own, all);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}
