//! The database that holds the accounts: which one it is, and a connection to it.

use super::{
    book::{Answer, Operation, Wanted},
    postgres, sqlite,
};
use crate::values::Decimal;
use pyroxene_common::steady_clock;
use pyroxene_store::database::{self, Fault, FaultKind, InvalidStoreUrl, StoreUrl};
use sqlx::{Connection, PgConnection};
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};
use tokio::time::timeout;

/// The statements that make the tables, a version each.
const SQLITE_MIGRATIONS: [&str; 2] = [
    include_str!("schema/sqlite_1.sql"),
    include_str!("schema/sqlite_2.sql"),
];
const POSTGRES_MIGRATIONS: [&str; 2] = [
    include_str!("schema/postgres_1.sql"),
    include_str!("schema/postgres_2.sql"),
];

/// For how many days a request is remembered: whoever repeats it within this time gets the answer of
/// the first time, and nothing is changed.
pub(super) const REMEMBERED_DAYS: i64 = 30;

/// Seconds since 1970 by a clock that nobody can set. A request is old by this one too: whoever sets
/// the database's clock ahead must not make transfers happen twice.
pub(super) fn steady_seconds() -> f64 {
    Duration::from_millis(steady_clock::now_ms()).as_secs_f64()
}

/// How many old requests are forgotten with a transaction that adds `applied` of them. It is more, so
/// that there are ever fewer of the old ones, and bounded, so that no transaction takes long.
pub(super) fn forgotten_with(applied: usize) -> i64 {
    i64::try_from(applied)
        .unwrap_or(0)
        .saturating_mul(2)
        .min(1000)
}

/// How long a database may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which database holds the accounts: `sqlite:FILE`, which is made if it is not there, or
/// `postgres://USER@HOST:PORT/DATABASE`. It never shows a password.
#[derive(Clone)]
pub struct AccountsDatabase {
    location: Location,
    must_exist: bool,
}

#[derive(Clone)]
enum Location {
    Sqlite(PathBuf),
    Postgres(Box<postgres::Server>),
}

/// Why a text names no database for accounts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccountsDatabase {
    /// It cannot be read.
    #[error(transparent)]
    Url(#[from] InvalidStoreUrl),
    /// What is in memory is gone with the worker.
    #[error("accounts in memory would be forgotten with the worker; name a file, as sqlite:FILE")]
    Memory,
}

/// Why accounts cannot be served from a database.
#[derive(Debug, thiserror::Error)]
pub enum AccountsDatabaseError {
    /// It does not answer.
    #[error("cannot reach the accounts' database {database}: {reason}")]
    Unreachable {
        /// The database.
        database: AccountsDatabase,
        /// Why.
        reason: String,
    },
    /// Its disk is full, or fails.
    #[error("cannot use the accounts' database {database}: {reason}")]
    Disk {
        /// The database.
        database: AccountsDatabase,
        /// Why.
        reason: String,
    },
    /// It answers, and cannot be used.
    #[error("cannot use the accounts' database {database}: {reason}")]
    Unusable {
        /// The database.
        database: AccountsDatabase,
        /// Why.
        reason: String,
    },
    /// A newer program has made its tables.
    #[error(
        "cannot use the accounts' database {database}: its tables have version {found}, and this \
         program knows none after {known}"
    )]
    TooNew {
        /// The database.
        database: AccountsDatabase,
        /// The version of its tables.
        found: usize,
        /// The newest version that this program knows.
        known: usize,
    },
}

impl AccountsDatabaseError {
    /// Whether the same may work a little later: a database comes back, and somebody sees to a disk.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Disk { .. })
    }
}

impl FromStr for AccountsDatabase {
    type Err = InvalidAccountsDatabase;

    fn from_str(text: &str) -> Result<Self, InvalidAccountsDatabase> {
        let location = match text.parse()? {
            StoreUrl::Sqlite(file) => Location::Sqlite(file),
            StoreUrl::Postgres(url) => Location::Postgres(Box::new(postgres::Server::at(&url)?)),
            StoreUrl::Memory => return Err(InvalidAccountsDatabase::Memory),
        };
        Ok(Self {
            location,
            must_exist: false,
        })
    }
}

impl fmt::Display for AccountsDatabase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::Sqlite(file) => write!(formatter, "sqlite:{}", file.display()),
            Location::Postgres(server) => {
                formatter.write_str(&database::postgres::address(&server.options))
            }
        }
    }
}

impl fmt::Debug for AccountsDatabase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AccountsDatabase({self})")
    }
}

/// A connection to a database.
pub(super) enum Session {
    Sqlite(Box<sqlite::Session>),
    Postgres(Box<PgConnection>),
}

impl AccountsDatabase {
    /// Refuses a database that has no accounts yet, instead of making the tables.
    #[must_use]
    pub fn must_exist(self) -> Self {
        Self {
            must_exist: true,
            ..self
        }
    }

