//! Accounts in a database that any number of workers share.
//!
//! - `ledger` decides the effect of a request, without a database.
//! - `batch_writer` collects requests into transactions, and repeats them when the connection is lost.
//! - `database` is either `sqlite` or `postgres`, with the same `rows`.

mod batch_writer;
mod database;
mod ledger;
mod owner;
mod postgres;
mod rows;
mod sqlite;

pub use database::{AccountsDatabase, AccountsDatabaseError, InvalidAccountsDatabase};

use crate::{
    interfaces::accounts::{AccountsError, MAX_NAME, Transferred, accounts},
    values::Decimal,
};
use batch_writer::{BatchWriter, ConnectionUse};
use ledger::AccountOperation;
use owner::OwnerRule;
use pyroxene_common::clean;
use std::time::Duration;
use tarpc::context::Context;
use tokio::time::timeout;

/// How long closing the connections may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The object `accounts`. None of its methods is heavy.
///
/// Clones share its two connections to the database: one for changes and one for queries, so that queries do
/// not wait for the disk.
#[derive(Clone, Debug)]
pub struct AccountsObject {
    changes: BatchWriter,
    queries: BatchWriter,
    owner_rule: OwnerRule,
}

impl AccountsObject {
    /// Connects to a database, and creates its tables if they do not exist. Must be called within a tokio
    /// runtime.
    ///
    /// ```
    /// use pyroxene_objects::{AccountsObject, AccountsDatabase, interfaces::accounts::accounts::Accounts as _};
    /// use tarpc::context;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("accounts.db");
    /// let database: AccountsDatabase = format!("sqlite:{}", file.display()).parse()?;
    /// let accounts = AccountsObject::open(&database).await?;
    /// // The methods can be called here, without a worker.
    /// let ana = accounts.clone();
    /// ana.open(context::current(), "ana".to_owned(), "100".parse()?).await?;
    /// let balance = accounts.query(context::current(), "ana".to_owned()).await?;
    /// assert_eq!(balance.to_string(), "100");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(database: &AccountsDatabase) -> Result<Self, AccountsDatabaseError> {
        let changes = database.open().await?;
        let queries = database.reopen().await?;
        Ok(Self {
            changes: BatchWriter::start(database.clone(), changes, ConnectionUse::Changes),
            queries: BatchWriter::start(database.clone(), queries, ConnectionUse::Queries),
            owner_rule: OwnerRule::Off,
        })
    }

    /// Restricts users to accounts of their own name: only these may they open, query, change and pay from,
    /// unless one of their patterns that begin with `account:` covers another account: `account:NAME`,
    /// `account:shop-*`. Admins may use all accounts. The rule applies where callers are authenticated.
    ///
    /// A transfer may go to any account, and its payer learns both balances.
    ///
    /// ```no_run
    /// use pyroxene_objects::{AccountsObject, interfaces};
    /// use pyroxene_worker::Worker;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let accounts = AccountsObject::open(&"sqlite:accounts.db".parse()?).await?.with_owner_rule();
    /// let worker = Worker::builder()
    ///     .host("accounts", interfaces::accounts::Accounts, accounts)
    ///     .bind()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_owner_rule(mut self) -> Self {
        self.owner_rule = OwnerRule::On;
        self
    }

    /// Carries out the waiting requests, and closes the connections. A file that no other worker uses is then
    /// a complete copy of all accounts. Later requests are unavailable.
    ///
    /// # Errors
    ///
    /// The log of a file could not be copied to the file within 5 seconds. Nothing is lost, but the file
    /// without the log (`-wal`) beside it does not have all accounts.
    pub async fn close(&self) -> Result<(), AccountsDatabaseError> {
        let closing = async {
            self.queries.close().await?;
            self.changes.close().await
        };
        match timeout(CLOSE_TIMEOUT, closing).await {
            Ok(closed) => closed,
            Err(_) => self.changes.not_closed_within(CLOSE_TIMEOUT),
        }
    }
}

impl accounts::Accounts for AccountsObject {
    async fn open(
        self,
        _: Context,
        user: String,
        balance: Decimal,
    ) -> Result<Decimal, AccountsError> {
        check_name("user", &user)?;
        self.owner_rule.check(&user)?;
        if balance.is_negative() {
            return Err(invalid("balance", "must not be less than 0"));
        }
        let operation = AccountOperation::Open { user, balance };
        let balances = self.changes.carry_out(operation).await?;
        Ok(balances.account)
    }

    async fn query(self, _: Context, user: String) -> Result<Decimal, AccountsError> {
        check_name("user", &user)?;
        self.owner_rule.check(&user)?;
        let balances = self
            .queries
            .carry_out(AccountOperation::Query { user })
            .await?;
        Ok(balances.account)
    }

    async fn update(
        self,
        _: Context,
        user: String,
        delta: Decimal,
        request_id: String,
    ) -> Result<Decimal, AccountsError> {
        check_name("user", &user)?;
        self.owner_rule.check(&user)?;
        check_name("request_id", &request_id)?;
        let operation = AccountOperation::Update {
            user,
            delta,
            request_id,
        };
        let balances = self.changes.carry_out(operation).await?;
        Ok(balances.account)
    }

    async fn transfer(
        self,
        _: Context,
        from: String,
        to: String,
        amount: Decimal,
        request_id: String,
    ) -> Result<Transferred, AccountsError> {
        check_name("from", &from)?;
        check_name("to", &to)?;
        self.owner_rule.check(&from)?;
        check_name("request_id", &request_id)?;
        if from == to {
            return Err(invalid("to", "must be another user than from"));
        }
        if amount <= Decimal::ZERO {
            return Err(invalid("amount", "must be greater than 0"));
        }
        let operation = AccountOperation::Transfer {
            from,
            to,
            amount,
            request_id,
        };
        let balances = self.changes.carry_out(operation).await?;
        Ok(balances.transferred())
    }
}

fn check_name(parameter: &str, name: &str) -> Result<(), AccountsError> {
    if !clean::is_line(name) {
        let rule = "must have no control characters and no invisible ones";
        return Err(invalid(parameter, rule));
    }
    if name.is_empty() || name.chars().nth(MAX_NAME).is_some() {
        let rule = format!("must have 1 to {MAX_NAME} characters");
        return Err(invalid(parameter, &rule));
    }
    Ok(())
}

fn invalid(parameter: &str, rule: &str) -> AccountsError {
    AccountsError::Invalid {
        parameter: parameter.to_owned(),
        rule: rule.to_owned(),
    }
}
