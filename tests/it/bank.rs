//! A bank: many clients move money between accounts while everything that serves them is killed.
//! Afterwards no money is lost or made, and every transfer that was acknowledged is there once.

pub(crate) mod books;
pub(crate) mod clients;

use crate::harness::{Broker, postgres::Postgres, turn};
use clients::{Clients, USERS};

/// Starts a worker that serves the accounts in a database.
async fn add_teller(broker: &mut Broker, name: &str, database: &str) {
    let flags = ["--objects", "accounts", "--accounts-db", database];
    broker.add_worker(name, &flags).await;
}

/// A broker with two name servers and three workers over one database.
async fn bank(database: impl FnOnce(&Broker) -> String) -> (Broker, String) {
    let mut broker = Broker::start().nameservers(2).await;
    let database = database(&broker);
    for name in ["t1", "t2", "t3"] {
        add_teller(&mut broker, name, &database).await;
    }
    (broker, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_file_no_money_is_lost_or_made_while_workers_and_name_servers_are_killed() {
    let _turn = turn().await;
    let in_a_file =
        |broker: &Broker| format!("sqlite:{}", broker.dir().join("accounts.db").display());
    let (mut broker, database) = bank(in_a_file).await;
    let clients = Clients::start(&broker).await;

    clients.go_on_for(100).await;
    broker.worker("t1").kill().await;
    clients.go_on_for(100).await;
    add_teller(&mut broker, "t4", &database).await;
    broker.nameserver(0).kill().await;
    clients.go_on_for(100).await;
    broker.worker("t2").kill().await;
    broker.worker("t3").kill().await;
    clients.go_on_for(50).await;
    broker.nameserver(0).restart().await;
    add_teller(&mut broker, "t5", &database).await;
    clients.go_on_for(100).await;
    broker.worker("t4").kill().await;
    clients.go_on_for(100).await;

    let journal = clients.finish().await;
    assert!(journal.repeated > 0, "the kills hit no transfer");
    let books = books::read(&database).await;
    books.agree_with(&journal);
    assert_eq!(books.balances.len(), USERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_server_no_money_is_lost_or_made_while_it_and_its_connections_are_killed_too() {
    let _turn = turn().await;
    let mut server = Postgres::start().await;
    server.database("bank").await;
    let (mut broker, database) = bank(|_| server.url("bank")).await;
    let clients = Clients::start(&broker).await;

    // Often, so that some of them meet a commit.
    for _ in 0..25 {
        clients.go_on_for(10).await;
        server.end_connections().await;
    }
    broker.worker("t1").kill().await;
    clients.go_on_for(50).await;
    server.crash().await;
    server.recover().await;
    clients.go_on_for(50).await;
    broker.nameserver(1).kill().await;
    server.end_connections().await;
    broker.worker("t2").kill().await;
    clients.go_on_for(50).await;
    broker.nameserver(1).restart().await;
    add_teller(&mut broker, "t4", &database).await;
    server.crash().await;
    server.recover().await;
    clients.go_on_for(50).await;

    let journal = clients.finish().await;
    let books = books::read(&database).await;
    books.agree_with(&journal);
    assert_eq!(books.balances.len(), USERS);
}
