//! Tests that every database must pass.

use crate::place::{Place, decimal, on_both};
use pyroxene_objects::interfaces::accounts::AccountsError;
use pyroxene_objects::{AccountsDatabase, AccountsDatabaseError, AccountsObject};
use std::collections::HashSet;
use tokio::task::JoinSet;

on_both! {
    money_moves_and_keeps_its_digits
    an_account_is_opened_once
    a_request_is_applied_once
    a_request_id_stands_for_one_request
    a_request_is_remembered_for_thirty_days
    what_is_refused_changes_nothing
    parameters_are_checked
    accounts_outlive_those_who_serve_them
    transfers_of_many_workers_at_once_lose_nothing
    workers_may_make_the_tables_at_the_same_time
    tables_of_a_newer_version_are_refused
}

fn pair(from: &str, to: &str) -> Result<(String, String), AccountsError> {
    Ok((from.to_owned(), to.to_owned()))
}

fn unknown(user: &str) -> AccountsError {
    AccountsError::UnknownUser {
        user: user.to_owned(),
    }
}

fn overdraft(user: &str, balance: &str, amount: &str) -> AccountsError {
    AccountsError::Overdraft {
        user: user.to_owned(),
        balance: decimal(balance),
        amount: decimal(amount),
    }
}

async fn money_moves_and_keeps_its_digits(place: Place) {
    let bank = place.open().await;
    assert_eq!(bank.open("ana", "100").await.unwrap(), "100");
    assert_eq!(bank.open("bob", "0").await.unwrap(), "0");
    let moved = bank.transfer("ana", "bob", "12.50", "r1").await;
    assert_eq!(moved, pair("87.50", "12.50"));
    assert_eq!(bank.query("ana").await.unwrap(), "87.50");
    assert_eq!(bank.query("bob").await.unwrap(), "12.50");
    assert_eq!(bank.update("bob", "0.1", "r2").await.unwrap(), "12.60");
    assert_eq!(bank.update("bob", "-12.6", "r3").await.unwrap(), "0.00");
    let greatest = "99999999999999999999.99999999";
    assert_eq!(bank.open("Çağrı 🦀", greatest).await.unwrap(), greatest);
    assert_eq!(bank.query("Çağrı 🦀").await.unwrap(), greatest);
}

async fn an_account_is_opened_once(place: Place) {
    let bank = place.open().await;
    bank.open("ana", "10").await.unwrap();
    bank.update("ana", "5", "r1").await.unwrap();
    // The answer of the first call may have been lost.
    assert_eq!(bank.open("ana", "10.0").await.unwrap(), "10");
    assert_eq!(bank.query("ana").await.unwrap(), "15");
    let exists = AccountsError::UserExists {
        user: "ana".to_owned(),
        opening: decimal("10"),
    };
    assert_eq!(bank.open("ana", "15").await, Err(exists));
}

async fn a_request_is_applied_once(place: Place) {
    let bank = place.open().await;
    let other = place.open().await;
    bank.open("ana", "10").await.unwrap();
    bank.open("bob", "0").await.unwrap();
    let moved = bank.transfer("ana", "bob", "1", "r1").await;
    let updated = bank.update("ana", "-2", "r2").await;
    bank.update("ana", "100", "r3").await.unwrap();
    for bank in [&bank, &other] {
        assert_eq!(bank.transfer("ana", "bob", "1.0", "r1").await, moved);
        assert_eq!(bank.update("ana", "-2", "r2").await, updated);
    }
    assert_eq!(bank.query("ana").await.unwrap(), "107");
    assert_eq!(bank.query("bob").await.unwrap(), "1");
}

async fn a_request_id_stands_for_one_request(place: Place) {
    let bank = place.open().await;
    for user in ["ana", "bob", "eve"] {
        bank.open(user, "10").await.unwrap();
    }
    bank.transfer("ana", "bob", "1", "r1").await.unwrap();
    let reused = AccountsError::RequestIdReused {
        request_id: "r1".to_owned(),
    };
    for other in [
        bank.transfer("ana", "bob", "2", "r1").await,
        bank.transfer("bob", "ana", "1", "r1").await,
        bank.transfer("ana", "eve", "1", "r1").await,
        bank.transfer("eve", "nobody", "1", "r1").await,
    ] {
        assert_eq!(other, Err(reused.clone()));
    }
    assert_eq!(bank.update("ana", "1", "r1").await, Err(reused));
    assert_eq!(bank.query("ana").await.unwrap(), "9");
}

async fn a_request_is_remembered_for_thirty_days(place: Place) {
    let bank = place.open().await;
    bank.open("ana", "0").await.unwrap();
    for id in ["young", "old"] {
        bank.update("ana", "1", id).await.unwrap();
    }
    let aged = |id: &str, days: u32| match place.url.starts_with("sqlite:") {
        true => format!(
            "UPDATE accounts_requests SET applied_at =
             strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{days} days') WHERE id = '{id}'"
        ),
        false => format!(
            "UPDATE accounts_requests SET applied_at = now() - interval '{days} days'
             WHERE id = '{id}'"
        ),
    };
    place.execute(&aged("young", 29)).await;
    place.execute(&aged("old", 31)).await;
    assert_eq!(bank.update("ana", "1", "another").await.unwrap(), "3");
    // The old request is now a new one.
    assert_eq!(bank.update("ana", "1", "young").await.unwrap(), "1");
    assert_eq!(bank.update("ana", "1", "old").await.unwrap(), "4");
}

