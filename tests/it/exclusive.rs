//! Exclusive names over several name servers: whoever dies, one has the name, and fences grow.

use crate::harness::{
    Broker, Ran, eventually, eventually_within,
    ledger::{LEAD, Ledger},
    postgres::Postgres,
    seconds, turn, within,
};
use pyroxene_client::{ClientConfig, DirectProxy, NameServerClient};
use pyroxene_common::{
    endpoint::Endpoint,
    interfaces::directory::{ObjectEntry, ObjectFilter},
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio_util::task::AbortOnDropHandle;

/// Somebody said under which fence the name is held.
#[derive(Clone)]
struct Seen {
    begun: Instant,
    ended: Instant,
    fence: u64,
    /// Who said so, and of whom.
    said: String,
}

/// Asks all name servers and workers again and again who has the name.
pub(crate) struct Observer {
    seen: Arc<Mutex<Vec<Seen>>>,
    asking: Vec<AbortOnDropHandle<()>>,
}

impl Observer {
    pub(crate) fn new() -> Self {
        Self {
            seen: Arc::default(),
            asking: Vec::new(),
        }
    }

    fn note(seen: &Mutex<Vec<Seen>>, begun: Instant, fence: u64, said: String) {
        let ended = Instant::now();
        seen.lock().unwrap().push(Seen {
            begun,
            ended,
            fence,
            said,
        });
    }

    pub(crate) fn ask_nameserver(&mut self, address: &str) {
        let (seen, address) = (Arc::clone(&self.seen), address.to_owned());
        self.asking
            .push(AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    let begun = Instant::now();
                    if let Ok(Some((worker, fence))) = holder(&address).await {
                        Self::note(&seen, begun, fence, format!("{address}: {worker}"));
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })));
    }

    /// Calls the worker past all name servers: it answers only while it has the name.
    pub(crate) fn ask_worker(&mut self, worker: &str, address: &str) {
        let (seen, worker) = (Arc::clone(&self.seen), worker.to_owned());
        let endpoint: Endpoint = address.parse().unwrap();
        self.asking
            .push(AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    if let Ok(direct) = DirectProxy::<Ledger>::connect(&endpoint, LEAD).await {
                        let client = direct.client();
                        loop {
                            let begun = Instant::now();
                            match client.fence(within(seconds(5))).await {
                                Ok(fence) => {
                                    let said = format!("{worker} itself");
                                    Self::note(&seen, begun, fence.unwrap(), said);
                                }
                                Err(error) if format!("{error:?}").contains("NotHolder") => {}
                                Err(_) => break,
                            }
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })));
    }

    /// Panics if a former holder was seen after a later one. Gives how often somebody was asked, and
    /// how many holders were seen.
    pub(crate) fn finish(self) -> (usize, usize) {
        drop(self.asking);
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.sort_by_key(|seen| seen.begun);
        let mut by_end = seen.clone();
        by_end.sort_by_key(|seen| seen.ended);
        let mut ended = by_end.iter().peekable();
        let mut latest: Option<&Seen> = None;
        for now in &seen {
            while let Some(before) = ended.next_if(|before| before.ended < now.begun) {
                if latest.is_none_or(|latest| latest.fence < before.fence) {
                    latest = Some(before);
                }
            }
            if let Some(latest) = latest {
                assert!(
                    latest.fence <= now.fence,
                    "{} says {} after {} said {}",
                    now.said,
                    now.fence,
                    latest.said,
                    latest.fence
                );
            }
        }
        let mut fences: Vec<u64> = seen.iter().map(|seen| seen.fence).collect();
        fences.sort_unstable();
        fences.dedup();
        (seen.len(), fences.len())
    }
}

/// Who has the name by one name server, and under which fence.
pub(crate) async fn holder(address: &str) -> Result<Option<(String, u64)>, String> {
    let config = ClientConfig::new(address).unwrap();
    let directory = NameServerClient::new(config.endpoints()[0].clone(), &config).directory();
    let filter = ObjectFilter {
        prefix: Some(LEAD.to_owned()),
        ..ObjectFilter::default()
    };
    let listed = directory.list(within(seconds(2)), filter).await;
    let listed = listed.map_err(|error| error.to_string())?;
    let listed = listed.map_err(|error| error.to_string())?;
    let instances = listed
        .into_iter()
        .flat_map(|entry: ObjectEntry| entry.instances);
    let instances: Vec<_> = instances.collect();
    assert!(instances.len() <= 1, "{instances:?}");
    let first = instances.into_iter().next();
    Ok(first.map(|instance| (instance.worker, instance.fence.unwrap())))
}

