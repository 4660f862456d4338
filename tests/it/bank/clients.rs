//! Clients that move money at random, and repeat a transfer until they know what became of it.

use crate::harness::{Broker, eventually_within, seconds, within};
use pyroxene_client::{Client, Proxy};
use pyroxene_objects::{
    interfaces::accounts::{
        Accounts, AccountsError, Transferred,
        accounts::{AccountsClient, AccountsRequest, AccountsResponse},
    },
    values::Decimal,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

/// How many accounts there are.
pub(crate) const USERS: usize = 8;

/// What each of them holds at the beginning.
pub(crate) const OPENING: u32 = 100;

const CLIENTS: u64 = 16;

/// How many attempts a client makes at a transfer until it gives up, and the pause in between.
const MAX_ATTEMPTS: usize = 1000;
const PAUSE: Duration = Duration::from_millis(25);

/// A transfer that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) amount: Decimal,
}

/// What the clients know in the end.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Acknowledged transfers, by their request ids, with their answers.
    pub(crate) acknowledged: HashMap<String, (Transfer, Transferred)>,
    /// The request ids of those that were refused as overdrafts.
    pub(crate) refused: HashSet<String>,
    /// How many took more than one attempt.
    pub(crate) repeated: usize,
}

/// Clients at work.
pub(crate) struct Clients {
    journal: Arc<Mutex<Journal>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Clients {
    /// Opens the accounts, and starts to move money.
    pub(crate) async fn start(broker: &Broker) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            // As if each were a process of its own: with its own connections and its own view.
            clients.push(broker.client().await);
        }
        Self::with(clients).await
    }

    /// The same, with these clients.
    pub(crate) async fn with(clients: Vec<Client>) -> Self {
        let client = &clients[0];
        let accounts: AccountsClient<Proxy<Accounts>> =
            client.object::<Accounts>("accounts").await.unwrap();
        for user in 0..USERS {
            let opened = accounts.open(within(seconds(5)), name(user), OPENING.into());
            opened.await.unwrap().unwrap();
        }
        let journal = Arc::new(Mutex::new(Journal::default()));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for (number, client) in (0..).zip(clients) {
            let (journal, stop) = (Arc::clone(&journal), stop.clone());
            tasks.spawn(async move {
                let accounts = client.proxy::<Accounts>("accounts").await.unwrap();
                for index in 0.. {
                    if stop.is_cancelled() {
                        return;
                    }
                    let transfer = transfer(CLIENTS * index + number);
                    let id = format!("client-{number}-{index}");
                    carry_out(&accounts, &journal, id, transfer).await;
                }
            });
        }
        Self {
            journal,
            stop,
            tasks,
        }
    }

    /// Waits until so many more transfers have been acknowledged.
    pub(crate) async fn go_on_for(&self, transfers: usize) {
        let before = self.journal.lock().unwrap().acknowledged.len();
        let what = format!("{transfers} more transfers");
        eventually_within(seconds(20), &what, || async {
            let more = self.journal.lock().unwrap().acknowledged.len() - before;
            (more >= transfers).then_some(()).ok_or(format!("{more}"))
        })
        .await;
    }

    /// Lets every client finish the transfer that it is at.
    pub(crate) async fn finish(mut self) -> Journal {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.journal.lock().unwrap())
    }
}

/// Asks for a transfer until it is acknowledged or refused; and sometimes once more, which must
/// make no difference.
async fn carry_out(
    accounts: &Proxy<Accounts>,
    journal: &Mutex<Journal>,
    id: String,
    transfer: Transfer,
) {
    let request = AccountsRequest::Transfer {
        from: transfer.from.clone(),
        to: transfer.to.clone(),
        amount: transfer.amount,
        request_id: id.clone(),
    };
    let (answer, attempts) = until_answered(accounts, &request).await;
    {
        let mut journal = journal.lock().unwrap();
        journal.repeated += usize::from(attempts > 1);
        match answer {
            Some(moved) => {
                journal.acknowledged.insert(id, (transfer, moved));
            }
            None => {
                journal.refused.insert(id);
            }
        }
    }
    if answer.is_some_and(|moved| moved.from < Decimal::from(OPENING / 4)) {
        let (again, _) = until_answered(accounts, &request).await;
        assert_eq!(again, answer, "{request:?}");
    }
}

/// The answer, or nothing for an overdraft; and how many attempts it took.
async fn until_answered(
    accounts: &Proxy<Accounts>,
    request: &AccountsRequest,
) -> (Option<Transferred>, usize) {
    let mut attempts = 0;
    while attempts < MAX_ATTEMPTS {
        match accounts.call_traced(within(seconds(5)), request).await {
            Ok(answered) => {
                attempts += answered.attempts;
                match answered.response {
                    AccountsResponse::Transfer(Ok(moved)) => return (Some(moved), attempts),
                    AccountsResponse::Transfer(Err(AccountsError::Overdraft { .. })) => {
                        return (None, attempts);
                    }
                    // The database is away, or its disk is bad: it will pass.
                    AccountsResponse::Transfer(Err(_)) => {}
                    other => panic!("{request:?} is answered {other:?}"),
                }
            }
            Err(error) => attempts += error.attempts().len().max(1),
        }
        sleep(PAUSE).await;
    }
    panic!("{request:?} was not answered in {attempts} attempts");
}

fn name(user: usize) -> String {
    format!("user-{user}")
}

/// A transfer that is as good as random, and always the same.
fn transfer(seed: u64) -> Transfer {
    // SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut random = |bound: usize| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    };
    let from = random(USERS);
    let to = (from + 1 + random(USERS - 1)) % USERS;
    let amount = format!("{}.{:02}", random(40), 1 + random(99));
    Transfer {
        from: name(from),
        to: name(to),
        amount: amount.parse().unwrap(),
    }
}