async fn what_is_refused_changes_nothing(place: Place) {
    let bank = place.open().await;
    bank.open("ana", "10").await.unwrap();
    bank.open("bob", "99999999999999999999").await.unwrap();
    let refused = overdraft("ana", "10", "10.01");
    let moved = bank.transfer("ana", "bob", "10.01", "r1").await;
    assert_eq!(moved, Err(refused.clone()));
    assert_eq!(bank.update("ana", "-10.01", "r1").await, Err(refused));
    let moved = bank.transfer("ana", "nobody", "1", "r1").await;
    assert_eq!(moved, Err(unknown("nobody")));
    let moved = bank.transfer("nobody", "ana", "1", "r1").await;
    assert_eq!(moved, Err(unknown("nobody")));
    let too_great = AccountsError::TooGreat {
        user: "bob".to_owned(),
    };
    let moved = bank.transfer("ana", "bob", "1", "r1").await;
    assert_eq!(moved, Err(too_great));
    assert_eq!(bank.query("nobody").await, Err(unknown("nobody")));
    let updated = bank.update("nobody", "1", "r1").await;
    assert_eq!(updated, Err(unknown("nobody")));
    assert_eq!(bank.query("ana").await.unwrap(), "10");
    assert_eq!(bank.query("bob").await.unwrap(), "99999999999999999999");
    // None of them has used up the id.
    assert_eq!(bank.update("ana", "-10", "r1").await.unwrap(), "0");
}

async fn parameters_are_checked(place: Place) {
    let bank = place.open().await;
    bank.open("ana", "10").await.unwrap();
    bank.open("bob", "10").await.unwrap();
    let sentence = |error: AccountsError| error.to_string();
    let long = "x".repeat(129);
    let longest = "é".repeat(128);
    assert_eq!(bank.open(&longest, "1").await.unwrap(), "1");
    for (refused, expected) in [
        (
            bank.open("", "1").await.unwrap_err(),
            "user must have 1 to 128 characters",
        ),
        (
            bank.open(&long, "1").await.unwrap_err(),
            "user must have 1 to 128 characters",
        ),
        (
            bank.query("a\0b").await.unwrap_err(),
            "user must have no control characters and no invisible ones",
        ),
        (
            bank.open("eve", "-0.01").await.unwrap_err(),
            "balance must not be less than 0",
        ),
        (
            bank.update("ana", "1", &long).await.unwrap_err(),
            "request_id must have 1 to 128 characters",
        ),
        (
            bank.transfer("ana", "bob", "0.00", "r").await.unwrap_err(),
            "amount must be greater than 0",
        ),
        (
            bank.transfer("ana", "bob", "-1", "r").await.unwrap_err(),
            "amount must be greater than 0",
        ),
        (
            bank.transfer("ana", "ana", "1", "r").await.unwrap_err(),
            "to must be another user than from",
        ),
    ] {
        assert_eq!(sentence(refused), expected);
    }
}

async fn accounts_outlive_those_who_serve_them(place: Place) {
    let bank = place.open().await;
    bank.open("ana", "10").await.unwrap();
    let updated = bank.update("ana", "0.50", "r1").await;
    drop(bank);
    let bank = place.open().await;
    assert_eq!(bank.query("ana").await.unwrap(), "10.50");
    assert_eq!(bank.update("ana", "0.50", "r1").await, updated);
    assert_eq!(bank.query("ana").await.unwrap(), "10.50");
}

/// Every transfer is requested from two workers at the same time. The transfers move money around a ring in
/// both directions, so that workers lock the same accounts in different orders.
async fn transfers_of_many_workers_at_once_lose_nothing(place: Place) {
    const USERS: usize = 5;
    let banks = [place.open().await, place.open().await, place.open().await];
    for user in 0..USERS {
        banks[0].open(&format!("u{user}"), "1000").await.unwrap();
    }
    let mut transfers = JoinSet::new();
    for number in 0..300 {
        let from = number % USERS;
        let step = if number % 2 == 0 { 1 } else { USERS - 1 };
        let (from, to) = (format!("u{from}"), format!("u{}", (from + step) % USERS));
        for worker in [number % 3, (number + 1) % 3] {
            let (bank, from, to) = (banks[worker].clone(), from.clone(), to.clone());
            transfers.spawn(async move {
                let id = format!("r{number}");
                let moved = bank.transfer(&from, &to, "0.01", &id).await;
                (number, moved.unwrap())
            });
        }
    }
    let outcomes = transfers.join_all().await;
    let different: HashSet<_> = outcomes.into_iter().collect();
    assert_eq!(different.len(), 300, "both askers got the same answer");
    // User 0 begins transfers 0, 5, 10, …: as many in each direction, so that all cancel out.
    for user in 0..USERS {
        let balance = banks[1].query(&format!("u{user}")).await.unwrap();
        assert_eq!(balance, "1000.00");
    }
}

async fn workers_may_make_the_tables_at_the_same_time(place: Place) {
    let mut opening = JoinSet::new();
    for _ in 0..6 {
        let url = place.url.clone();
        opening.spawn(async move { crate::place::open(&url).await });
    }
    for bank in opening.join_all().await {
        assert_eq!(bank.open("ana", "1").await.unwrap(), "1");
    }
}

async fn tables_of_a_newer_version_are_refused(place: Place) {
    drop(place.open().await);
    let statement = "INSERT INTO accounts_schema (version) VALUES (7)";
    place.execute(statement).await;
    let database: AccountsDatabase = place.url.parse().unwrap();
    let error = AccountsObject::open(&database).await.unwrap_err();
    assert!(
        matches!(
            error,
            AccountsDatabaseError::TooNew {
                found: 7,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
}
