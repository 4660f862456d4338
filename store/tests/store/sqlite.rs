//! Tests that only apply to files.

use crate::harness::{LONG, Place, call, claim_one, dispatcher, submit, unprivileged};
use pyroxene_store::{NewStoredTask, Store, StoreError, StoreOptions, StoreUrl};
use sqlx::{Connection as _, SqliteConnection};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

fn file(place: &Place) -> PathBuf {
    let StoreUrl::Sqlite(path) = &place.url else {
        panic!("not a file");
    };
    path.clone()
}

async fn refusal(place: &Place, create: bool) -> StoreError {
    let options = StoreOptions {
        create,
        ..place.options()
    };
    let error = Store::open(&place.url, options).await.unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.contains("state.db"), "{sentence}");
    error
}

/// A store with a few tasks, completely in one file.
async fn with_tasks(place: &Place) {
    let store = place.open().await;
    let tasks = (0..200).map(|_| NewStoredTask::new("calc", "run", vec![b'x'; 400]));
    store.submit(tasks.collect()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let url = format!("sqlite:{}", file(place).display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    sqlx::raw_sql(checkpoint)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

async fn execute(place: &Place, statement: &'static str) {
    let url = format!("sqlite:{}", file(place).display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(statement)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_missing_file_is_made_only_where_that_is_wanted() {
    let place = Place::sqlite().await;
    let error = refusal(&place, false).await;
    assert!(matches!(error, StoreError::Missing(_)), "{error:?}");
    assert!(!file(&place).exists());
    place.open().await.close().await.unwrap();
    let options = StoreOptions {
        create: false,
        ..place.options()
    };
    place.open_with(options).await;
    let left: Vec<_> = fs::read_dir(file(&place).parent().unwrap())
        .unwrap()
        .collect();
    assert!(left.len() <= 3, "only the store and its journal: {left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_make_the_file_at_once_share_it() {
    let place = Place::sqlite().await;
    let opening = (0..8).map(|_| {
        let (url, options) = (place.url.clone(), place.options());
        tokio::spawn(async move { Store::open(&url, options).await.unwrap() })
    });
    let mut stores = Vec::new();
    for opening in opening.collect::<Vec<_>>() {
        stores.push(opening.await.unwrap());
    }
    for store in &stores {
        submit(store, call("calc")).await;
    }
    assert_eq!(stores[0].counts().await.unwrap().queued, 8);
}

#[tokio::test]
async fn what_is_left_of_a_store_is_not_taken_for_a_new_one() {
    let place = Place::sqlite().await;
    fs::write(file(&place), b"").unwrap();
    let error = refusal(&place, true).await;
    assert!(matches!(error, StoreError::NotAStore(_)), "{error:?}");
    fs::remove_file(file(&place)).unwrap();
    fs::write(file(&place).with_file_name("state.db-wal"), b"x").unwrap();
    let error = refusal(&place, true).await;
    assert!(matches!(error, StoreError::Missing(_)), "{error:?}");
    assert!(!file(&place).exists());
}

#[tokio::test]
async fn another_file_is_not_a_store_and_stays_as_it_was() {
    let place = Place::sqlite().await;
    fs::create_dir(file(&place)).unwrap();
    let error = refusal(&place, true).await;
    assert!(matches!(error, StoreError::NotAStore(_)), "{error:?}");
    fs::remove_dir(file(&place)).unwrap();
    let text = "not a database at all, ".repeat(1000);
    fs::write(file(&place), &text).unwrap();
    let error = refusal(&place, true).await;
    assert!(matches!(error, StoreError::NotAStore(_)), "{error:?}");
    assert_eq!(fs::read_to_string(file(&place)).unwrap(), text);
    fs::remove_file(file(&place)).unwrap();
    let url = format!("sqlite:{}?mode=rwc", file(&place).display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    let table = "CREATE TABLE songs (id INTEGER)";
    sqlx::raw_sql(table).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let error = refusal(&place, true).await;
    assert!(error.to_string().contains("another program"), "{error}");
}

#[tokio::test]
async fn a_later_schema_is_refused() {
    let place = Place::sqlite().await;
    with_tasks(&place).await;
    execute(&place, "PRAGMA user_version = 99").await;
    let options = place.options();
    let error = Store::open(&place.url, options).await.unwrap_err();
    let is_newer = matches!(error, StoreError::NewerSchema { found: 99, .. });
    assert!(is_newer, "{error:?}");
}

/// Removes the additions of later versions.
const BACK_TO_5: &str = "DROP TABLE name_servers; DROP TABLE task_usage; ALTER TABLE tasks DROP COLUMN run_limit; \
     ALTER TABLE tasks DROP COLUMN certificate_role; ALTER TABLE tasks DROP COLUMN trace; \
     DROP TABLE visitors; DROP TABLE snapshots; DROP TABLE drains; \
     DROP TABLE logouts; DROP TABLE store_identity; \
     DROP TABLE batches; DROP TABLE batch_chunks; DROP TABLE batch_counts; ALTER TABLE tasks DROP COLUMN batch; \
     DROP TABLE schedules; DELETE FROM counters WHERE name = 'schedules'; \
     PRAGMA user_version = 5";

#[tokio::test]
async fn what_an_earlier_version_stored_is_counted() {
    let place = Place::sqlite().await;
    with_tasks(&place).await;
    execute(&place, BACK_TO_5).await;
    let store = place.open().await;
    let (own, all) = store.usage("").await.unwrap();
    assert_eq!((own.tasks, own.bytes), (200, 200 * (300 + 400)));
    assert_eq!(own, all);
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_file_that_was_cut_or_overwritten_is_corrupt() {
    let place = Place::sqlite().await;
    with_tasks(&place).await;
    let whole = fs::read(file(&place)).unwrap();
    fs::write(file(&place), &whole[..whole.len() / 2]).unwrap();
    let error = refusal(&place, true).await;
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle..middle + 8192].fill(0xa5);
    fs::write(file(&place), &damaged).unwrap();
    let error = refusal(&place, true).await;
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    fs::write(file(&place), &whole).unwrap();
    assert_eq!(place.open().await.counts().await.unwrap().queued, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_file_refuses_and_goes_on_once_there_is_room() {
    let place = Place::sqlite().await;
    let small = StoreOptions {
        max_file: Some(600_000),
        ..place.options()
    };
    let store = place.open_with(small).await;
    let body = || NewStoredTask::new("calc", "run", vec![1; 100_000]);
    let mut stored = 0;
    let error = loop {
        match store.submit(vec![body()]).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100);
    };
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    // Nothing of the refused submission is there, and the existing tasks can still be changed.
    assert_eq!(store.counts().await.unwrap().queued, stored);
    let id = store.tasks(&Default::default(), 1).await.unwrap()[0].id;
    store.cancel(vec![id]).await.unwrap();
    place.advance(1000);
    while store.purge(std::time::Duration::ZERO).await.unwrap() > 0 {}
    submit(&store, body()).await;
    assert_eq!(store.check().await.unwrap(), [""; 0]);
}

/// Root may write everywhere, so the test runs this program again as nobody.
#[tokio::test]
async fn a_file_that_may_not_be_written_to_is_read_only() {
    const NAME: &str = "sqlite::a_file_that_may_not_be_written_to_is_read_only";
    if let Some(path) = std::env::var_os("PYROXENE_TEST_READ_ONLY_FILE") {
        let url = StoreUrl::Sqlite(path.into());
        let error = Store::open(&url, StoreOptions::default())
            .await
            .unwrap_err();
        let read_only = matches!(error, StoreError::ReadOnly(_) | StoreError::Refused(_));
        assert!(read_only, "{error:?}");
        return;
    }
    let place = Place::sqlite().await;
    with_tasks(&place).await;
    let permissions = fs::Permissions::from_mode(0o444);
    fs::set_permissions(file(&place), permissions).unwrap();
    let directory = fs::Permissions::from_mode(0o555);
    fs::set_permissions(file(&place).parent().unwrap(), directory).unwrap();
    // A directory from which every user can run it.
    let public = tempfile::tempdir().unwrap();
    fs::set_permissions(public.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = public.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = unprivileged(&program)
        .args(["--exact", NAME])
        .env("PYROXENE_TEST_READ_ONLY_FILE", file(&place))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_that_writes_for_too_long_makes_it_unavailable() {
    let place = Place::sqlite().await;
    let hurried = StoreOptions {
        timeout: std::time::Duration::from_millis(50),
        ..place.options()
    };
    let store = place.open_with(hurried).await;
    let url = format!("sqlite:{}", file(&place).display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let error = store.submit(vec![call("calc")]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    // Reads still succeed in the meantime.
    assert_eq!(store.counts().await.unwrap().queued, 0);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    submit(&store, call("calc")).await;
    let owner = dispatcher(&store, LONG).await;
    claim_one(&store, owner, "calc").await;
}

const LOCKED_FILE: &str = "PYROXENE_TEST_LOCKED_STORE";

/// The process that locks a file until its standard input ends.
#[tokio::test]
async fn the_process_that_locks() {
    let Ok(file) = std::env::var(LOCKED_FILE) else {
        return;
    };
    let mut other = SqliteConnection::connect(&format!("sqlite:{file}"))
        .await
        .unwrap();
    let begin = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other);
    begin.await.unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n> locked")
        .and_then(|()| out.flush())
        .unwrap();
    std::io::stdin().lines().last();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_a_file_locked_is_named() {
    let place = Place::sqlite().await;
    let hurried = StoreOptions {
        timeout: std::time::Duration::from_millis(500),
        ..place.options()
    };
    let store = place.open_with(hurried).await;
    let mut locker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sqlite::the_process_that_locks", "--nocapture"])
        .env(LOCKED_FILE, file(&place))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(locker.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "> locked"));
    let error = store.submit(vec![call("calc")]).await.unwrap_err();
    let said = format!("its file is locked by process {} (", locker.id());
    assert!(error.to_string().contains(&said), "{error}");
    assert!(error.is_transient(), "{error:?}");
    drop(locker.stdin.take());
    assert!(locker.wait().unwrap().success());
    submit(&store, call("calc")).await;
}
