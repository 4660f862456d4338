//! Accounts with exact balances, which are never overdrawn.

use crate::values::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most characters that a user's name or a request's id may have.
pub const MAX_NAME: usize = 128;

pyroxene_common::interface! {
    /// Accounts with exact balances, which are never overdrawn. Every change has a request id that the caller
    /// chooses, and is applied once however often it is requested: a repeated request gets the answer of the
    /// first one. Names and ids have 1 to 128 characters and no control characters.
    #[name = "pyroxene.Accounts"]
    #[version = 1]
    pub trait Accounts in accounts {
        /// Opens an account, and returns its opening balance, which is not negative. Opening it again with
        /// the same opening balance changes nothing.
        #[idempotent]
        async fn open(user: String, balance: Decimal) -> Result<Decimal, AccountsError>;
        /// The balance of an account.
        #[idempotent]
        async fn query(user: String) -> Result<Decimal, AccountsError>;
        /// Adds delta, which may be negative, to a balance, and returns the new balance.
        #[idempotent]
        async fn update(user: String, delta: Decimal, request_id: String) -> Result<Decimal, AccountsError>;
        /// Moves an amount greater than zero from one account to another, and returns both new balances.
        #[idempotent]
        async fn transfer(from: String, to: String, amount: Decimal, request_id: String) -> Result<Transferred, AccountsError>;
    }
}

/// The balances after a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transferred {
    /// The balance of the account that paid.
    pub from: Decimal,
    /// The balance of the account that was paid.
    pub to: Decimal,
}

/// Why a request to the accounts was not carried out. Nothing has changed, except in the
/// cases that [`Unavailable`](Self::Unavailable) and [`Broken`](Self::Broken) describe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum AccountsError {
    /// There is no such account.
    #[error("user '{user}' has no account")]
    UnknownUser {
        /// The user.
        user: String,
    },
    /// There is such an account already, and it was opened with another balance.
    #[error("user '{user}' already has an account, opened with {opening}")]
    UserExists {
        /// The user.
        user: String,
        /// The balance that it was opened with.
        opening: Decimal,
    },
    /// The balance is less than the amount.
    #[error("user '{user}' has {balance}, which is less than {amount}")]
    Overdraft {
        /// The user.
        user: String,
        /// The balance.
        balance: Decimal,
        /// The amount that was to be taken from it.
        amount: Decimal,
    },
    /// A parameter is invalid.
    #[error("{parameter} {rule}")]
    Invalid {
        /// The parameter's name.
        parameter: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// The balance would become too great.
    #[error("the balance of user '{user}' would be greater than 99999999999999999999.99999999")]
    TooGreat {
        /// The user.
        user: String,
    },
    /// The request id belongs to another request, which was carried out.
    #[error("request id '{request_id}' was already used for another request")]
    RequestIdReused {
        /// The id.
        request_id: String,
    },
    /// The largest permitted number of requests is waiting for the database.
    #[error("{waiting} requests already wait for the accounts' database, which is the limit")]
    Overloaded {
        /// How many requests.
        waiting: u64,
    },
    /// The database does not answer. The request may have been carried out. Repeating it with the same
    /// request id is safe, and returns its result.
    #[error(
        "the accounts' database cannot be reached; it is safe to repeat the request with the same \
         request id"
    )]
    Unavailable,
    /// The database cannot be used although it is there: another process has locked it, its disk is full or fails,
    /// or something else is wrong with it. The request may have been carried out, as with [`Unavailable`](Self::Unavailable).
    #[error(
        "the accounts' database does not work: {sentence}; it is safe to repeat the request with the \
         same request id"
    )]
    Broken {
        /// The error of the database.
        sentence: String,
    },
    /// The caller may not use this account.
    #[error("'{caller}' may not use the account of '{user}'")]
    Denied {
        /// The caller.
        caller: String,
        /// The owner of the account.
        user: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::{interface::Interface, json};

    #[test]
    fn refusals_are_sentences() {
        let overdraft = AccountsError::Overdraft {
            user: "ana".into(),
            balance: "10.00".parse().unwrap(),
            amount: "12.50".parse().unwrap(),
        };
        assert_eq!(
            overdraft.to_string(),
            "user 'ana' has 10.00, which is less than 12.50"
        );
        let invalid = AccountsError::Invalid {
            parameter: "amount".into(),
            rule: "must be greater than 0".into(),
        };
        assert_eq!(invalid.to_string(), "amount must be greater than 0");
        assert!(!AccountsError::Unavailable.to_string().contains("  "));
    }

    #[test]
    fn the_documentation_names_the_limits() {
        let doc = Accounts::describe().doc;
        assert!(doc.contains(&MAX_NAME.to_string()), "{doc}");
    }

    #[test]
    fn amounts_are_read_from_strings_and_from_the_digits_of_numbers() {
        for amount in ["\"1234567890.00000001\"", "1234567890.00000001"] {
            let arguments =
                format!(r#"{{"from":"a","to":"b","amount":{amount},"request_id":"r"}}"#);
            let request = json::request::<Accounts>("transfer", &arguments).unwrap();
            let expected = "1234567890.00000001".parse().unwrap();
            let accounts::AccountsRequest::Transfer { amount, .. } = request else {
                panic!("{request:?}")
            };
            assert_eq!(amount, expected);
        }
    }

    #[test]
    fn balances_are_strings() {
        let moved = Transferred {
            from: "87.50".parse().unwrap(),
            to: "12.50".parse().unwrap(),
        };
        let response = accounts::AccountsResponse::Transfer(Ok(moved));
        assert_eq!(
            json::response::<Accounts>(&response),
            Ok(r#"{"from":"87.50","to":"12.50"}"#.to_owned())
        );
    }
}
