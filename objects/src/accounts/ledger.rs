//! The effect of requests on accounts, without a database: the rows that they need are read into a [`AccountLedger`],
//! and its changes are written back.

use crate::{
    interfaces::accounts::{AccountsError, Transferred},
    values::Decimal,
};
use std::collections::{BTreeSet, HashMap};

/// A request with valid parameters.
#[derive(Clone, Debug)]
pub(super) enum AccountOperation {
    Open {
        user: String,
        balance: Decimal,
    },
    Query {
        user: String,
    },
    Update {
        user: String,
        delta: Decimal,
        request_id: String,
    },
    Transfer {
        from: String,
        to: String,
        amount: Decimal,
        request_id: String,
    },
}

/// The result of a request.
pub(super) type OperationResult = Result<Balances, AccountsError>;

/// The balance of the requested account and, after a transfer, that of the account that was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Balances {
    pub(super) account: Decimal,
    pub(super) receiver: Option<Decimal>,
}

impl Balances {
    fn of(account: Decimal) -> Self {
        Self {
            account,
            receiver: None,
        }
    }

    /// The balances after a transfer.
    pub(super) fn transferred(self) -> Transferred {
        Transferred {
            from: self.account,
            to: self.receiver.unwrap_or_default(),
        }
    }
}

/// The rows that some operations need from the database.
#[derive(Debug, Default)]
pub(super) struct NeededRows {
    pub(super) accounts: BTreeSet<String>,
    pub(super) requests: BTreeSet<String>,
}

impl NeededRows {
    pub(super) fn by(operations: &[AccountOperation]) -> Self {
        let mut wanted = Self::default();
        for operation in operations {
            match operation {
                AccountOperation::Open { user, .. } | AccountOperation::Query { user } => {
                    wanted.accounts.insert(user.clone());
                }
                AccountOperation::Update {
                    user, request_id, ..
                } => {
                    wanted.accounts.insert(user.clone());
                    wanted.requests.insert(request_id.clone());
                }
                AccountOperation::Transfer {
                    from,
                    to,
                    request_id,
                    ..
                } => {
                    wanted.accounts.extend([from.clone(), to.clone()]);
                    wanted.requests.insert(request_id.clone());
                }
            }
        }
        wanted
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) opening: Decimal,
    pub(super) balance: Decimal,
}

/// A change that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AppliedRequest {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) receiver: Option<String>,
    pub(super) amount: Decimal,
    pub(super) balances: Balances,
}

/// Some accounts and the requests to remember, as they are in the database, with the changes to write.
#[derive(Debug, Default)]
pub(super) struct AccountLedger {
    accounts: HashMap<String, Account>,
    requests: HashMap<String, AppliedRequest>,
    opened: BTreeSet<String>,
    changed: BTreeSet<String>,
    applied: Vec<String>,
}

impl AccountLedger {
    /// The rows of the database.
    pub(super) fn new(
        accounts: impl IntoIterator<Item = Account>,
        requests: impl IntoIterator<Item = AppliedRequest>,
    ) -> Self {
        let accounts = accounts.into_iter();
        let requests = requests.into_iter();
        Self {
            accounts: accounts.map(|one| (one.name.clone(), one)).collect(),
            requests: requests.map(|one| (one.id.clone(), one)).collect(),
            ..Self::default()
        }
    }

    /// Carries out an operation. After an error nothing has changed.
    pub(super) fn carry_out(&mut self, operation: &AccountOperation) -> OperationResult {
        match operation {
            AccountOperation::Open { user, balance } => self.open(user, *balance),
            AccountOperation::Query { user } => Ok(Balances::of(self.account(user)?.balance)),
            AccountOperation::Update {
                user,
                delta,
                request_id,
            } => self.apply_once(request_id, user, None, *delta),
            AccountOperation::Transfer {
                from,
                to,
                amount,
                request_id,
            } => self.apply_once(request_id, from, Some(to), *amount),
        }
    }

    /// The accounts that are not in the database yet.
    pub(super) fn opened(&self) -> impl Iterator<Item = &Account> {
        self.opened
            .iter()
            .filter_map(|name| self.accounts.get(name))
    }

    /// The accounts whose balance differs from the one in the database, in the order of their names.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Account> {
        let changed = self.changed.difference(&self.opened);
        changed.filter_map(|name| self.accounts.get(name))
    }

    /// The requests that are not in the database yet.
    pub(super) fn applied(&self) -> impl Iterator<Item = &AppliedRequest> {
        self.applied.iter().filter_map(|id| self.requests.get(id))
    }

    fn account(&self, user: &str) -> Result<&Account, AccountsError> {
        self.accounts
            .get(user)
            .ok_or_else(|| AccountsError::UnknownUser {
                user: user.to_owned(),
            })
    }

    fn open(&mut self, user: &str, balance: Decimal) -> OperationResult {
        if let Some(known) = self.accounts.get(user) {
            if known.opening == balance {
                return Ok(Balances::of(known.opening));
            }
            return Err(AccountsError::UserExists {
                user: user.to_owned(),
                opening: known.opening,
            });
        }
        let account = Account {
            name: user.to_owned(),
            opening: balance,
            balance,
        };
        self.accounts.insert(user.to_owned(), account);
        self.opened.insert(user.to_owned());
        Ok(Balances::of(balance))
    }

    /// Applies a change unless it was applied already.
    fn apply_once(
        &mut self,
        id: &str,
        account: &str,
        receiver: Option<&String>,
        amount: Decimal,
    ) -> OperationResult {
        if let Some(earlier) = self.requests.get(id) {
            let same = earlier.account == account
                && earlier.receiver.as_ref() == receiver
                && earlier.amount == amount;
            return match same {
                true => Ok(earlier.balances),
                false => Err(AccountsError::RequestIdReused {
                    request_id: id.to_owned(),
                }),
            };
        }
        let balances = match receiver {
            None => Balances::of(self.balance_after(account, amount)?),
            Some(receiver) => Balances {
                account: self.balance_after(account, -amount)?,
                receiver: Some(self.balance_after(receiver, amount)?),
            },
        };
        self.set(account, balances.account);
        if let (Some(receiver), Some(balance)) = (receiver, balances.receiver) {
            self.set(receiver, balance);
        }
        let applied = AppliedRequest {
            id: id.to_owned(),
            account: account.to_owned(),
            receiver: receiver.cloned(),
            amount,
            balances,
        };
        self.requests.insert(id.to_owned(), applied);
        self.applied.push(id.to_owned());
        Ok(balances)
    }

    /// The balance that an account would have after a change.
    fn balance_after(&self, user: &str, delta: Decimal) -> Result<Decimal, AccountsError> {
        let balance = self.account(user)?.balance;
        let after = balance
            .checked_add(delta)
            .ok_or_else(|| AccountsError::TooGreat {
                user: user.to_owned(),
            })?;
        if after.is_negative() {
            return Err(AccountsError::Overdraft {
                user: user.to_owned(),
                balance,
                amount: -delta,
            });
        }
        Ok(after)
    }

    fn set(&mut self, user: &str, balance: Decimal) {
        if let Some(account) = self.accounts.get_mut(user) {
            account.balance = balance;
            self.changed.insert(user.to_owned());
        }
    }
}
