//! Poolers between the store and its server. Without PgBouncer these tests print a message and pass.

use crate::harness::{
    LONG, PATIENCE, Place, Server, call, claim_one, dispatcher, finish, running, show, submit,
    succeeded, unprivileged,
};
use pyroxene_store::{Store, StoreError, StoreOptions, StoreUrl, StoredTaskState};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// PgBouncer before the database of a place, in one of its modes.
struct Pooler {
    process: Child,
    directory: TempDir,
}

impl Pooler {
    /// `None`, and a message, where it is not installed.
    async fn before(place: &Place, mode: &str) -> Option<Self> {
        let Some(program) = find() else {
            eprintln!("SKIPPED: PgBouncer is not installed ('apt-get install pgbouncer')");
            return None;
        };
        let StoreUrl::Postgres(url) = &place.url else {
            panic!("not a server");
        };
        let server = url
            .split("host=")
            .nth(1)
            .and_then(|rest| rest.split('&').next());
        let directory = tempfile::Builder::new().prefix("pool").tempdir().unwrap();
        let everybody = fs::Permissions::from_mode(0o777);
        fs::set_permissions(directory.path(), everybody).unwrap();
        let (path, server) = (directory.path().display(), server.unwrap());
        let settings = format!(
            "[databases]\n* = host={server} port=5432 user=pyroxene\n[pgbouncer]\nlisten_addr =\n\
             listen_port = 6432\nunix_socket_dir = {path}\nauth_type = any\npool_mode = {mode}\n"
        );
        let file = directory.path().join("settings.ini");
        fs::write(&file, settings).unwrap();
        let process = unprivileged(&program)
            .arg("-q")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pooler = Self { process, directory };
        let end = Instant::now() + PATIENCE;
        while let Err(error) = connect(&pooler.url(place)).await {
            assert!(Instant::now() < end, "PgBouncer does not answer: {error}");
            sleep(Duration::from_millis(20)).await;
        }
        Some(pooler)
    }

    /// The address of the place's database through it.
    fn url(&self, place: &Place) -> String {
        let StoreUrl::Postgres(url) = &place.url else {
            panic!("not a server");
        };
        let database = url.split(['/', '?']).nth(3).unwrap();
        let host = self.directory.path().display();
        format!("postgres://pyroxene@localhost:6432/{database}?host={host}&sslmode=disable")
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// PgBouncer refuses a parameter that the driver sends, and the store does not send.
async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    PgConnection::connect_with(&options.extra_float_digits(None)).await
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut programs = directories.map(|directory| directory.join("pgbouncer"));
    programs.find(|program| Path::is_file(program))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_shares_connections_is_refused_at_every_start() {
    let place = Place::postgres().await;
    for mode in ["transaction", "statement"] {
        let Some(pooler) = Pooler::before(&place, mode).await else {
            return;
        };
        let url: StoreUrl = pooler.url(&place).parse().unwrap();
        // With clients that connect and disconnect, as in practice.
        let other = connect(&pooler.url(&place)).await.unwrap();
        let options = StoreOptions {
            timeout: Duration::from_secs(2),
            ..place.options()
        };
        for _ in 0..4 {
            let error = Store::open(&url, options.clone()).await.unwrap_err();
            assert!(
                matches!(error, StoreError::Protocol(_)),
                "{mode}: {error:?}"
            );
            assert!(error.to_string().contains("session mode"), "{error}");
        }
        other.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_session_mode_is_as_good_as_the_server() {
    let place = Place::postgres().await;
    let Some(pooler) = Pooler::before(&place, "session").await else {
        return;
    };
    let pooled = Place::at(pooler.url(&place).parse().unwrap());
    let store = pooled.open().await;
    let owner = dispatcher(&store, LONG).await;
    let id = submit(&store, call("calc")).await;
    let claimed = claim_one(&store, owner, "calc").await;
    finish(&store, running(&claimed, owner), succeeded(b"3")).await;
    assert_eq!(show(&store, id).await.state, StoredTaskState::Succeeded);
    store.close().await.unwrap();
}

/// It refuses a schema in the parameters of a new connection, and lets every connection set one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_the_address_names_is_used_behind_a_pooler() {
    let place = Place::postgres().await;
    let Some(pooler) = Pooler::before(&place, "session").await else {
        return;
    };
    let url = format!("{}&options[search_path]=pooled", pooler.url(&place));
    let store = Place::at(url.parse().unwrap()).open().await;
    submit(&store, call("calc")).await;
    store.close().await.unwrap();
    let mut connection = connect(&pooler.url(&place)).await.unwrap();
    let question = "SELECT count(*) FROM pooled.tasks";
    let asked = sqlx::query_scalar::<_, i64>(question).fetch_one(&mut connection);
    assert_eq!(asked.await.unwrap(), 1);
}

/// A server whose connections are all taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_no_connection_is_free_is_said_as_such() {
    let server = Server::own().await;
    let url = server.new_database().await;
    let limited = "CREATE ROLE one LOGIN CONNECTION LIMIT 0".to_owned();
    server.execute("postgres", limited).await;
    let url: StoreUrl = url.replace("pyroxene@", "one@").parse().unwrap();
    let options = Place::at(url.clone()).options();
    let error = Store::open(&url, options).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(
        error.to_string().contains("no connection became free"),
        "{error}"
    );
}

/// The pool itself says no more than that it waited in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_no_connection_became_free_is_said_while_the_store_is_open() {
    let server = Server::own().await;
    for statement in ["CREATE ROLE two LOGIN", "CREATE DATABASE two OWNER two"] {
        server.execute("postgres", statement.to_owned()).await;
    }
    let url: StoreUrl = server
        .url("two")
        .replace("pyroxene@", "two@")
        .parse()
        .unwrap();
    let place = Place::at(url);
    let hurried = StoreOptions {
        timeout: Duration::from_secs(1),
        ..place.options()
    };
    let store = place.open_with(hurried).await;
    for statement in [
        "ALTER ROLE two CONNECTION LIMIT 0",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'two'",
    ] {
        server.execute("postgres", statement.to_owned()).await;
    }
    let said = "the store is unavailable: no connection became free: too many connections for role";
    let end = Instant::now() + PATIENCE;
    // First the connections are found out to be dead.
    for is_read in [true, false] {
        let error = loop {
            let error = match is_read {
                true => store.counts().await.map(drop).unwrap_err(),
                false => store
                    .submit(vec![call("calc")])
                    .await
                    .map(drop)
                    .unwrap_err(),
            };
            assert!(error.is_transient(), "{error:?}");
            if error.to_string().contains("became free") || end < Instant::now() {
                break error;
            }
        };
        assert!(error.to_string().starts_with(said), "{error}");
    }
}
