//! Leases: terms, renewal, replacement, lost connections, the brake.

use super::*;
use pyroxene_common::{identity::HolderKey, interfaces::directory::InstanceState};

#[test]
fn a_lease_ends_after_its_term_and_not_before() {
    let mut world = DirectoryFixture::new();
    let start = world.cursor();
    let session = world.open(worker("w1", &[shared("calc")]));
    world.pass(2_999);
    assert_eq!(world.workers_of("calc"), ["w1"]);
    world.pass(11);
    assert!(world.workers_of("calc").is_empty());
    assert_eq!(world.told("calc", start), ["+w1", "-w1 Expired"]);
    assert_eq!(world.renew(session), Err(DirectoryError::UnknownSession));
    assert!(world.directory.workers().is_empty());
}

#[test]
fn renewals_keep_a_lease_alive_and_are_no_news() {
    let mut world = DirectoryFixture::new();
    let session = world.open(worker("w1", &[shared("calc")]));
    world.directory.take_changed();
    let opened = world.cursor();
    for _ in 0..20 {
        world.pass(1_000);
        let load = Load {
            in_flight: 3,
            ..Load::default()
        };
        world.directory.renew(session, load, world.now).unwrap();
    }
    assert_eq!(world.instances("calc")[0].load.in_flight, 3);
    assert_eq!(world.cursor(), opened);
    assert!(world.directory.take_changed().is_empty());
    world.pass(2_999);
    assert_eq!(world.workers_of("calc"), ["w1"]);
    world.pass(11);
    assert!(world.workers_of("calc").is_empty());
}

#[test]
fn terms_are_clamped() {
    for (asked, granted) in [
        (0, 3_000),
        (1, 500),
        (500, 500),
        (7_000, 7_000),
        (u64::MAX, 60_000),
    ] {
        let mut world = DirectoryFixture::new();
        let mut registration = worker("w1", &[shared("calc")]);
        registration.ttl_ms = asked;
        assert_eq!(world.try_open(registration).unwrap().ttl_ms, granted);
        world.pass(granted - 1);
        assert_eq!(world.workers_of("calc").len(), 1, "{asked}");
        world.pass(11);
        assert_eq!(world.workers_of("calc").len(), 0, "{asked}");
    }
}

#[test]
fn a_lost_connection_leaves_one_heartbeat() {
    let mut world = DirectoryFixture::new();
    let session = world.open(worker("w1", &[shared("calc")]));
    world.directory.connection_held(session).unwrap();
    world.lose_connection(session);
    world.pass(999);
    assert_eq!(world.workers_of("calc"), ["w1"]);
    world.pass(11);
    assert!(world.workers_of("calc").is_empty());
}

