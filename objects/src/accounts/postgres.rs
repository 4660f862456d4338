//! Accounts on a PostgreSQL server, which the workers of many hosts may share.

use super::{
    ledger::{
        Account, AccountLedger, AccountOperation, AppliedRequest, NeededRows, OperationResult,
    },
    rows::{self, REMEMBERED_DAYS, no_accounts, requests_to_forget, steady_seconds},
};
use pyroxene_store::database::{
    Fault, InvalidStoreUrl,
    postgres::{self, Layout, Schema},
};
use sqlx::{ConnectOptions, Connection, Error, PgConnection, postgres::PgConnectOptions};

/// The key of the advisory lock under which workers create the tables: any number that nobody else is likely
/// to use.
const MIGRATION_LOCK: i64 = 0x7079_7261_6363; // "pyracc"

/// The tables on a server. A migration that creates a table adds a line here.
const LAYOUT: Layout = Layout {
    schema: "pyroxene_accounts",
    versions: "accounts_schema",
    tables: &[(1, "accounts"), (1, "accounts_requests")],
};

/// A server, and the schema of the accounts there.
#[derive(Clone)]
pub(super) struct AccountsServer {
    pub(super) options: PgConnectOptions,
    schema: Schema,
}

impl AccountsServer {
    pub(super) fn at(url: &str) -> Result<Self, InvalidStoreUrl> {
        Ok(Self {
            options: postgres::connect_options(url)?,
            schema: Schema::of(url, &LAYOUT)?,
        })
    }

    /// Connects to the server. The timeouts limit how long a worker that stops in the middle of a transaction
    /// holds its locks, and how long a worker waits for the locks of another one.
    pub(super) async fn connect(&self) -> Result<PgConnection, Error> {
        let options = (self.options.clone())
            .application_name("pyroxene-accounts")
            // The worker logs errors itself, with more context.
            .disable_statement_logging();
        let mut connection = PgConnection::connect_with(&options).await?;
        self.schema.pin(&mut connection).await?;
        sqlx::raw_sql(
            "SET statement_timeout = '4s'; SET lock_timeout = '3s';
             SET idle_in_transaction_session_timeout = '4s'",
        )
        .execute(&mut connection)
        .await?;
        Ok(connection)
    }

