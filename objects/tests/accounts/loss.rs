//! Requests while the database cannot be reached.

use crate::{
    place::{Place, open},
    postgres::Postgres,
};
use pyroxene_objects::interfaces::accounts::AccountsError;
use pyroxene_objects::{AccountsDatabase, AccountsDatabaseError, AccountsObject};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_fails_no_request() {
    let server = Postgres::start().await;
    let bank = open(&server.url("postgres")).await;
    bank.open("ana", "0").await.unwrap();
    for number in 1..=5 {
        server.end_connections().await;
        let updated = bank.update("ana", "1", &format!("r{number}")).await;
        assert_eq!(updated.unwrap(), number.to_string());
        server.end_connections().await;
        assert_eq!(bank.query("ana").await.unwrap(), number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_is_told_of_and_used_again_when_it_is_back() {
    let mut server = Postgres::start().await;
    let url = server.url("postgres");
    let bank = open(&url).await;
    bank.open("ana", "1").await.unwrap();
    server.crash().await;
    let updated = bank.update("ana", "1", "r1").await;
    assert_eq!(updated, Err(AccountsError::Unavailable));
    let database: AccountsDatabase = url.parse().unwrap();
    let error = AccountsObject::open(&database).await.unwrap_err();
    assert!(
        matches!(error, AccountsDatabaseError::Unreachable { .. }),
        "{error}"
    );
    server.recover().await;
    assert_eq!(bank.update("ana", "1", "r1").await.unwrap(), "2");
    assert_eq!(bank.query("ana").await.unwrap(), "2");
}

/// Blocks writers of a file until it is closed.
async fn lock(place: &Place) -> SqliteConnection {
    let file = place.url.strip_prefix("sqlite:").unwrap();
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await.unwrap();
    let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut connection);
    begun.await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_beyond_the_queue_are_refused_and_those_within_it_are_carried_out() {
    let place = Place::sqlite().await;
    let bank = place.open().await;
    bank.open("ana", "0").await.unwrap();
    let lock = lock(&place).await;
    let mut updates = JoinSet::new();
    for number in 0..6000 {
        let bank = bank.clone();
        updates.spawn(async move { bank.update("ana", "1", &format!("r{number}")).await });
    }
    let refused = updates.join_next().await.unwrap().unwrap();
    let sentence = "4096 requests already wait for the accounts' database, which is the limit";
    assert_eq!(refused.unwrap_err().to_string(), sentence);
    lock.close().await.unwrap();
    let rest = updates.join_all().await.into_iter();
    let carried_out = rest.filter(Result::is_ok).count();
    assert!(carried_out >= 4096, "{carried_out}");
    assert_eq!(bank.query("ana").await.unwrap(), carried_out.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_keeps_to_itself_is_told_of_and_used_again_when_it_is_free() {
    let place = Place::sqlite().await;
    let bank = place.open().await;
    bank.open("ana", "1").await.unwrap();
    let lock = lock(&place).await;
    let updated = bank.update("ana", "1", "r1").await;
    let is_told = |error: &AccountsError| error.to_string().contains("its file is locked by");
    assert!(updated.as_ref().is_err_and(is_told), "{updated:?}");
    assert_eq!(
        bank.query("ana").await.unwrap(),
        "1",
        "readers need not wait"
    );
    lock.close().await.unwrap();
    assert_eq!(bank.update("ana", "1", "r1").await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    std::fs::write(
        &text,
        "this is no database, but long enough to be looked at. ".repeat(100),
    )
    .unwrap();
    for file in [
        text,
        dir.path().join("missing").join("file"),
        dir.path().into(),
    ] {
        let database: AccountsDatabase = format!("sqlite:{}", file.display()).parse().unwrap();
        let error = AccountsObject::open(&database).await.unwrap_err();
        let sentence = error.to_string();
        assert!(
            matches!(error, AccountsDatabaseError::Unusable { .. }),
            "{sentence}"
        );
        assert!(sentence.contains(&file.display().to_string()), "{sentence}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let database: AccountsDatabase = "postgres://ana:secret@db.example:5433/bank"
        .parse()
        .unwrap();
    assert_eq!(database.to_string(), "postgres://db.example:5433/bank");
    assert!(!format!("{database:?}").contains("secret"));
    for text in ["", "sqlite:", "accounts.db", "mysql://x/y"] {
        let error = text.parse::<AccountsDatabase>().unwrap_err();
        assert!(error.to_string().contains("sqlite:FILE"), "{text}: {error}");
    }
}