#[test]
fn a_renewal_after_a_lost_connection_restores_the_term() {
    let mut world = DirectoryFixture::new();
    let session = world.open(worker("w1", &[shared("calc")]));
    world.directory.connection_held(session).unwrap();
    world.lose_connection(session);
    world.pass(900);
    world.renew(session).unwrap();
    world.pass(2_999);
    assert_eq!(world.workers_of("calc"), ["w1"]);
    let other = moved(restarted(&worker("w1", &[shared("calc")])));
    let refused = world.try_open(other).unwrap_err();
    // The other worker learns which of the two started later.
    assert!(
        matches!(
            refused,
            DirectoryError::NameTaken {
                incarnation: Some(1),
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_connection_that_was_followed_by_another_is_not_missed() {
    let mut world = DirectoryFixture::new();
    let session = world.open(worker("w1", &[shared("calc")]));
    world.directory.connection_held(session).unwrap();
    world.directory.connection_held(session).unwrap();
    world.lose_connection(session);
    world.pass(2_999);
    assert_eq!(world.workers_of("calc"), ["w1"]);
}

#[test]
fn the_same_worker_replaces_its_session_without_a_change() {
    let mut world = DirectoryFixture::new();
    let registration = worker("w1", &[shared("calc"), exclusive("lead")]);
    let first = world.try_open(registration.clone()).unwrap();
    let before = world.cursor();
    let second = world.try_open(registration).unwrap();
    assert_eq!(world.cursor(), before);
    assert_eq!(second.fences, first.fences);
    assert_eq!(
        world.renew(first.session),
        Err(DirectoryError::UnknownSession)
    );
    world.lose_connection(first.session);
    world.pass(2_999);
    assert!(world.renew(second.session).is_ok());
    assert_eq!(world.directory.status(world.now).workers, 1);
}

#[test]
fn the_same_worker_changes_what_it_offers() {
    let mut world = DirectoryFixture::new();
    world.open(worker("w1", &[shared("a"), shared("b"), shared("c")]));
    let before = world.cursor();
    world.open(worker(
        "w1",
        &[shared("a"), tagged("b", &["new"]), shared("d")],
    ));
    assert!(world.told("a", before).is_empty());
    assert_eq!(world.told("b", before), ["+w1"]);
    assert_eq!(world.told("c", before), ["-w1 Replaced"]);
    assert_eq!(world.told("d", before), ["+w1"]);
    assert_eq!(world.directory.workers()[0].objects, ["a", "b", "d"]);
}

#[test]
fn a_worker_restarted_at_another_address_takes_over_from_a_suspect_only() {
    let mut world = DirectoryFixture::new();
    let registration = worker("w1", &[shared("calc")]);
    let first = world.open(registration.clone());
    world.directory.connection_held(first).unwrap();
    let second = moved(restarted(&registration));
    let refused = world.try_open(second.clone()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the name 'w1' is taken by the live worker at w1.example:4000"
    );

    world.lose_connection(first);
    let before = world.cursor();
    world.open(second);
    assert_eq!(world.told("calc", before), ["-w1 Replaced", "+w1"]);
    assert_eq!(world.instances("calc")[0].incarnation, 2);
    assert_eq!(world.renew(first), Err(DirectoryError::UnknownSession));
}

#[test]
fn a_worker_restarted_at_its_address_replaces_its_predecessor_at_once() {
    let mut world = DirectoryFixture::new();
    let registration = worker("w1", &[shared("calc")]);
    let first = world.open(registration.clone());
    world.directory.connection_held(first).unwrap();
    let before = world.cursor();
    world.open(restarted(&registration));
    assert_eq!(world.told("calc", before), ["-w1 Replaced", "+w1"]);
    assert_eq!(world.renew(first), Err(DirectoryError::UnknownSession));
}

#[test]
fn another_users_worker_is_not_replaced_at_its_address_either() {
    let mut world = DirectoryFixture::new();
    let registration = worker("w1", &[shared("calc")]);
    let mut open = |id, registration, owner| {
        let id = SessionId([id, 1]);
        world
            .directory
            .open(id, registration, Some(by(owner, None)), world.now)
    };
    open(1, registration.clone(), "ana").unwrap();
    let refused = open(2, restarted(&registration), "bob").unwrap_err();
    assert!(
        matches!(
            refused,
            DirectoryError::NameTaken {
                incarnation: None,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_worker_is_listed_with_its_key_and_another_key_is_another_worker() {
    let mut world = DirectoryFixture::new();
    let keys = [(), ()].map(|()| Some(HolderKey::generate().unwrap().id()));
    let before = world.cursor();
    for (session, key) in [(1, keys[0]), (2, keys[0]), (3, keys[1])] {
        let id = SessionId([session, 1]);
        let registration = worker("w1", &[shared("calc")]);
        let owner = Some(by("ana", key));
        let opened = world.directory.open(id, registration, owner, world.now);
        opened.unwrap();
        assert_eq!(world.instances("calc")[0].key, key);
    }
    assert_eq!(world.told("calc", before), ["+w1", "-w1 Replaced", "+w1"]);
}

#[test]
fn a_worker_that_moved_is_seen_to_move() {
    let mut world = DirectoryFixture::new();
    world.open(worker("w1", &[shared("calc")]));
    let before = world.cursor();
    world.open(moved(worker("w1", &[shared("calc")])));
    assert_eq!(world.told("calc", before), ["-w1 Replaced", "+w1"]);
    assert_eq!(world.instances("calc")[0].endpoint, "elsewhere:1");
}

#[test]
fn draining_is_seen_and_opening_again_ends_it() {
    let mut world = DirectoryFixture::new();
    let session = world.open(worker("w1", &[shared("calc")]));
    let before = world.cursor();
    world.directory.drain(session).unwrap();
    world.directory.drain(session).unwrap();
    assert_eq!(world.told("calc", before), ["+w1"]);
    assert_eq!(world.instances("calc")[0].state, InstanceState::Draining);
    assert_eq!(world.directory.workers()[0].state, InstanceState::Draining);
    world.open(worker("w1", &[shared("calc")]));
    assert_eq!(world.instances("calc")[0].state, InstanceState::Ready);
}

#[test]
fn closing_removes_at_once() {
    let mut world = DirectoryFixture::new();
    let session = world.open(worker("w1", &[shared("a"), shared("b")]));
    let before = world.cursor();
    world.directory.close(session).unwrap();
    assert_eq!(world.told("a", before), ["-w1 Closed"]);
    assert_eq!(world.told("b", before), ["-w1 Closed"]);
    assert_eq!(
        world.directory.close(session),
        Err(DirectoryError::UnknownSession)
    );
}

#[test]
fn a_frozen_name_server_gives_every_lease_a_fresh_term() {
    let mut world = DirectoryFixture::new();
    let sessions: Vec<_> = (0..20)
        .map(|n| world.open(worker(&format!("w{n}"), &[shared("calc")])))
        .collect();
    world.pass(1_000);
    assert_eq!(world.freeze(30_000), 20);
    assert_eq!(world.workers_of("calc").len(), 20);
    world.renew(sessions[0]).unwrap();
    world.pass(2_999);
    assert_eq!(world.workers_of("calc").len(), 20);
    world.pass(11);
    assert_eq!(world.workers_of("calc").len(), 0);
}

#[test]
fn a_short_delay_does_not_keep_the_dead() {
    let mut world = DirectoryFixture::new();
    world.open(worker("w1", &[shared("calc")]));
    let mut brief = worker("w2", &[shared("calc")]);
    brief.ttl_ms = 500;
    world.open(brief);
    world.pass(400);
    // Less than half of the first term, more than half of the second.
    world.freeze(1_400);
    assert_eq!(world.workers_of("calc"), ["w1", "w2"]);
    world.pass(510);
    assert_eq!(world.workers_of("calc"), ["w1"]);
    world.pass(3_010 - 400 - 1_400 - 510);
    assert!(world.workers_of("calc").is_empty());
}

#[test]
fn many_leases_that_end_on_time_end_together() {
    let mut world = DirectoryFixture::new();
    for n in 0..12_000 {
        world.open(worker(&format!("w{n}"), &[shared("calc")]));
    }
    world.pass(2_990);
    assert_eq!(world.directory.status(world.now).workers, 12_000);
    world.pass(20);
    let left = world.directory.status(world.now).workers;
    assert!(left < 12_000 && left > 0, "one run ends a part, not {left}");
    world.pass(30);
    assert_eq!(world.directory.status(world.now).workers, 0);
}

#[test]
fn settling_takes_a_term_and_a_heartbeat() {
    let mut world = DirectoryFixture::new();
    world.pass(3_999);
    assert!(!world.directory.snapshot("calc", world.now).settled);
    world.pass(1);
    assert!(world.directory.snapshot("calc", world.now).settled);
    assert!(world.directory.status(world.now).settled);
    assert_eq!(world.directory.status(world.now).uptime_ms, 4_000);
}
