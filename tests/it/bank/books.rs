//! What is in the database in the end, read past everything that serves it.

use super::clients::{Journal, OPENING, Transfer, USERS};
use pyroxene_objects::{interfaces::accounts::Transferred, values::Decimal};
use sqlx::{ConnectOptions, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use std::collections::BTreeMap;

/// Balances by user, and transfers by request id with their answers.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) balances: BTreeMap<String, Decimal>,
    transfers: BTreeMap<String, (Transfer, Transferred)>,
}

const BALANCES: &str = "SELECT name, CAST(balance AS text) FROM accounts";
const TRANSFERS: &str = "SELECT id, account, receiver, CAST(amount AS text),
                         CAST(account_balance AS text), CAST(receiver_balance AS text)
                         FROM accounts_requests";

type TransferRow = (String, String, String, String, String, String);

/// Reads the database at this address.
pub(crate) async fn read(url: &str) -> Books {
    let (balances, transfers): (Vec<(String, String)>, Vec<TransferRow>) =
        if let Some(file) = url.strip_prefix("sqlite:") {
            let options = SqliteConnectOptions::new().filename(file);
            let mut connection = options.connect().await.unwrap();
            let balances = sqlx::query_as(BALANCES).fetch_all(&mut connection).await;
            let transfers = sqlx::query_as(TRANSFERS).fetch_all(&mut connection).await;
            (balances.unwrap(), transfers.unwrap())
        } else {
            let options: PgConnectOptions = url.parse().unwrap();
            let mut connection = options.connect().await.unwrap();
            let path = sqlx::raw_sql("SET search_path TO pyroxene_accounts");
            path.execute(&mut connection).await.unwrap();
            let balances = sqlx::query_as(BALANCES).fetch_all(&mut connection).await;
            let transfers = sqlx::query_as(TRANSFERS).fetch_all(&mut connection).await;
            (balances.unwrap(), transfers.unwrap())
        };
    let decimal = |text: String| -> Decimal { text.parse().unwrap() };
    let balances = balances.into_iter();
    let transfers = transfers.into_iter();
    Books {
        balances: balances
            .map(|(name, balance)| (name, decimal(balance)))
            .collect(),
        transfers: transfers
            .map(|(id, from, to, amount, from_balance, to_balance)| {
                let amount = decimal(amount);
                let answer = Transferred {
                    from: decimal(from_balance),
                    to: decimal(to_balance),
                };
                (id, (Transfer { from, to, amount }, answer))
            })
            .collect(),
    }
}

impl Books {
    /// Panics unless the money is all there, every balance is what the transfers make it, and the
    /// transfers are those that the clients know of.
    pub(crate) fn agree_with(&self, journal: &Journal) {
        let sum = |values: &mut dyn Iterator<Item = Decimal>| {
            values.fold(Decimal::ZERO, |sum, value| sum.checked_add(value).unwrap())
        };
        let total = sum(&mut self.balances.values().copied());
        let expected = OPENING * u32::try_from(USERS).unwrap();
        assert_eq!(total, Decimal::from(expected), "money was lost or made");

        for (user, balance) in &self.balances {
            let moves = self.transfers.values().map(|(transfer, _)| match transfer {
                Transfer { to, amount, .. } if to == user => *amount,
                Transfer { from, amount, .. } if from == user => -*amount,
                _ => Decimal::ZERO,
            });
            let all = sum(&mut moves.chain([Decimal::from(OPENING)]));
            assert_eq!(
                *balance, all,
                "the transfers do not make the balance of {user}"
            );
            assert!(!balance.is_negative());
        }
        for (id, acknowledged) in &journal.acknowledged {
            let applied = self.transfers.get(id);
            assert_eq!(applied, Some(acknowledged), "{id} was acknowledged");
        }
        for id in self.transfers.keys() {
            // One that was refused may have been carried out by an earlier attempt whose caller was
            // gone, after the refusal.
            let known = journal.acknowledged.contains_key(id) || journal.refused.contains(id);
            assert!(known, "nobody knows of {id}");
        }
    }
}
