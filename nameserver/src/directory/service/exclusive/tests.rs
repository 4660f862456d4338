//! Tests of exclusive names that name servers share: several directories and one name store, in virtual time.

use super::*;
use crate::directory::{DirectoryLimits, InstanceDirectory};
use pyroxene_common::{
    interfaces::directory::{
        DirectoryError, Lease as Granted, ObjectRegistration, Registration, SessionId, WatchUpdate,
    },
    message::Load,
};
use std::sync::Mutex;
use tokio::time::{advance, sleep};
use tokio_util::task::AbortOnDropHandle;

/// A name store that all name servers of a test share.
#[derive(Clone, Debug, Default)]
struct FakeNameStore(Arc<Mutex<FakeNameStoreState>>);

#[derive(Debug, Default)]
struct FakeNameStoreState {
    away: bool,
    last: i64,
    /// When each lease ends.
    leases: HashMap<i64, Option<Instant>>,
    /// By name: the holder, its fence, and the name servers that claim it.
    names: HashMap<String, (String, u64, BTreeSet<i64>)>,
}

impl FakeNameStoreState {
    fn lives(&self, lease: i64) -> bool {
        let until = self.leases.get(&lease).copied().flatten();
        until.is_some_and(|until| Instant::now() < until)
    }

    fn claim(&mut self, claim: NameClaim) -> NameClaimOutcome {
        let lease = claim.nameserver;
        if !self.lives(lease) {
            return NameClaimOutcome::LeaseLost;
        }
        let now = Instant::now();
        let leases = &mut self.leases;
        leases.retain(|_, until| until.is_some_and(|until| now < until));
        self.names.retain(|_, (_, _, standing)| {
            standing.retain(|lease| leases.contains_key(lease));
            !standing.is_empty()
        });
        self.last += 1;
        let fence = self.last.unsigned_abs();
        let first = (claim.holder.clone(), fence, BTreeSet::new());
        let (holder, fence, standing) = self.names.entry(claim.name).or_insert(first);
        if *holder != claim.holder {
            let holder = holder.clone();
            return NameClaimOutcome::Taken { holder };
        }
        standing.insert(lease);
        NameClaimOutcome::Granted {
            fence: fence.cast_signed(),
        }
    }
}

impl FakeNameStore {
    /// After an outage, every lease gets a fresh term, as in the real store.
    fn set_away(&self, away: bool) {
        let mut docket = self.0.lock().unwrap();
        docket.away = away;
        let until = Instant::now() + NAME_LEASE_TTL + Duration::from_millis(300);
        docket
            .leases
            .values_mut()
            .for_each(|end| *end = Some(until));
    }

    fn docket(&self) -> Result<std::sync::MutexGuard<'_, FakeNameStoreState>, &'static str> {
        let docket = self.0.lock().unwrap();
        match docket.away {
            true => Err("it is away"),
            false => Ok(docket),
        }
    }
}

impl NameStore for FakeNameStore {
    type Error = &'static str;

    async fn renew_or_begin(
        &mut self,
        lease: Option<i64>,
        ttl: Duration,
    ) -> Result<Option<i64>, &'static str> {
        let mut docket = self.docket()?;
        let until = Instant::now() + ttl;
        let number = lease.unwrap_or_else(|| {
            docket.last += 1;
            let last = docket.last;
            docket.leases.insert(last, None);
            last
        });
        let kept = docket.leases.get_mut(&number);
        Ok(kept.map(|kept| {
            *kept = Some(until);
            number
        }))
    }

    async fn claim(
        &mut self,
        claims: Vec<NameClaim>,
    ) -> Result<Vec<NameClaimOutcome>, &'static str> {
        let mut docket = self.docket()?;
        let claims = claims.into_iter();
        Ok(claims.map(|claim| docket.claim(claim)).collect())
    }

    async fn release(&mut self, lease: i64, names: Vec<String>) -> Result<(), &'static str> {
        let mut docket = self.docket()?;
        for name in names {
            if let Some((_, _, standing)) = docket.names.get_mut(&name) {
                standing.remove(&lease);
            }
        }
        Ok(())
    }

    async fn claimed_names(&mut self, lease: i64) -> Result<Vec<String>, &'static str> {
        let docket = self.docket()?;
        let names = docket.names.iter();
        let own = names.filter(|(_, (_, _, standing))| standing.contains(&lease));
        Ok(own.map(|(name, _)| name.clone()).collect())
    }

    async fn names_released(&mut self) {
        pending().await
    }
}

/// A name server.
struct TestNameServer {
    service: DirectoryService,
    _running: AbortOnDropHandle<()>,
}

