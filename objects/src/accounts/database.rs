//! The database that holds the accounts, and the connections to it.

use super::{
    ledger::{AccountOperation, NeededRows, OperationResult},
    postgres,
    rows::no_accounts,
    sqlite,
};
use pyroxene_store::database::{self, Fault, FaultKind, InvalidStoreUrl, StoreUrl};
use sqlx::{Connection, PgConnection};
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};
use tokio::time::timeout;

/// The migrations, one for each version.
const SQLITE_MIGRATIONS: [&str; 2] = [
    include_str!("schema/sqlite_1.sql"),
    include_str!("schema/sqlite_2.sql"),
];
const POSTGRES_MIGRATIONS: [&str; 2] = [
    include_str!("schema/postgres_1.sql"),
    include_str!("schema/postgres_2.sql"),
];

/// How long a database may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The address of the database that holds the accounts: `sqlite:FILE`, which is created if it does not exist,
/// or `postgres://USER@HOST:PORT/DATABASE`. Its output never contains a password.
///
/// ```
/// use pyroxene_objects::{AccountsDatabase, InvalidAccountsDatabase};
///
/// let database: AccountsDatabase = "postgres://ana:secret@db.example/bank".parse()?;
/// assert!(!database.to_string().contains("secret"));
/// let error = "memory:".parse::<AccountsDatabase>().unwrap_err();
/// assert_eq!(error, InvalidAccountsDatabase::Memory);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AccountsDatabase {
    location: DatabaseLocation,
    must_exist: bool,
}

#[derive(Clone)]
enum DatabaseLocation {
    Sqlite(PathBuf),
    Postgres(Box<postgres::AccountsServer>),
}

/// Why a text is not the address of a database for accounts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccountsDatabase {
    /// It cannot be parsed.
    #[error(transparent)]
    Url(#[from] InvalidStoreUrl),
    /// Data in memory is lost with the worker.
    #[error("accounts in memory would be forgotten with the worker; name a file, as sqlite:FILE")]
    Memory,
}

/// Why accounts cannot be served from a database.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// It answers, but cannot be used.
    #[error("cannot use the accounts' database {database}: {reason}")]
    Unusable {
        /// The database.
        database: AccountsDatabase,
        /// Why.
        reason: String,
    },
    /// A newer version of this program created its tables.
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
    /// Whether a retry may help a little later: after the database is back, or the disk was repaired.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Disk { .. })
    }
}

impl FromStr for AccountsDatabase {
    type Err = InvalidAccountsDatabase;

