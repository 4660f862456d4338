//! Accounts in a SQLite file, which the workers of one host may share.

use super::{
    ledger::{
        Account, AccountLedger, AccountOperation, AppliedRequest, NeededRows, OperationResult,
    },
    rows::{self, REMEMBERED_DAYS, no_accounts, requests_to_forget, steady_seconds},
};
use pyroxene_common::private_file;
use pyroxene_store::database::{self, Fault, FaultKind, sqlite::WriteAheadLog};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, Error, SqliteConnection};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long to wait for another worker's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// How long SQLite itself waits. It polls less and less often, up to every 100 ms, so a worker that has
/// waited for long would always lose against new ones. Its first interval is 1 ms, so it is made to start
/// again and again.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_millis(3);

/// The error code of SQLite for a locked file, without details.
const SQLITE_BUSY: i32 = 5;

/// A connection to a file.
pub(super) struct SqliteSession {
    connection: SqliteConnection,
    file: PathBuf,
    /// The log of the file, after the first write.
    log: Option<WriteAheadLog>,
}

/// Opens the file, or creates it if that is permitted. A commit is on disk before it is acknowledged.
pub(super) async fn connect(file: &Path, create: bool) -> Result<SqliteSession, Fault> {
    if fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return Err(Fault::new(FaultKind::NotADatabase, "it is not a file"));
    }
    if create {
        // Balances are private. SQLite gives its journals the permissions of the file.
        private_file::create_if_missing(file).map_err(|error| Fault::from(&error))?;
    }
    if !create && matches!(file.try_exists(), Ok(false)) {
        let message = "there are no accounts there: no such file";
        return Err(Fault::new(FaultKind::Missing, message));
    }
    let options = database::sqlite::connect_options(file)
        .map_err(|error| Fault::from(&error))?
        .create_if_missing(create)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        // The worker logs errors itself, with more context.
        .disable_statement_logging();
    // Turning a new file to WAL needs exclusive access, and SQLite does not wait for that itself.
    let deadline = Instant::now() + BUSY_TIMEOUT;
    let connection = loop {
        match SqliteConnection::connect_with(&options).await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                sleep(Duration::from_millis(20)).await;
            }
            outcome => break outcome?,
        }
    };
    Ok(SqliteSession {
        connection,
        file: file.to_owned(),
        log: None,
    })
}

impl SqliteSession {
    /// Restores the log before a write.
    async fn restore_log(&mut self) -> Result<&mut WriteAheadLog, Fault> {
        let deadline = Instant::now() + BUSY_TIMEOUT;
        loop {
            let restored = match &mut self.log {
                Some(log) => log.restore(&mut self.connection).await,
                log => {
                    let opened =
                        WriteAheadLog::open(&mut self.connection, &self.file, SQLITE_BUSY_TIMEOUT);
                    opened.await.map(|opened| *log = Some(opened))
                }
            };
            match restored {
                // Another worker has locked the file.
                Err(fault) if fault.kind == FaultKind::Unavailable && Instant::now() < deadline => {
                }
                Err(fault) => return Err(fault),
                Ok(()) => break,
            }
        }
        let missing = || Fault::new(FaultKind::Closed, "there is no log");
        self.log.as_mut().ok_or_else(missing)
    }

    /// Migrates the tables to the newest version, unless theirs is newer. Returns the version that was found.
    pub(super) async fn migrate(
        &mut self,
        migrations: &[&'static str],
        create: bool,
    ) -> Result<usize, Fault> {
        self.restore_log().await?;
        let found = migrate(&mut self.connection, migrations, create).await;
        found?.ok_or_else(no_accounts)
    }

    /// The accounts and requests that operations need, as they are now.
    pub(super) async fn read(&mut self, wanted: &NeededRows) -> Result<AccountLedger, Error> {
        read(&mut self.connection, wanted).await
    }

    /// Carries out all operations in one transaction. After an error the session cannot be used any more.
    pub(super) async fn write(
        &mut self,
        operations: &[AccountOperation],
    ) -> Result<Vec<OperationResult>, Fault> {
        self.restore_log().await?;
        let answers = write(&mut self.connection, operations).await?;
        if let Some(log) = &mut self.log {
            log.keep_short(&mut self.connection).await;
        }
        Ok(answers)
    }

    /// Closes the connection, after the log is copied to the file if `copy_log` says so.
    pub(super) async fn close(mut self, copy_log: bool) -> Result<(), Fault> {
        let copied = match copy_log {
            true => self.copy_log().await,
            false => Ok(()),
        };
        // SQLite itself copies the log once more if nobody else uses the file, and removes it.
        let _ = self.connection.close().await;
        copied
    }

    async fn copy_log(&mut self) -> Result<(), Fault> {
        self.restore_log().await?;
        if let Some(log) = &mut self.log {
            // Other workers that use the file may prevent the copy.
            log.empty(&mut self.connection).await?;
        }
        Ok(())
    }
}

/// Begins a transaction with the write lock: getting it later can fail. There is no explicit rollback; the
/// transaction ends with the connection.
async fn begin(connection: &mut SqliteConnection) -> Result<(), Error> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection);
        match begun.await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {}
            outcome => return outcome.map(|_| ()),
        }
    }
}