    /// Connects, and makes the tables if they are not there.
    pub(super) async fn open(&self) -> Result<Session, AccountsDatabaseError> {
        let opened = timeout(CONNECT_TIMEOUT, async {
            if let Location::Postgres(server) = &self.location {
                database::postgres::check_server(&server.options, CONNECT_TIMEOUT / 2).await?;
            }
            let mut session = self.connect().await?;
            let found = self.migrate(&mut session).await?;
            Ok((session, found))
        });
        let opened = opened.await.unwrap_or_else(|_| {
            let message = format!("it did not answer within {CONNECT_TIMEOUT:?}");
            Err(Fault::new(FaultKind::Unavailable, message))
        });
        match opened {
            Ok((session, Versions { found, known })) if found <= known => {
                if found == 0 {
                    tracing::info!(database = %self, "there were no accounts; made empty tables");
                }
                Ok(session)
            }
            Ok((_, Versions { found, known })) => Err(AccountsDatabaseError::TooNew {
                database: self.clone(),
                found,
                known,
            }),
            Err(fault) => Err(self.cannot_use(fault)),
        }
    }

    /// One more connection to a database that was opened.
    pub(super) async fn reopen(&self) -> Result<Session, AccountsDatabaseError> {
        self.connect().await.map_err(|fault| self.cannot_use(fault))
    }

    fn cannot_use(&self, fault: Fault) -> AccountsDatabaseError {
        let (database, reason) = (self.clone(), fault.sentence());
        match fault.kind {
            FaultKind::Unavailable => AccountsDatabaseError::Unreachable { database, reason },
            FaultKind::Full | FaultKind::Io => AccountsDatabaseError::Disk { database, reason },
            _ => AccountsDatabaseError::Unusable { database, reason },
        }
    }

    /// Makes the tables if there are none and it may, and brings older ones to the newest version.
    async fn migrate(&self, session: &mut Session) -> Result<Versions, Fault> {
        let create = !self.must_exist;
        let (found, known) = match (session, &self.location) {
            (Session::Sqlite(session), _) => (
                session.migrate(&SQLITE_MIGRATIONS, create).await?,
                SQLITE_MIGRATIONS.len(),
            ),
            (Session::Postgres(connection), Location::Postgres(server)) => {
                let encoding = postgres::encoding(connection).await?;
                if encoding != "UTF8" {
                    let message = format!("its encoding is {encoding} and must be UTF8");
                    return Err(Fault::new(FaultKind::Invalid, message));
                }
                let migrations = &POSTGRES_MIGRATIONS;
                (
                    server.migrate(connection, migrations, create).await?,
                    migrations.len(),
                )
            }
            (Session::Postgres(_), Location::Sqlite(_)) => return Err(no_accounts()),
        };
        Ok(Versions { found, known })
    }

    /// Connects to a database that has been opened before.
    pub(super) async fn connect(&self) -> Result<Session, Fault> {
        Ok(match &self.location {
            Location::Sqlite(file) => {
                Session::Sqlite(Box::new(sqlite::connect(file, !self.must_exist).await?))
            }
            Location::Postgres(server) => Session::Postgres(Box::new(server.connect().await?)),
        })
    }
}

/// Versions of tables: of those that were found, 0 if there were none, and the newest that is known.
struct Versions {
    found: usize,
    known: usize,
}

impl Session {
    /// Carries out operations, all or none of which change something. Answers are in their order.
    pub(super) async fn carry_out(
        &mut self,
        operations: &[Operation],
    ) -> Result<Vec<Answer>, Fault> {
        let is_query = |operation: &Operation| matches!(operation, Operation::Query { .. });
        if !operations.iter().all(is_query) {
            return match self {
                Self::Sqlite(session) => session.write(operations).await,
                Self::Postgres(connection) => Ok(postgres::write(connection, operations).await?),
            };
        }
        let wanted = Wanted::by(operations);
        let mut book = match self {
            Self::Sqlite(session) => session.read(&wanted).await?,
            Self::Postgres(connection) => postgres::read(connection, &wanted).await?,
        };
        Ok(operations.iter().map(|one| book.carry_out(one)).collect())
    }

    /// Ends the connection in order. A file is then a copy of everything by itself, unless others use it.
    pub(super) async fn close(self) {
        match self {
            Self::Sqlite(session) => session.close().await,
            // What is left undone is left to the database, which knows how to go on without us.
            Self::Postgres(connection) => drop(connection.close().await),
        }
    }
}

/// What is said of tables that are not there and may not be made.
pub(super) fn no_accounts() -> Fault {
    Fault::new(FaultKind::Missing, "there are no accounts in it yet")
}

/// An amount as a database has it.
pub(super) fn decimal(text: &str) -> Result<Decimal, sqlx::Error> {
    text.parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

pub(super) fn optional_decimal(text: Option<String>) -> Result<Option<Decimal>, sqlx::Error> {
    text.as_deref().map(decimal).transpose()
}
