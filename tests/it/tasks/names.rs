//! What name servers over one store have in common beyond tasks: static names.

use crate::harness::{Broker, eventually, postgres::Postgres, turn};
use std::collections::BTreeSet;

/// The static names that one name server lists.
async fn listed(broker: &Broker, address: &str) -> BTreeSet<String> {
    let arguments = ["list", "--json", "--nameserver", address];
    let ran = crate::harness::Ran::in_dir(broker.dir(), &arguments).await;
    let objects = ran.json();
    let objects = objects.as_array().unwrap().iter();
    objects
        .map(|object| object["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn lists(broker: &Broker, address: &str, names: &[&str]) {
    let expected: BTreeSet<String> = names.iter().map(|&name| name.to_owned()).collect();
    eventually(&format!("{address} lists {names:?}"), || async {
        let listed = listed(broker, address).await;
        (listed == expected)
            .then_some(())
            .ok_or(format!("{listed:?}"))
    })
    .await;
}

async fn change(broker: &Broker, address: &str, arguments: &[&str]) -> crate::harness::Ran {
    let all = [arguments, &["--nameserver", address]].concat();
    crate::harness::Ran::in_dir(broker.dir(), &all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn static_names_are_the_same_at_every_name_server_and_outlive_them() {
    let mut broker = Broker::start().nameservers(2).one_store().await;
    let addresses = [0, 1].map(|index| broker.nameserver(index).address().to_owned());
    let [one, other] = addresses.each_ref().map(String::as_str);
    change(&broker, one, &["register", "a", "127.0.0.1:1"])
        .await
        .out();
    change(
        &broker,
        other,
        &["register", "b", "127.0.0.1:2", "--exclusive"],
    )
    .await
    .out();
    for address in [one, other] {
        lists(&broker, address, &["a", "b"]).await;
    }
    // One has it alone, whoever is asked.
    let taken = change(&broker, one, &["register", "b", "127.0.0.1:3"]).await;
    assert!(taken.error(1).contains("taken"), "{taken:?}");
    change(&broker, other, &["remove", "a"]).await.out();
    lists(&broker, one, &["b"]).await;
    for index in [0, 1] {
        broker.nameserver(index).kill().await;
    }
    broker.nameserver(0).restart().await;
    assert_eq!(listed(&broker, one).await, ["b".to_owned()].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_names_are_found_and_none_is_registered() {
    let _turn = turn().await;
    let mut postgres = Postgres::start().await;
    let url = postgres.database("state").await;
    let mut broker = Broker::start().store(&url).await;
    let address = broker.nameserver(0).address().to_owned();
    change(&broker, &address, &["register", "a", "127.0.0.1:1"])
        .await
        .out();
    postgres.crash().await;
    assert_eq!(listed(&broker, &address).await, ["a".to_owned()].into());
    let refused = change(&broker, &address, &["register", "b", "127.0.0.1:1"]).await;
    let sentence = refused.error(3);
    assert!(sentence.contains("cannot be kept now"), "{sentence}");
}