/// Waits until these name servers agree who has the name, and that it is another than before.
pub(crate) async fn agreed(addresses: &[&str], before: Option<&(String, u64)>) -> (String, u64) {
    eventually("all name servers name the same new holder", || async {
        let mut found = Vec::new();
        for address in addresses {
            found.push(holder(address).await?);
        }
        let first = found[0].clone().filter(|first| Some(first) != before);
        match found.iter().all(|one| *one == found[0]) {
            true => first.ok_or(format!("{found:?}")),
            false => Err(format!("{found:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_one_worker_has_the_name_and_fences_grow() {
    let _turn = turn().await;
    let mut broker = Broker::start().nameservers(2).one_store().await;
    let addresses = [0, 1].map(|index| broker.nameserver(index).address().to_owned());
    let [one, other] = addresses.each_ref().map(String::as_str);
    let mut observer = Observer::new();
    observer.ask_nameserver(one);
    observer.ask_nameserver(other);
    for name in ["l1", "l2"] {
        broker.add_leader(name).await;
        observer.ask_worker(name, broker.worker(name).address());
    }
    let first = agreed(&[one, other], None).await;

    // What people see.
    let looked = ["lookup", LEAD, "--json", "--nameserver", other];
    let looked = Ran::in_dir(broker.dir(), &looked).await.json();
    assert_eq!(looked["instances"][0]["worker"], first.0.as_str());
    assert_eq!(looked["instances"][0]["fence"], first.1);
    let listed = ["list", LEAD, "--json", "--nameserver", one];
    let listed = Ran::in_dir(broker.dir(), &listed).await.json();
    assert_eq!(listed[0]["instances"].as_array().unwrap().len(), 1);

    // Nobody gets it past the store, wherever they try.
    for address in [one, other] {
        for further in [&[][..], &["--exclusive"]] {
            let hijack = ["register", LEAD, "127.0.0.1:1", "--nameserver", address];
            let hijack = [&hijack[..], further].concat();
            let refused = Ran::in_dir(broker.dir(), &hijack).await;
            assert!(refused.error(1).contains("'lead'"), "{refused:?}");
        }
    }
    assert_eq!(agreed(&[one, other], None).await, first);

    // The holder dies.
    let died = Instant::now();
    broker.worker(&first.0).kill().await;
    let second = agreed(&[one, other], Some(&first)).await;
    assert!(second.1 > first.1 && second.0 != first.0);
    assert!(died.elapsed() < seconds(4), "{:?}", died.elapsed());
    broker.add_leader("l3").await;
    observer.ask_worker("l3", broker.worker("l3").address());

    // A name server dies: that changes nothing for whoever it is elsewhere.
    broker.nameserver(0).kill().await;
    let end = Instant::now() + seconds(5);
    while Instant::now() < end {
        assert_eq!(holder(other).await, Ok(Some(second.clone())));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    broker.nameserver(0).restart().await;
    assert_eq!(agreed(&[one, other], None).await, second);

    // Both die.
    for index in [0, 1] {
        broker.nameserver(index).kill().await;
    }
    for index in [0, 1] {
        broker.nameserver(index).restart().await;
    }
    let third = agreed(&[one, other], None).await;
    assert!(third.1 >= second.1);

    // The holder stands still, and goes on later.
    broker.worker(&third.0).freeze();
    let fourth = agreed(&[one, other], Some(&third)).await;
    assert!(fourth.1 > third.1 && fourth.0 != third.0);
    broker.worker(&third.0).thaw();
    // A name server stands still, and the holder dies meanwhile.
    broker.nameserver(0).freeze();
    broker.worker(&fourth.0).kill().await;
    let fifth = agreed(&[other], Some(&fourth)).await;
    broker.nameserver(0).thaw();
    assert_eq!(agreed(&[one, other], Some(&fourth)).await, fifth);

    let (asked, holders) = observer.finish();
    assert!(
        asked > 500 && holders >= 4,
        "{asked} answers, {holders} holders"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_ends_orderly_hands_over_at_once() {
    let mut broker = Broker::start().nameservers(2).one_store().await;
    let addresses = [0, 1].map(|index| broker.nameserver(index).address().to_owned());
    let both = addresses.each_ref().map(String::as_str);
    for name in ["l1", "l2"] {
        broker.add_leader(name).await;
    }
    let first = agreed(&both, None).await;
    broker.worker(&first.0).terminate().await;
    let ended = Instant::now();
    let second = agreed(&both, Some(&first)).await;
    assert!(second.1 > first.1);
    assert!(ended.elapsed() < seconds(2), "{:?}", ended.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_the_holder_keeps_the_name() {
    let _turn = turn().await;
    let mut postgres = Postgres::start().await;
    let url = postgres.database("state").await;
    let mut broker = Broker::start().nameservers(2).store(&url).await;
    let addresses = [0, 1].map(|index| broker.nameserver(index).address().to_owned());
    let both = addresses.each_ref().map(String::as_str);
    for name in ["l1", "l2"] {
        broker.add_leader(name).await;
    }
    let first = agreed(&both, None).await;
    let mut observer = Observer::new();
    for name in ["l1", "l2"] {
        observer.ask_worker(name, broker.worker(name).address());
    }
    postgres.crash().await;
    let client = broker.client().await;
    let lead = client.object::<Ledger>(LEAD).await.unwrap();
    let end = Instant::now() + seconds(8);
    while Instant::now() < end {
        for address in both {
            assert_eq!(holder(address).await, Ok(Some(first.clone())));
        }
        let fence = lead.fence(within(seconds(2))).await.unwrap();
        assert_eq!(fence, Some(first.1));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Nobody gets it from a holder that dies now, until the store is back.
    broker.worker(&first.0).kill().await;
    eventually("the dead one is not named", || async {
        let found = [holder(both[0]).await?, holder(both[1]).await?];
        let gone = found.iter().all(Option::is_none);
        gone.then_some(()).ok_or(format!("{found:?}"))
    })
    .await;
    postgres.recover().await;
    let second = eventually_within(seconds(20), "the other one has the name", || async {
        holder(both[0]).await?.ok_or("nobody has it".to_owned())
    })
    .await;
    assert!(second.1 > first.1 && second.0 != first.0);
    observer.finish();
}