    fn from_str(text: &str) -> Result<Self, InvalidAccountsDatabase> {
        let location = match text.parse()? {
            StoreUrl::Sqlite(file) => DatabaseLocation::Sqlite(file),
            StoreUrl::Postgres(url) => {
                DatabaseLocation::Postgres(Box::new(postgres::AccountsServer::at(&url)?))
            }
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
            DatabaseLocation::Sqlite(file) => write!(formatter, "sqlite:{}", file.display()),
            DatabaseLocation::Postgres(server) => {
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
pub(super) enum AccountsSession {
    Sqlite(Box<sqlite::SqliteSession>),
    Postgres(Box<PgConnection>),
}

impl AccountsDatabase {
    /// Refuses a database that has no accounts yet, instead of creating the tables.
    ///
    /// ```
    /// use pyroxene_objects::{AccountsObject, AccountsDatabase};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("accounts.db");
    /// let database: AccountsDatabase = format!("sqlite:{}", file.display()).parse()?;
    /// assert!(AccountsObject::open(&database.clone().must_exist()).await.is_err());
    /// // This makes the tables.
    /// AccountsObject::open(&database).await?.close().await?;
    /// assert!(AccountsObject::open(&database.must_exist()).await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn must_exist(self) -> Self {
        Self {
            must_exist: true,
            ..self
        }
    }

    /// Connects, and creates the tables if they do not exist.
    pub(super) async fn open(&self) -> Result<AccountsSession, AccountsDatabaseError> {
        let opened = timeout(CONNECT_TIMEOUT, async {
            if let DatabaseLocation::Postgres(server) = &self.location {
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
            Ok((session, SchemaVersions { found, known })) if found <= known => {
                if found == 0 {
                    tracing::info!(database = %self, "there were no accounts; made empty tables");
                }
                Ok(session)
            }
            Ok((_, SchemaVersions { found, known })) => Err(AccountsDatabaseError::TooNew {
                database: self.clone(),
                found,
                known,
            }),
            Err(fault) => Err(self.cannot_use(fault)),
        }
    }

    /// Opens one more connection to a database that was opened.
    pub(super) async fn reopen(&self) -> Result<AccountsSession, AccountsDatabaseError> {
        self.connect().await.map_err(|fault| self.cannot_use(fault))
    }

    /// Whether it is a file.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.location, DatabaseLocation::Sqlite(_))
    }

    /// A fault of this database, called by the name of its cause if that is a full disk.
    pub(super) fn named(&self, fault: Fault) -> Fault {
        match &self.location {
            DatabaseLocation::Sqlite(file) => fault.on_disk_of(file),
            DatabaseLocation::Postgres(_) => fault,
        }
    }

    pub(super) fn cannot_use(&self, fault: Fault) -> AccountsDatabaseError {
        let fault = self.named(fault);
        let (database, reason) = (self.clone(), fault.full_message());
        match fault.kind {
            FaultKind::Unavailable => AccountsDatabaseError::Unreachable { database, reason },
            FaultKind::Full | FaultKind::Io => AccountsDatabaseError::Disk { database, reason },
            _ => AccountsDatabaseError::Unusable { database, reason },
        }
    }

    /// Creates the tables if there are none and that is permitted, and migrates older ones.
    async fn migrate(&self, session: &mut AccountsSession) -> Result<SchemaVersions, Fault> {
        let create = !self.must_exist;
        let (found, known) = match (session, &self.location) {
            (AccountsSession::Sqlite(session), _) => (
                session.migrate(&SQLITE_MIGRATIONS, create).await?,
                SQLITE_MIGRATIONS.len(),
            ),
            (AccountsSession::Postgres(connection), DatabaseLocation::Postgres(server)) => {
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
            (AccountsSession::Postgres(_), DatabaseLocation::Sqlite(_)) => {
                return Err(no_accounts());
            }
        };
        Ok(SchemaVersions { found, known })
    }

    /// Connects to a database that was opened before.
    pub(super) async fn connect(&self) -> Result<AccountsSession, Fault> {
        Ok(match &self.location {
            DatabaseLocation::Sqlite(file) => {
                AccountsSession::Sqlite(Box::new(sqlite::connect(file, !self.must_exist).await?))
            }
            DatabaseLocation::Postgres(server) => {
                AccountsSession::Postgres(Box::new(server.connect().await?))
            }
        })
    }
}

/// The versions of the tables: the one that was found, 0 if there were none, and the newest known one.
struct SchemaVersions {
    found: usize,
    known: usize,
}

impl AccountsSession {
    /// Carries out operations. The changes of all of them are made, or none. Results are in their order.
    pub(super) async fn carry_out(
        &mut self,
        operations: &[AccountOperation],
    ) -> Result<Vec<OperationResult>, Fault> {
        let is_query =
            |operation: &AccountOperation| matches!(operation, AccountOperation::Query { .. });
        if !operations.iter().all(is_query) {
            return match self {
                Self::Sqlite(session) => session.write(operations).await,
                Self::Postgres(connection) => Ok(postgres::write(connection, operations).await?),
            };
        }
        let wanted = NeededRows::by(operations);
        let mut book = match self {
            Self::Sqlite(session) => session.read(&wanted).await?,
            Self::Postgres(connection) => postgres::read(connection, &wanted).await?,
        };
        Ok(operations.iter().map(|one| book.carry_out(one)).collect())
    }

    /// Closes the connection. With `copy_log` a file is then a complete copy of everything, unless others
    /// use it.
    pub(super) async fn close(self, copy_log: bool) -> Result<(), Fault> {
        match self {
            Self::Sqlite(session) => session.close(copy_log).await?,
            // If closing fails, the server ends the session without it.
            Self::Postgres(connection) => drop(connection.close().await),
        }
        Ok(())
    }
}
