//! The database that holds the accounts: which one it is, and a connection to it.

use super::{
    book::{Answer, Operation, Wanted},
    postgres, sqlite,
};
use pyroxene_common::{steady_clock, values::Decimal};
use sqlx::{Connection, PgConnection, SqliteConnection, postgres::PgConnectOptions};
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
pub struct AccountsDatabase(Location);

#[derive(Clone)]
enum Location {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

/// Why a text names no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccountsDatabase {
    /// It begins with neither of the two schemes.
    #[error("a database is given as sqlite:FILE or postgres://USER@HOST:PORT/DATABASE")]
    UnknownScheme,
    /// The address of a server cannot be read.
    #[error("the address of the PostgreSQL server cannot be read: {0}")]
    Address(String),
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

impl FromStr for AccountsDatabase {
    type Err = InvalidAccountsDatabase;

    fn from_str(text: &str) -> Result<Self, InvalidAccountsDatabase> {
        if let Some(file) = text.strip_prefix("sqlite:").filter(|file| !file.is_empty()) {
            return Ok(Self(Location::Sqlite(file.into())));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(InvalidAccountsDatabase::UnknownScheme);
        }
        let options: PgConnectOptions = text
            .parse()
            .map_err(|error: sqlx::Error| InvalidAccountsDatabase::Address(error.to_string()))?;
        Ok(Self(Location::Postgres(Box::new(options))))
    }
}

impl fmt::Display for AccountsDatabase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Location::Sqlite(file) => write!(formatter, "sqlite:{}", file.display()),
            Location::Postgres(options) => {
                formatter.write_str("postgres://")?;
                match options.get_socket() {
                    Some(socket) => write!(formatter, "{}", socket.display())?,
                    None => write!(formatter, "{}:{}", options.get_host(), options.get_port())?,
                }
                let database = options.get_database();
                write!(formatter, "/{}", database.unwrap_or(options.get_username()))
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
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

impl AccountsDatabase {
    /// Connects, and makes the tables if they are not there.
    pub(super) async fn open(&self) -> Result<Session, AccountsDatabaseError> {
        let opened = timeout(CONNECT_TIMEOUT, async {
            let mut session = self.connect().await?;
            let (found, known) = match &mut session {
                Session::Sqlite(connection) => (
                    sqlite::migrate(connection, &SQLITE_MIGRATIONS).await?,
                    SQLITE_MIGRATIONS.len(),
                ),
                Session::Postgres(connection) => {
                    let encoding = postgres::encoding(connection).await?;
                    if encoding != "UTF8" {
                        let sentence = format!("its encoding is {encoding} and must be UTF8");
                        return Err(sqlx::Error::Configuration(sentence.into()));
                    }
                    (
                        postgres::migrate(connection, &POSTGRES_MIGRATIONS).await?,
                        POSTGRES_MIGRATIONS.len(),
                    )
                }
            };
            Ok((session, found, known))
        });
        let database = self.clone();
        match opened.await {
            Ok(Ok((session, found, known))) if found <= known => Ok(session),
            Ok(Ok((_, found, known))) => Err(AccountsDatabaseError::TooNew {
                database,
                found,
                known,
            }),
            Ok(Err(error)) => {
                let reason = reason(&error);
                Err(match is_unreachable(&error) {
                    true => AccountsDatabaseError::Unreachable { database, reason },
                    false => AccountsDatabaseError::Unusable { database, reason },
                })
            }
            Err(_) => Err(AccountsDatabaseError::Unreachable {
                database,
                reason: format!("it did not answer within {CONNECT_TIMEOUT:?}"),
            }),
        }
    }

    /// Connects to a database that has been opened before.
    pub(super) async fn connect(&self) -> Result<Session, sqlx::Error> {
        Ok(match &self.0 {
            Location::Sqlite(file) => Session::Sqlite(Box::new(sqlite::connect(file).await?)),
            Location::Postgres(options) => {
                Session::Postgres(Box::new(postgres::connect(options).await?))
            }
        })
    }
}

impl Session {
    /// Carries out operations, all or none of which change something. Answers are in their order.
    pub(super) async fn carry_out(
        &mut self,
        operations: &[Operation],
    ) -> Result<Vec<Answer>, sqlx::Error> {
        let is_query = |operation: &Operation| matches!(operation, Operation::Query { .. });
        if !operations.iter().all(is_query) {
            return match self {
                Self::Sqlite(connection) => sqlite::write(connection, operations).await,
                Self::Postgres(connection) => postgres::write(connection, operations).await,
            };
        }
        let wanted = Wanted::by(operations);
        let mut book = match self {
            Self::Sqlite(connection) => sqlite::read(connection, &wanted).await?,
            Self::Postgres(connection) => postgres::read(connection, &wanted).await?,
        };
        Ok(operations.iter().map(|one| book.carry_out(one)).collect())
    }

    /// Ends the connection in order.
    pub(super) async fn close(self) {
        // What is left undone is left to the database, which knows how to go on without us.
        let _ = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        };
    }
}

/// Whether it may work later, without anyone changing anything.
fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => error
            .code()
            // A connection failed; there are too many; the server starts or stops.
            .is_some_and(|code| {
                ["08", "53", "57P"]
                    .iter()
                    .any(|class| code.starts_with(class))
            }),
        _ => false,
    }
}

/// What a person reads of an error.
pub(super) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Configuration(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// An amount as a database has it.
pub(super) fn decimal(text: &str) -> Result<Decimal, sqlx::Error> {
    text.parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

pub(super) fn optional_decimal(text: Option<String>) -> Result<Option<Decimal>, sqlx::Error> {
    text.as_deref().map(decimal).transpose()
}
