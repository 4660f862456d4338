//! Tests: which connections are accepted, for how long, and which are ended.

use super::*;
use crate::{
    identity::{DomainKey, HolderKey, Patterns, Role, Ticket},
    limits::{Limit, LimitExceeded, LimitOwner},
};
use issuers::TOLERANCE_MS;
use std::sync::LazyLock;
use tokio::time::{Instant, advance};

const LIFE_MS: u64 = 10_000;

const NONCE: Challenge = Challenge::Nonce([1; 32]);

static HOLDER: LazyLock<HolderKey> = LazyLock::new(|| HolderKey::generate().unwrap());

static OF_W1: LazyLock<HolderKey> = LazyLock::new(|| HolderKey::generate().unwrap());

fn claims(name: &str, role: Role, issued_ms: u64) -> Claims {
    Claims {
        identity: Identity {
            name: name.to_owned(),
            role,
            allow: Patterns::any(),
        },
        holder: HOLDER.id(),
        audience: Audience::Domain,
        issued_ms,
        expires_ms: issued_ms + LIFE_MS,
    }
}

fn ticket(key: &DomainKey, name: &str, role: Role, issued_ms: u64) -> Ticket {
    key.sign(&claims(name, role, issued_ms)).unwrap()
}

/// The authenticator of the worker `w1`. It trusts one issuer, whose clock shows 1,000,000 now, independent
/// of the machine's clock.
fn authenticator() -> (Arc<Authenticator>, DomainKey) {
    let authenticator = Arc::new(Authenticator::of_worker("w1", OF_W1.id()));
    let key = DomainKey::generate().unwrap();
    authenticator.trust_issuer(0, key.public(), KeyLife::Kept, clock(1_000_000));
    (authenticator, key)
}

fn clock(unix_ms: u64) -> IssuerClock {
    IssuerClock::Read {
        unix_ms,
        at: Instant::now(),
    }
}

fn w1() -> Addressee {
    worker("w1", &OF_W1)
}

fn worker(name: &str, key: &HolderKey) -> Addressee {
    Addressee::Worker {
        name: name.to_owned(),
        key: key.id(),
    }
}

fn wanted(object: &str) -> HelloTarget<'_> {
    HelloTarget {
        object,
        interface: "Test",
        version: 1,
    }
}

/// Presents a ticket to a host that the client believes to be `addressee`, for an object.
fn show(
    authenticator: &Arc<Authenticator>,
    ticket: &Ticket,
    addressee: Addressee,
    object: &str,
) -> Result<(AuthenticatedPeer, CancellationToken), HelloRefusal> {
    let end = CancellationToken::new();
    let proof = HOLDER.prove(ticket.as_bytes(), &addressee, wanted(object), &NONCE);
    let credential = Credential {
        ticket: ticket.as_bytes().to_vec(),
        addressee,
        proof: Vec::new(),
    };
    let shown = authenticator.check(Some(&credential), wanted(object), Some("127.0.0.1:1"))?;
    let proved = shown.unwrap().prove(&NONCE, &proof)?;
    Ok((authenticator.admit(proved, &end)?, end))
}

fn admit(
    authenticator: &Arc<Authenticator>,
    ticket: &Ticket,
) -> Result<(AuthenticatedPeer, CancellationToken), String> {
    show(authenticator, ticket, w1(), "echo").map_err(|refused| refused.message)
}

#[tokio::test(start_paused = true)]
async fn a_gate_is_closed_until_it_knows_whom_to_trust() {
    let authenticator = Authenticator::of_nameserver();
    let check = || authenticator.check(None, wanted("echo"), None);
    assert_eq!(check().unwrap_err().code, RefusalCode::Busy);
    authenticator.open();
    assert!(check().unwrap().is_none());
    // One name server with authentication is enough, whatever another one reports later.
    let key = DomainKey::generate().unwrap().public();
    authenticator.trust_issuer(1, key, KeyLife::Kept, clock(0));
    authenticator.open();
    assert_eq!(check().unwrap_err().code, RefusalCode::BadCredential);
}

