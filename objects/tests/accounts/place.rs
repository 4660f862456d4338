//! Databases for the tests, and short methods for calls.

use crate::postgres::Postgres;
use pyroxene_objects::{AccountsDatabase, AccountsObject};
use pyroxene_objects::{
    interfaces::accounts::{AccountsError, Transferred, accounts::Accounts as _},
    values::Decimal,
};
use sqlx::{ConnectOptions, Connection, PgConnection, sqlite::SqliteConnectOptions};
use std::sync::atomic::{AtomicU32, Ordering};
use tarpc::context;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// A new database, without tables.
pub(crate) struct Place {
    pub(crate) url: String,
    _dir: TempDir,
}

impl Place {
    pub(crate) async fn sqlite() -> Self {
        let dir = TempDir::new().unwrap();
        Self {
            url: format!("sqlite:{}", dir.path().join("accounts.db").display()),
            _dir: dir,
        }
    }

    /// On a server that all tests share.
    pub(crate) async fn postgres() -> Self {
        static SERVER: OnceCell<Postgres> = OnceCell::const_new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = SERVER.get_or_init(Postgres::start).await;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            url: server.database(&format!("test_{number}")).await,
            _dir: TempDir::new().unwrap(),
        }
    }

    /// Runs a statement without the help of the accounts.
    pub(crate) async fn execute(&self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        let query = sqlx::raw_sql(statement);
        match self.url.strip_prefix("sqlite:") {
            Some(file) => {
                let options = SqliteConnectOptions::new().filename(file);
                let mut connection = options.connect().await.unwrap();
                query.execute(&mut connection).await.unwrap();
            }
            None => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let path = sqlx::raw_sql("SET search_path TO pyroxene_accounts, public");
                path.execute(&mut connection).await.unwrap();
                query.execute(&mut connection).await.unwrap();
            }
        }
    }

    /// The database as another worker would open it.
    pub(crate) async fn open(&self) -> Bank {
        open(&self.url).await
    }
}

pub(crate) async fn open(url: &str) -> Bank {
    let database: AccountsDatabase = url.parse().unwrap();
    Bank(AccountsObject::open(&database).await.unwrap())
}

pub(crate) fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Accounts whose parameters and results are texts.
#[derive(Clone)]
pub(crate) struct Bank(pub(crate) AccountsObject);

type Outcome<T> = Result<T, AccountsError>;

impl Bank {
    pub(crate) async fn open(&self, user: &str, balance: &str) -> Outcome<String> {
        let opened = (self.0.clone()).open(context::current(), user.into(), decimal(balance));
        opened.await.map(|balance| balance.to_string())
    }

    pub(crate) async fn query(&self, user: &str) -> Outcome<String> {
        let balance = self.0.clone().query(context::current(), user.into()).await;
        balance.map(|balance| balance.to_string())
    }

    pub(crate) async fn update(&self, user: &str, delta: &str, id: &str) -> Outcome<String> {
        let accounts = self.0.clone();
        let updated = accounts.update(context::current(), user.into(), decimal(delta), id.into());
        updated.await.map(|balance| balance.to_string())
    }

    pub(crate) async fn transfer(
        &self,
        from: &str,
        to: &str,
        amount: &str,
        id: &str,
    ) -> Outcome<(String, String)> {
        let (from, to, id) = (from.to_owned(), to.to_owned(), id.to_owned());
        let accounts = self.0.clone();
        let transferred = accounts.transfer(context::current(), from, to, decimal(amount), id);
        let Transferred { from, to } = transferred.await?;
        Ok((from.to_string(), to.to_string()))
    }
}

/// Makes one test for each database from a function that takes a [`Place`].
macro_rules! on_both {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::place::Place::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::place::Place::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both;
