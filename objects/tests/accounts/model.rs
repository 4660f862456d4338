//! Random requests, compared with a model of a few lines.

use crate::place::{Bank, Place, decimal, on_both};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use pyroxene_objects::values::Decimal;
use std::collections::HashMap;

on_both! { random_requests_do_as_the_model_says }

#[derive(Clone, Debug, PartialEq)]
enum Request {
    Open {
        user: usize,
        balance: u32,
    },
    Update {
        user: usize,
        delta: i32,
        id: u8,
    },
    Transfer {
        from: usize,
        to: usize,
        amount: u32,
        id: u8,
    },
}

/// Few users and ids, so that they collide often.
fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        1 => (0..4usize, 0..60u32).prop_map(|(user, balance)| Request::Open { user, balance }),
        2 => (0..4usize, -30..30i32, 0..25u8)
            .prop_map(|(user, delta, id)| Request::Update { user, delta, id }),
        4 => (0..4usize, 1..4usize, 1..30u32, 0..25u8).prop_map(|(from, step, amount, id)| {
            Request::Transfer { from, to: (from + step) % 4, amount, id }
        }),
    ]
}

/// Cents by user, and every applied request by its id, with its answer.
#[derive(Default)]
struct Model {
    balances: HashMap<usize, i64>,
    openings: HashMap<usize, i64>,
    applied: HashMap<u8, (Request, Vec<i64>)>,
}

impl Model {
    /// The balances in the answer, or `None` if the request is refused.
    fn carry_out(&mut self, request: &Request) -> Option<Vec<i64>> {
        let (id, changes) = match *request {
            Request::Open { user, balance } => {
                let opening = *self.openings.entry(user).or_insert(balance.into());
                self.balances.entry(user).or_insert(opening);
                return (opening == i64::from(balance)).then_some(vec![opening]);
            }
            Request::Update { user, delta, id } => (id, vec![(user, i64::from(delta))]),
            Request::Transfer {
                from,
                to,
                amount,
                id,
            } => {
                let amount = i64::from(amount);
                (id, vec![(from, -amount), (to, amount)])
            }
        };
        if let Some((earlier, answer)) = self.applied.get(&id) {
            return (earlier == request).then(|| answer.clone());
        }
        let after = |(user, delta): &(usize, i64)| {
            let balance = self.balances.get(user)? + delta;
            (balance >= 0).then_some(balance)
        };
        let answer: Vec<i64> = changes.iter().map(after).collect::<Option<_>>()?;
        for ((user, _), balance) in changes.iter().zip(&answer) {
            self.balances.insert(*user, *balance);
        }
        self.applied.insert(id, (request.clone(), answer.clone()));
        Some(answer)
    }
}

fn cents(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.abs();
    format!("{sign}{}.{:02}", amount / 100, amount % 100)
}

async fn carry_out(bank: &Bank, case: usize, request: &Request) -> Option<Vec<String>> {
    let user = |number: usize| format!("{case}-{number}");
    let named = |id: u8| format!("{case}-{id}");
    match *request {
        Request::Open { user: who, balance } => {
            let opened = bank.open(&user(who), &cents(balance.into())).await;
            opened.ok().map(|balance| vec![balance])
        }
        Request::Update {
            user: who,
            delta,
            id,
        } => {
            let delta = cents(delta.into());
            let updated = bank.update(&user(who), &delta, &named(id)).await;
            updated.ok().map(|balance| vec![balance])
        }
        Request::Transfer {
            from,
            to,
            amount,
            id,
        } => {
            let (from, to) = (user(from), user(to));
            let amount = cents(amount.into());
            let moved = bank.transfer(&from, &to, &amount, &named(id)).await;
            moved.ok().map(|(from, to)| vec![from, to])
        }
    }
}

async fn random_requests_do_as_the_model_says(place: Place) {
    let banks = [place.open().await, place.open().await];
    let mut runner = TestRunner::default();
    for case in 0..20 {
        let requests = proptest::collection::vec(request(), 1..60);
        let requests = requests.new_tree(&mut runner).unwrap().current();
        let mut model = Model::default();
        for (number, request) in requests.iter().enumerate() {
            let expected = model.carry_out(request);
            let expected = expected.map(|all| all.into_iter().map(cents).collect::<Vec<_>>());
            let answer = carry_out(&banks[number % 2], case, request).await;
            assert_eq!(answer, expected, "number {number} of {requests:?}");
        }
        let mut total = Decimal::ZERO;
        for user in model.balances.keys() {
            let balance = banks[0].query(&format!("{case}-{user}")).await.unwrap();
            assert!(!decimal(&balance).is_negative());
            total = total.checked_add(decimal(&balance)).unwrap();
        }
        let expected: i64 = model.balances.values().sum();
        assert_eq!(total, decimal(&cents(expected)), "{requests:?}");
    }
}