#[tokio::test(start_paused = true)]
async fn tickets_are_read_by_the_clock_of_their_issuer() {
    let (authenticator, key) = authenticator();
    let now = ticket(&key, "ana", Role::User, 1_000_000);
    assert!(admit(&authenticator, &now).is_ok());
    let old = ticket(&key, "ana", Role::User, 1_000_000 - LIFE_MS - TOLERANCE_MS);
    assert_eq!(
        admit(&authenticator, &old).unwrap_err(),
        "the ticket has expired"
    );
    let early = ticket(&key, "ana", Role::User, 1_000_001 + TOLERANCE_MS);
    assert!(
        admit(&authenticator, &early)
            .unwrap_err()
            .contains("not valid yet")
    );
    advance(Duration::from_millis(LIFE_MS + TOLERANCE_MS)).await;
    assert_eq!(
        admit(&authenticator, &now).unwrap_err(),
        "the ticket has expired"
    );
    // A second name server of the same domain whose clock is a minute behind.
    let behind = clock(1_000_000 + LIFE_MS - 60_000);
    authenticator.trust_issuer(1, key.public(), KeyLife::Kept, behind);
    assert!(admit(&authenticator, &early).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stranger_s_ticket_is_of_another_domain() {
    let (authenticator, _) = authenticator();
    let other = DomainKey::generate().unwrap();
    let foreign = ticket(&other, "ana", Role::Admin, 1_000_000);
    assert!(
        admit(&authenticator, &foreign)
            .unwrap_err()
            .contains("another domain")
    );
    authenticator.trust_issuer(1, other.public(), KeyLife::Kept, clock(1_000_000));
    assert!(admit(&authenticator, &foreign).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_one_name_server_replaced_is_worthless_for_good_whichever_others_have_it() {
    let (authenticator, old) = authenticator();
    let of_old = ticket(&old, "ana", Role::User, 1_000_000);
    let (_ana, end) = admit(&authenticator, &of_old).unwrap();
    let tell = |number, key: &DomainKey| {
        authenticator.trust_issuer(number, key.public(), KeyLife::Kept, clock(1_000_000))
    };
    // Another name server has the key too, and stops.
    assert!(tell(1, &old));
    let new = DomainKey::generate().unwrap();
    assert!(tell(0, &new));
    assert!(end.is_cancelled());
    let is_void = || {
        let refused = admit(&authenticator, &of_old).unwrap_err();
        refused.contains("another domain")
    };
    assert!(is_void());
    // It restarts with the old file, and so do a third one and the first one.
    assert!(!tell(1, &old) && !tell(2, &old) && !tell(0, &old));
    assert!(is_void());
    let of_new = ticket(&new, "ana", Role::User, 1_000_000);
    assert!(
        admit(&authenticator, &of_new).is_ok(),
        "the new key is not replaced by the old"
    );
    assert!(tell(1, &new));
    assert!(is_void() && admit(&authenticator, &of_new).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_name_server_takes_the_key_of_its_own_file_also_if_it_had_it_before() {
    let (old, new) = (
        DomainKey::generate().unwrap(),
        DomainKey::generate().unwrap(),
    );
    let authenticator = Authenticator::of_nameserver();
    for key in [&old, &new, &old] {
        assert!(authenticator.trust_issuer(0, key.public(), KeyLife::Kept, IssuerClock::Own));
    }
    let Trust::Holders(issuers) = &**authenticator.trust.load() else {
        panic!("it trusts nobody");
    };
    assert!(issuers.key(&old.public().id()).is_some());
    assert!(issuers.key(&new.public().id()).is_none());
}

#[tokio::test(start_paused = true)]
async fn tickets_outlive_the_restart_of_a_name_server_whose_key_was_in_memory() {
    let authenticator = Arc::new(Authenticator::of_worker("w1", OF_W1.id()));
    let (old, new) = (
        DomainKey::generate().unwrap(),
        DomainKey::generate().unwrap(),
    );
    authenticator.trust_issuer(0, old.public(), KeyLife::OfProcess, clock(1_000_000));
    let of_old = ticket(&old, "ana", Role::User, 1_000_000);
    let (_ana, end) = admit(&authenticator, &of_old).unwrap();
    authenticator.trust_issuer(0, new.public(), KeyLife::OfProcess, clock(1_000_000));
    assert!(!end.is_cancelled());
    assert!(admit(&authenticator, &of_old).is_ok());
    assert!(admit(&authenticator, &ticket(&new, "ana", Role::User, 1_000_000)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_ticket_in_other_hands_than_its_holders_is_refused() {
    let (authenticator, key) = authenticator();
    let stolen = Claims {
        holder: HolderKey::generate().unwrap().id(),
        ..claims("ana", Role::Admin, 1_000_000)
    };
    let stolen = key.sign(&stolen).unwrap();
    let refused = admit(&authenticator, &stolen).unwrap_err();
    assert!(refused.contains("not shown by its holder"), "{refused}");
    // Nor can it extend the connection of another holder with the same name.
    let (ana, _end) = admit(&authenticator, &ticket(&key, "ana", Role::Admin, 1_000_000)).unwrap();
    assert_eq!(ana.renew(stolen.as_bytes()), Renewal::Ignored);
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_is_for_another_host_is_refused() {
    let (authenticator, key) = authenticator();
    let ticket = ticket(&key, "ana", Role::Admin, 1_000_000);
    let at = |address: &str| Addressee::Endpoint(address.to_owned());
    for addressee in [
        Addressee::NameServer,
        worker("w2", &OF_W1),
        worker("w1", &HOLDER),
        at("127.0.0.1:2"),
    ] {
        let refused = show(&authenticator, &ticket, addressee, "echo").unwrap_err();
        assert_eq!(refused.code, RefusalCode::WrongServer, "{refused}");
    }
    assert!(show(&authenticator, &ticket, at("127.0.0.1:1"), "echo").is_ok());

    let nameserver = Arc::new(Authenticator::of_nameserver());
    nameserver.trust_issuer(0, key.public(), KeyLife::Kept, clock(1_000_000));
    assert!(show(&nameserver, &ticket, Addressee::NameServer, "directory").is_ok());
    for addressee in [w1(), at("127.0.0.1:1")] {
        let refused = show(&nameserver, &ticket, addressee, "directory").unwrap_err();
        assert_eq!(refused.code, RefusalCode::WrongServer, "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_for_a_task_is_good_for_its_worker_object_and_method_alone() {
    let (authenticator, key) = authenticator();
    let for_task = |addressee: &Addressee| {
        let claims = Claims {
            audience: Audience::Task {
                addressee: addressee.clone(),
                object: "echo".to_owned(),
                method: "sleep".to_owned(),
            },
            ..claims("ana", Role::User, 1_000_000)
        };
        key.sign(&claims).unwrap()
    };
    let (task, _end) = show(&authenticator, &for_task(&w1()), w1(), "echo").unwrap();
    assert_eq!(task.only_method(), Some("sleep"));
    show(&authenticator, &for_task(&w1()), w1(), "text").unwrap_err();
    // Another process that has the same name now, or had it before.
    let other = worker("w1", &HOLDER);
    show(&authenticator, &for_task(&other), w1(), "echo").unwrap_err();
    show(&authenticator, &for_task(&other), other, "echo").unwrap_err();
    let other = worker("w2", &OF_W1);
    show(&authenticator, &for_task(&other), w1(), "echo").unwrap_err();
    show(&authenticator, &for_task(&other), other, "echo").unwrap_err();
    // Nor does it become valid for all calls.
    let whole = ticket(&key, "ana", Role::User, 1_000_000);
    assert_eq!(task.renew(whole.as_bytes()), Renewal::Ignored);

    let nameserver = Arc::new(Authenticator::of_nameserver());
    nameserver.trust_issuer(0, key.public(), KeyLife::Kept, clock(1_000_000));
    let ticket = for_task(&Addressee::NameServer);
    show(&nameserver, &ticket, Addressee::NameServer, "echo").unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_ticket_unless_it_is_shown_a_fresh_one() {
    let (authenticator, key) = authenticator();
    tokio::spawn(Arc::clone(&authenticator).sweep());
    let first = ticket(&key, "ana", Role::User, 1_000_000);
    let (renewed, renewed_end) = admit(&authenticator, &first).unwrap();
    let (_left, left_end) = admit(&authenticator, &first).unwrap();
    let half = Duration::from_millis(LIFE_MS / 2);
    tokio::time::sleep(half).await;
    let fresh = ticket(&key, "ana", Role::User, 1_000_000 + LIFE_MS / 2);
    assert_eq!(renewed.renew(fresh.as_bytes()), Renewal::Extended);
    tokio::time::sleep(half + Duration::from_millis(TOLERANCE_MS) + SWEEP_EVERY).await;
    assert!(left_end.is_cancelled() && !renewed_end.is_cancelled());
    tokio::time::sleep(half).await;
    assert!(renewed_end.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn only_the_same_bearer_can_renew() {
    let (authenticator, key) = authenticator();
    let (ana, _end) = admit(&authenticator, &ticket(&key, "ana", Role::User, 1_000_000)).unwrap();
    let renew = |ticket: Ticket| ana.renew(ticket.as_bytes());
    let bob = ticket(&key, "bob", Role::User, 1_000_000);
    assert_eq!(renew(bob), Renewal::Ignored);
    let other = DomainKey::generate().unwrap();
    assert_eq!(
        renew(ticket(&other, "ana", Role::User, 1_000_000)),
        Renewal::Ignored
    );
    let promoted = ticket(&key, "ana", Role::Admin, 1_000_000);
    assert_eq!(renew(promoted), Renewal::Changed);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_ends_connections_and_voids_tickets_until_its_time() {
    let (authenticator, key) = authenticator();
    let old = ticket(&key, "ana", Role::User, 999_999);
    let (ana, ana_end) = admit(&authenticator, &old).unwrap();
    let (_bob, bob_end) = admit(&authenticator, &ticket(&key, "bob", Role::User, 999_999)).unwrap();
    authenticator.revoke(&[Revocation {
        name: "ana".to_owned(),
        until_ms: 1_000_000,
    }]);
    assert!(ana_end.is_cancelled() && !bob_end.is_cancelled());
    assert_eq!(
        admit(&authenticator, &old).unwrap_err(),
        "the access of 'ana' was revoked"
    );
    let void = ticket(&key, "ana", Role::User, 1_000_000);
    assert_eq!(ana.renew(void.as_bytes()), Renewal::Ignored);
    assert!(admit(&authenticator, &ticket(&key, "ana", Role::User, 1_000_001)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_remembered_who_has_left() {
    let (authenticator, key) = authenticator();
    let admitted = admit(&authenticator, &ticket(&key, "ana", Role::User, 1_000_000)).unwrap();
    assert_eq!(authenticator.connections().connected.len(), 1);
    drop(admitted);
    assert!(authenticator.connections().connected.is_empty());
}

/// One connection for each user.
#[derive(Debug, Default)]
struct OneEach(Mutex<HashMap<String, std::sync::Weak<()>>>);

impl ConnectionQuota for OneEach {
    fn count(&self, user: &Identity) -> Result<CountedConnection, LimitExceeded> {
        let mut all = self.0.lock().unwrap();
        let is_there = |weak: &std::sync::Weak<()>| weak.strong_count() > 0;
        if all.get(&user.name).is_some_and(is_there) {
            return Err(LimitExceeded {
                limit: Limit::Connections,
                value: 1,
                user: LimitOwner::User(user.name.clone()),
            });
        }
        let counted = Arc::new(());
        all.insert(user.name.clone(), Arc::downgrade(&counted));
        Ok(Box::new(counted))
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_has_so_many_connections_and_those_that_end_are_given_back() {
    let key = DomainKey::generate().unwrap();
    let authenticator = Arc::new(Authenticator::of_nameserver().quota(Arc::<OneEach>::default()));
    authenticator.trust_issuer(0, key.public(), KeyLife::Kept, clock(1_000_000));
    let come = |name| {
        let ticket = ticket(&key, name, Role::User, 1_000_000);
        show(&authenticator, &ticket, Addressee::NameServer, "directory")
    };
    let first = come("ana").unwrap();
    let refused = come("ana").unwrap_err();
    assert_eq!(refused.code, RefusalCode::Limited);
    let expected =
        "refused: the limit 'connections' of user 'ana' is 1 (connections to a name server)";
    assert_eq!(refused.message, expected);
    assert!(come("bob").is_ok(), "others are not concerned");
    drop(first);
    assert!(come("ana").is_ok());
    // A connection that is refused for another reason does not count.
    authenticator.revoke(&[Revocation {
        name: "carl".to_owned(),
        until_ms: 1_000_000,
    }]);
    for _ in 0..2 {
        assert_eq!(come("carl").unwrap_err().code, RefusalCode::BadCredential);
    }
}
