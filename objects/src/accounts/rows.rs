//! The rows of the accounts, which are the same in both databases.

use super::ledger::{Account, AppliedRequest, Balances};
use crate::values::Decimal;
use pyroxene_common::steady_clock;
use pyroxene_store::database::{Fault, FaultKind};
use sqlx::Error;
use std::time::Duration;

/// How many days a request is remembered. A repetition within this time gets the result of the first request,
/// and changes nothing.
pub(super) const REMEMBERED_DAYS: i64 = 30;

/// Seconds since 1970 by a clock that nobody can set. A request must be old by this clock too: setting the
/// database's clock ahead must not make transfers happen twice.
pub(super) fn steady_seconds() -> f64 {
    Duration::from_millis(steady_clock::now_ms()).as_secs_f64()
}

/// How many old requests are deleted in a transaction that adds `applied` of them. It is more, so that the
/// number of old ones falls, and bounded, so that no transaction takes long.
pub(super) fn requests_to_forget(applied: usize) -> i64 {
    i64::try_from(applied)
        .unwrap_or(0)
        .saturating_mul(2)
        .min(1000)
}

/// The fault for tables that do not exist and may not be created.
pub(super) fn no_accounts() -> Fault {
    Fault::new(FaultKind::Missing, "there are no accounts in it yet")
}

/// An amount as the database stores it.
fn decimal(text: &str) -> Result<Decimal, Error> {
    text.parse().map_err(|error| Error::Decode(Box::new(error)))
}

/// The columns of an account: its name, its opening balance and its balance.
pub(super) type AccountRow = (String, String, String);

/// The columns of a request: its id, its account, its receiver, its amount and the balances of both.
pub(super) type RequestRow = (
    String,
    String,
    Option<String>,
    String,
    String,
    Option<String>,
);

pub(super) fn accounts(rows: Vec<AccountRow>) -> Result<Vec<Account>, Error> {
    let account = |(name, opening, balance): AccountRow| {
        Ok(Account {
            name,
            opening: decimal(&opening)?,
            balance: decimal(&balance)?,
        })
    };
    rows.into_iter().map(account).collect()
}

pub(super) fn requests(rows: Vec<RequestRow>) -> Result<Vec<AppliedRequest>, Error> {
    let request =
        |(id, account, receiver, amount, account_balance, receiver_balance): RequestRow| {
            Ok(AppliedRequest {
                id,
                account,
                receiver,
                amount: decimal(&amount)?,
                balances: Balances {
                    account: decimal(&account_balance)?,
                    receiver: receiver_balance.as_deref().map(decimal).transpose()?,
                },
            })
        };
    rows.into_iter().map(request).collect()
}