    /// Migrates the tables to the newest version, unless theirs is newer. Returns the version that was found.
    pub(super) async fn migrate(
        &self,
        connection: &mut PgConnection,
        migrations: &[&'static str],
        create: bool,
    ) -> Result<usize, Fault> {
        // At any other level, changes that others committed during the wait for the lock would be invisible.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
        let mut transaction = connection.begin_with(begin).await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await?;
        let has_tables = self.schema.prepare(&mut transaction, create).await?;
        if !has_tables && !create {
            return Err(no_accounts());
        }
        if !has_tables {
            sqlx::query("CREATE TABLE accounts_schema (version bigint NOT NULL)")
                .execute(&mut *transaction)
                .await?;
        }
        let statement = "SELECT coalesce(max(version), 0) FROM accounts_schema";
        let found: i64 = sqlx::query_scalar(statement)
            .fetch_one(&mut *transaction)
            .await?;
        let found = usize::try_from(found).unwrap_or(usize::MAX);
        for (version, migration) in (1i64..).zip(migrations).skip(found) {
            sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO accounts_schema (version) VALUES ($1)")
                .bind(version)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(found)
    }
}

/// The encoding of the database's text.
pub(super) async fn encoding(connection: &mut PgConnection) -> Result<String, Error> {
    sqlx::query_scalar("SHOW server_encoding")
        .fetch_one(connection)
        .await
}

/// The accounts that operations need, as they are now. If the statement locks them, nobody else changes them
/// in the meantime.
async fn accounts(
    connection: &mut PgConnection,
    statement: &'static str,
    wanted: &NeededRows,
) -> Result<Vec<Account>, Error> {
    let names: Vec<&str> = wanted.accounts.iter().map(String::as_str).collect();
    let found = sqlx::query_as(statement).bind(names);
    rows::accounts(found.fetch_all(connection).await?)
}

async fn requests(
    connection: &mut PgConnection,
    wanted: &NeededRows,
) -> Result<Vec<AppliedRequest>, Error> {
    let ids: Vec<&str> = wanted.requests.iter().map(String::as_str).collect();
    let found = sqlx::query_as(
        "SELECT id, account, receiver, amount::text, account_balance::text, receiver_balance::text
         FROM accounts_requests WHERE id = ANY($1)",
    )
    .bind(ids);
    rows::requests(found.fetch_all(connection).await?)
}

/// The accounts that operations need, as they are now.
pub(super) async fn read(
    connection: &mut PgConnection,
    wanted: &NeededRows,
) -> Result<AccountLedger, Error> {
    let statement = "SELECT name, opening::text, balance::text FROM accounts WHERE name = ANY($1)";
    Ok(AccountLedger::new(
        accounts(connection, statement, wanted).await?,
        [],
    ))
}

/// Carries out all operations in one transaction.
///
/// It locks the accounts in the order of their names, so that two workers never wait for each other. It reads
/// the requests after that: another worker with the same request holds the same accounts until its request
/// can be read. A row that does not exist yet cannot be locked: an account that two workers open, or an id
/// that two use for different accounts. Then one of the two finds the row taken when it inserts its own. It
/// carries out everything again, and reads the other's row.
pub(super) async fn write(
    connection: &mut PgConnection,
    operations: &[AccountOperation],
) -> Result<Vec<OperationResult>, Error> {
    let wanted = NeededRows::by(operations);
    let statement = "SELECT name, opening::text, balance::text FROM accounts
                     WHERE name = ANY($1) ORDER BY name FOR UPDATE";
    let mut transaction = connection.begin().await?;
    let accounts = accounts(&mut transaction, statement, &wanted).await?;
    let requests = requests(&mut transaction, &wanted).await?;
    let mut book = AccountLedger::new(accounts, requests);
    let answers = operations.iter().map(|one| book.carry_out(one)).collect();
    save(&mut transaction, &book).await?;
    transaction.commit().await?;
    Ok(answers)
}

async fn save(connection: &mut PgConnection, book: &AccountLedger) -> Result<(), Error> {
    let opened: Vec<&Account> = book.opened().collect();
    if !opened.is_empty() {
        sqlx::query(
            "INSERT INTO accounts (name, opening, balance)
             SELECT name, opening::numeric, balance::numeric
             FROM unnest($1::text[], $2::text[], $3::text[]) AS row (name, opening, balance)",
        )
        .bind(column(&opened, |account| account.name.clone()))
        .bind(column(&opened, |account| account.opening.to_string()))
        .bind(column(&opened, |account| account.balance.to_string()))
        .execute(&mut *connection)
        .await?;
    }
    let changed: Vec<&Account> = book.changed().collect();
    if !changed.is_empty() {
        sqlx::query(
            "UPDATE accounts SET balance = row.balance::numeric
             FROM unnest($1::text[], $2::text[]) AS row (name, balance)
             WHERE accounts.name = row.name",
        )
        .bind(column(&changed, |account| account.name.clone()))
        .bind(column(&changed, |account| account.balance.to_string()))
        .execute(&mut *connection)
        .await?;
    }
    let applied: Vec<&AppliedRequest> = book.applied().collect();
    if !applied.is_empty() {
        sqlx::query(
            "INSERT INTO accounts_requests
             (id, account, receiver, amount, account_balance, receiver_balance)
             SELECT id, account, receiver, amount::numeric, account_balance::numeric,
                    receiver_balance::numeric
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
             AS row (id, account, receiver, amount, account_balance, receiver_balance)",
        )
        .bind(column(&applied, |one| one.id.clone()))
        .bind(column(&applied, |one| one.account.clone()))
        .bind(column(&applied, |one| one.receiver.clone()))
        .bind(column(&applied, |one| one.amount.to_string()))
        .bind(column(&applied, |one| one.balances.account.to_string()))
        .bind(column(&applied, |one| {
            one.balances.receiver.map(|balance| balance.to_string())
        }))
        .execute(&mut *connection)
        .await?;
        forget(connection, applied.len()).await?;
    }
    Ok(())
}

/// Deletes some of the requests that are too old, in a transaction that adds `applied` requests. Skips those
/// that another worker is deleting.
async fn forget(connection: &mut PgConnection, applied: usize) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM accounts_requests WHERE id IN
         (SELECT id FROM accounts_requests
          WHERE applied_at < least(now(), to_timestamp($2)) - make_interval(days => $1::int)
          ORDER BY applied_at LIMIT $3 FOR UPDATE SKIP LOCKED)",
    )
    .bind(REMEMBERED_DAYS)
    .bind(steady_seconds())
    .bind(requests_to_forget(applied))
    .execute(connection)
    .await?;
    Ok(())
}

fn column<R, T>(rows: &[&R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(|row| value(row)).collect()
}