impl TestNameServer {
    fn start(court: &FakeNameStore) -> Self {
        let directory = InstanceDirectory::new(DirectoryLimits::default(), 1, 1, Instant::now());
        let mut service = DirectoryService::new(directory);
        service.share_exclusive_names();
        let following = service
            .clone()
            .follow_exclusive_names(court.clone(), pending());
        let expiring = service.clone().run_expiry(pending());
        let running = async { tokio::join!(following, expiring) };
        Self {
            service,
            _running: AbortOnDropHandle::new(tokio::spawn(async move {
                running.await;
            })),
        }
    }

    fn open(&self, worker: &str, ttl_ms: u64) -> SessionId {
        let registration = Registration {
            worker: worker.to_owned(),
            incarnation: 7,
            endpoint: "h:1".to_owned(),
            pid: 1,
            host: "h".to_owned(),
            capacity: 1,
            ttl_ms,
            objects: vec![ObjectRegistration {
                object: "lead".to_owned(),
                interface: "Test".to_owned(),
                version: 1,
                spoken: Vec::new(),
                tags: Vec::new(),
                exclusive: true,
            }],
        };
        let id = SessionId(rand::random());
        let opened = self
            .service
            .change(|directory| directory.open(id, registration, None, Instant::now()));
        assert!(opened.unwrap().fences.is_empty());
        id
    }

    fn renew(&self, session: SessionId) -> Result<Granted, DirectoryError> {
        self.service
            .change(|directory| directory.renew(session, Load::default(), Instant::now()))
    }

    fn close(&self, session: SessionId) {
        self.service
            .change(|directory| directory.close(session).unwrap());
    }

    /// The holder of a name, and its fence.
    fn holder(&self) -> Option<(String, u64)> {
        let watched = self
            .service
            .lock()
            .directory
            .snapshot("lead", Instant::now());
        let WatchUpdate::Snapshot(found) = watched.news else {
            panic!("a snapshot was asked for");
        };
        assert!(found.len() <= 1, "{found:?}");
        let found = found.into_iter().next()?;
        Some((found.worker, found.fence.unwrap()))
    }

    fn holder_name(&self) -> Option<String> {
        self.holder().map(|(holder, _)| holder)
    }
}

/// Lets other tasks run, and some time pass.
async fn pass(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds)).await;
}

const LONG: u64 = 60_000;

#[tokio::test(start_paused = true)]
async fn one_has_the_name_wherever_one_asks() {
    let court = FakeNameStore::default();
    let (one, other) = (TestNameServer::start(&court), TestNameServer::start(&court));
    let first = one.open("a", LONG);
    one.open("b", LONG);
    other.open("b", LONG);
    let second = other.open("a", LONG);
    pass(100).await;
    let holder = one.holder();
    assert!(holder.is_some() && holder == other.holder(), "{holder:?}");
    // A heartbeat reports the name, for no longer than the name server itself is sure of it.
    let (holder, fence) = holder.unwrap();
    let leases = [one.renew(first).unwrap(), other.renew(second).unwrap()];
    for lease in leases {
        let expected: &[u64] = if holder == "a" { &[fence] } else { &[] };
        let fences: Vec<u64> = lease.fences.iter().map(|(_, fence)| *fence).collect();
        assert_eq!(fences, expected);
        assert!(fences.is_empty() || lease.ttl_ms <= 3000);
    }
}