async fn commit(connection: &mut SqliteConnection) -> Result<(), Error> {
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(())
}

fn is_busy(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

/// As [`SqliteSession::migrate`]; `None` if there are no tables and they may not be created.
async fn migrate(
    connection: &mut SqliteConnection,
    migrations: &[&'static str],
    create: bool,
) -> Result<Option<usize>, Error> {
    begin(connection).await?;
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'accounts_schema'")
            .fetch_one(&mut *connection)
            .await?;
    if tables == 0 && !create {
        return Ok(None);
    }
    sqlx::query("CREATE TABLE IF NOT EXISTS accounts_schema (version INTEGER NOT NULL) STRICT")
        .execute(&mut *connection)
        .await?;
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM accounts_schema")
        .fetch_one(&mut *connection)
        .await?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    for (version, migration) in (1i64..).zip(migrations).skip(found) {
        sqlx::raw_sql(*migration).execute(&mut *connection).await?;
        sqlx::query("INSERT INTO accounts_schema (version) VALUES (?)")
            .bind(version)
            .execute(&mut *connection)
            .await?;
    }
    commit(connection).await?;
    Ok(Some(found))
}

/// The accounts and requests that operations need, as they are now.
async fn read(
    connection: &mut SqliteConnection,
    wanted: &NeededRows,
) -> Result<AccountLedger, Error> {
    let accounts = sqlx::query_as(
        "SELECT name, opening, balance FROM accounts
         WHERE name IN (SELECT value FROM json_each(?))",
    )
    .bind(json!(wanted.accounts).to_string())
    .fetch_all(&mut *connection)
    .await?;
    let accounts = rows::accounts(accounts)?;
    if wanted.requests.is_empty() {
        return Ok(AccountLedger::new(accounts, []));
    }
    let requests = sqlx::query_as(
        "SELECT id, account, receiver, amount, account_balance, receiver_balance
         FROM accounts_requests WHERE id IN (SELECT value FROM json_each(?))",
    )
    .bind(json!(wanted.requests).to_string())
    .fetch_all(connection)
    .await?;
    Ok(AccountLedger::new(accounts, rows::requests(requests)?))
}

/// Carries out all operations in one transaction.
async fn write(
    connection: &mut SqliteConnection,
    operations: &[AccountOperation],
) -> Result<Vec<OperationResult>, Error> {
    let wanted = NeededRows::by(operations);
    begin(connection).await?;
    let mut book = read(connection, &wanted).await?;
    let answers = operations.iter().map(|one| book.carry_out(one)).collect();
    save(connection, &book).await?;
    commit(connection).await?;
    Ok(answers)
}

async fn save(connection: &mut SqliteConnection, book: &AccountLedger) -> Result<(), Error> {
    let row = |account: &Account| json!([account.name, account.opening, account.balance]);
    each(
        connection,
        "INSERT INTO accounts (name, opening, balance)
         SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        book.opened().map(row).collect(),
    )
    .await?;
    each(
        connection,
        "UPDATE accounts SET balance = change.value ->> 2 FROM json_each(?) AS change
         WHERE name = change.value ->> 0",
        book.changed().map(row).collect(),
    )
    .await?;
    let row = |applied: &AppliedRequest| {
        json!([
            applied.id,
            applied.account,
            applied.receiver,
            applied.amount,
            applied.balances.account,
            applied.balances.receiver,
        ])
    };
    each(
        connection,
        "INSERT INTO accounts_requests
         (id, account, receiver, amount, account_balance, receiver_balance)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
         FROM json_each(?)",
        book.applied().map(row).collect(),
    )
    .await?;
    forget(connection, book.applied().count()).await
}

/// Deletes some of the requests that are too old, in a transaction that adds `applied` requests.
async fn forget(connection: &mut SqliteConnection, applied: usize) -> Result<(), Error> {
    if applied == 0 {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM accounts_requests WHERE id IN
         (SELECT id FROM accounts_requests
          WHERE applied_at < min(strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?1),
                                 strftime('%Y-%m-%dT%H:%M:%fZ', ?2, 'unixepoch', ?1))
          ORDER BY applied_at LIMIT ?3)",
    )
    .bind(format!("-{REMEMBERED_DAYS} days"))
    .bind(steady_seconds())
    .bind(requests_to_forget(applied))
    .execute(connection)
    .await?;
    Ok(())
}

/// Executes a statement for all rows at once, if there are any.
async fn each(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: Vec<Value>,
) -> Result<(), Error> {
    if !rows.is_empty() {
        let rows = Value::Array(rows).to_string();
        sqlx::query(statement)
            .bind(rows)
            .execute(connection)
            .await?;
    }
    Ok(())
}