#[tokio::test(start_paused = true)]
async fn the_name_is_free_when_the_last_name_server_has_lost_the_holder() {
    let court = FakeNameStore::default();
    let (one, other) = (TestNameServer::start(&court), TestNameServer::start(&court));
    let first = one.open("a", LONG);
    pass(10).await;
    let second = other.open("a", LONG);
    one.open("b", LONG);
    other.open("b", LONG);
    pass(10).await;
    let before = one.holder().unwrap();
    assert_eq!((&*before.0, other.holder()), ("a", Some(before.clone())));
    one.close(first);
    pass(2000).await;
    // A name server without a session of the holder shows no holder, and no other worker in its place.
    assert_eq!((one.holder(), other.holder()), (None, Some(before.clone())));
    other.close(second);
    assert_eq!(other.holder(), None);
    pass(1000).await;
    let after = one.holder().unwrap();
    assert_eq!((&*after.0, other.holder()), ("b", Some(after.clone())));
    assert!(after.1 > before.1);
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_dies_takes_the_name_from_nobody_who_is_elsewhere() {
    let court = FakeNameStore::default();
    let (one, other) = (TestNameServer::start(&court), TestNameServer::start(&court));
    one.open("a", LONG);
    pass(10).await;
    other.open("b", LONG);
    other.open("a", LONG);
    pass(10).await;
    let holder = other.holder().unwrap();
    drop(one);
    for _ in 0..100 {
        pass(100).await;
        assert_eq!(other.holder().as_ref(), Some(&holder));
    }
    // The name server does not take the name after its restart either.
    let one = TestNameServer::start(&court);
    one.open("b", LONG);
    pass(10).await;
    assert_eq!(one.holder(), None);
    one.open("a", LONG);
    pass(1000).await;
    assert_eq!(one.holder().as_ref(), Some(&holder));
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_name_server_alone_knew_is_free_after_its_lease() {
    let court = FakeNameStore::default();
    let (one, other) = (TestNameServer::start(&court), TestNameServer::start(&court));
    one.open("a", LONG);
    pass(10).await;
    other.open("b", LONG);
    pass(5000).await;
    assert_eq!(other.holder(), None);
    drop(one);
    let died = Instant::now();
    while other.holder().is_none() {
        pass(20).await;
    }
    assert_eq!(other.holder_name().as_deref(), Some("b"));
    let after = died.elapsed();
    assert!(
        after > NAME_LEASE_TTL - RENEW_EVERY && after < NAME_LEASE_TTL + seconds(1),
        "{after:?}"
    );
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn without_the_arbiter_the_holder_keeps_the_name_and_nobody_else_gets_it() {
    let court = FakeNameStore::default();
    let (one, other) = (TestNameServer::start(&court), TestNameServer::start(&court));
    let session = one.open("a", LONG);
    pass(10).await;
    other.open("b", LONG);
    pass(5000).await;
    let holder = one.holder().unwrap();
    court.set_away(true);
    for _ in 0..300 {
        pass(100).await;
        assert_eq!(
            (one.holder().as_ref(), other.holder()),
            (Some(&holder), None)
        );
        let _ = one.renew(session);
    }
    assert_eq!(one.renew(session).unwrap().fences.len(), 1);
    // No name is granted in the first moments after the outage: the other name servers may be about to
    // reconnect.
    court.set_away(false);
    for _ in 0..50 {
        pass(100).await;
        assert_eq!(
            (one.holder().as_ref(), other.holder()),
            (Some(&holder), None)
        );
    }
    // During the outage a holder that leaves has no successor; afterwards it has one.
    court.set_away(true);
    one.close(session);
    one.open("c", LONG);
    pass(10_000).await;
    assert_eq!((one.holder(), other.holder()), (None, None));
    court.set_away(false);
    pass(2000).await;
    let holders = [one.holder_name(), other.holder_name()];
    assert_eq!(holders.iter().flatten().count(), 1, "{holders:?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_stood_still_shows_nothing_that_may_be_anothers() {
    let court = FakeNameStore::default();
    let one = TestNameServer::start(&court);
    one.open("a", LONG);
    pass(10).await;
    assert_eq!(one.holder_name().as_deref(), Some("a"));
    let stopped = TestNameServer::start(&court);
    stopped.open("b", LONG);
    pass(5000).await;
    // The clock jumps, and a call arrives before any other task runs.
    advance(seconds(4)).await;
    assert_eq!(one.holder(), None);
    // No other worker took the name in the meantime, so the holder is the same as before.
    pass(5000).await;
    let holders = [one.holder_name(), stopped.holder_name()];
    assert_eq!(holders.iter().flatten().count(), 1, "{holders:?}");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_drains_hands_over_once_all_have_heard() {
    let court = FakeNameStore::default();
    let (one, other) = (TestNameServer::start(&court), TestNameServer::start(&court));
    let sessions = [one.open("a", LONG), other.open("a", LONG)];
    pass(10).await;
    one.open("b", LONG);
    other.open("b", LONG);
    pass(10).await;
    let before = one.holder().unwrap();
    assert_eq!(before.0, "a");
    for (server, session) in [&one, &other].into_iter().zip(sessions) {
        server
            .service
            .change(|directory| directory.drain(session).unwrap());
        pass(600).await;
        let seen: Vec<_> = [one.holder_name(), other.holder_name()]
            .into_iter()
            .flatten()
            .collect();
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    }
    pass(1000).await;
    let after = one.holder().unwrap();
    assert_eq!((&*after.0, other.holder()), ("b", Some(after.clone())));
    assert!(after.1 > before.1);
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_request_did_is_found() {
    let court = FakeNameStore::default();
    let one = TestNameServer::start(&court);
    one.open("a", LONG);
    pass(10).await;
    // It claims a name that it does not know, and does not claim one that it knows.
    {
        let mut docket = court.0.lock().unwrap();
        let lease = *docket.leases.keys().next().unwrap();
        let ghost = ("ghost 1".to_owned(), 1, BTreeSet::from([lease]));
        docket.names.insert("other".to_owned(), ghost);
        docket.names.get_mut("lead").unwrap().2.clear();
    }
    pass(12_000).await;
    let docket = court.0.lock().unwrap();
    assert!(
        docket
            .names
            .get("other")
            .is_none_or(|name| name.2.is_empty())
    );
    assert_eq!(docket.names["lead"].2.len(), 1);
}
