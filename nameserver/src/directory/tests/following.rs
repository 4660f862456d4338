//! After any sequence of steps, a follower that applies the changes has the same state as a snapshot.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Few names, so that workers compete for them.
const OBJECTS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum DirectoryAction {
    /// A worker opens a session with the objects of a bit mask, some of them exclusive or tagged.
    Open {
        worker: u8,
        incarnation: u64,
        objects: u8,
        exclusive: u8,
        tagged: u8,
        moved: bool,
    },
    Renew(usize),
    Drain(usize),
    Close(usize),
    Hold(usize),
    Lose(usize),
    Register {
        object: usize,
        port: u16,
        exclusive: bool,
    },
    Remove(usize),
    Pass(u64),
    Freeze(u64),
    /// The follower of an object asks for changes.
    Follow(usize),
}

fn step() -> impl Strategy<Value = DirectoryAction> {
    let session = || 0..40_usize;
    let object = || 0..OBJECTS.len();
    prop_oneof![
        6 => (0..4_u8, 0..2_u64, 0..16_u8, 0..16_u8, 0..16_u8, any::<bool>()).prop_map(
            |(worker, incarnation, objects, exclusive, tagged, moved)| DirectoryAction::Open {
                worker, incarnation, objects, exclusive, tagged, moved: moved && incarnation == 1,
            }
        ),
        2 => session().prop_map(DirectoryAction::Renew),
        2 => session().prop_map(DirectoryAction::Drain),
        1 => session().prop_map(DirectoryAction::Close),
        1 => session().prop_map(DirectoryAction::Hold),
        1 => session().prop_map(DirectoryAction::Lose),
        2 => (object(), 1..3_u16, any::<bool>()).prop_map(|(object, port, exclusive)| {
            DirectoryAction::Register { object, port, exclusive }
        }),
        1 => object().prop_map(DirectoryAction::Remove),
        2 => (1..2_000_u64).prop_map(DirectoryAction::Pass),
        1 => (1..4_000_u64).prop_map(DirectoryAction::Freeze),
        4 => object().prop_map(DirectoryAction::Follow),
    ]
}

type Key = (String, u64, String);

/// A client that has a snapshot and keeps it current by changes.
struct Follower {
    cursor: Cursor,
    instances: BTreeMap<Key, Instance>,
}

fn key(instance: &Instance) -> Key {
    (
        instance.worker.clone(),
        instance.incarnation,
        instance.endpoint.clone(),
    )
}

/// The instances without their loads: watchers get no changes of loads.
fn by_key(instances: Vec<Instance>) -> BTreeMap<Key, Instance> {
    let idle = |instance| Instance {
        load: Load::default(),
        ..instance
    };
    let instances = instances.into_iter().map(idle);
    instances
        .map(|instance| (key(&instance), instance))
        .collect()
}

impl Follower {
    fn new(world: &DirectoryFixture, object: &str) -> Self {
        Self {
            cursor: world.cursor(),
            instances: by_key(world.instances(object)),
        }
    }

    /// Applies the changes. Returns how many there were; none if it had to start again.
    fn follow(&mut self, world: &DirectoryFixture, object: &str) -> Option<usize> {
        let Ok(changes) = world.changes(object, self.cursor) else {
            *self = Self::new(world, object);
            return None;
        };
        let count = changes.len();
        for change in changes {
            match change {
                InstanceChange::Put(instance) => self.instances.extend(by_key(vec![instance])),
                InstanceChange::Removed {
                    worker,
                    incarnation,
                    endpoint,
                    ..
                } => {
                    let removed = self.instances.remove(&(worker, incarnation, endpoint));
                    assert!(removed.is_some(), "what is not there cannot go");
                }
            }
        }
        self.cursor = world.cursor();
        assert_eq!(self.instances, by_key(world.instances(object)), "{object}");
        Some(count)
    }
}

/// Takes a step. A step may be refused; then it must change nothing.
fn take(world: &mut DirectoryFixture, sessions: &mut Vec<SessionId>, step: &DirectoryAction) {
    let nth = |number: &usize| sessions.get(number % sessions.len().max(1)).copied();
    let before = world.cursor();
    let mut done = true;
    match step {
        DirectoryAction::Open {
            worker: name,
            incarnation,
            objects,
            exclusive,
            tagged,
            moved,
        } => {
            let has = |mask: &u8, bit: usize| mask & (1 << bit) != 0;
            let offers: Vec<ObjectRegistration> = OBJECTS
                .iter()
                .enumerate()
                .filter(|(bit, _)| has(objects, *bit))
                .map(|(bit, object)| ObjectRegistration {
                    exclusive: has(exclusive, bit) && bit > 1,
                    tags: vec!["tag".to_owned(); usize::from(has(tagged, bit))],
                    ..shared(object)
                })
                .collect();
            let mut registration = worker(&format!("w{name}"), &offers);
            registration.incarnation = *incarnation;
            if *moved {
                registration.endpoint = "moved:1".to_owned();
            }
            let opened = world.try_open(registration);
            done = opened.is_ok();
            sessions.extend(opened.map(|lease| lease.session));
        }
        DirectoryAction::Renew(number) => {
            if let Some(session) = nth(number) {
                let _ = world.renew(session);
                done = false;
            }
        }
        DirectoryAction::Drain(number) => {
            done = nth(number).is_some_and(|session| world.directory.drain(session).is_ok())
        }
        DirectoryAction::Close(number) => {
            done = nth(number).is_some_and(|session| world.directory.close(session).is_ok())
        }
        DirectoryAction::Hold(number) => {
            done = false;
            if let Some(session) = nth(number) {
                let _ = world.directory.connection_held(session);
            }
        }
        DirectoryAction::Lose(number) => {
            done = false;
            if let Some(session) = nth(number) {
                world.lose_connection(session);
            }
        }
        DirectoryAction::Register {
            object,
            port,
            exclusive,
        } => {
            let uri = format!("far:{port}");
            let name = OBJECTS[*object];
            done = world
                .directory
                .register(name, &uri, &[], *exclusive)
                .is_ok();
        }
        DirectoryAction::Remove(object) => done = world.directory.remove(OBJECTS[*object]).is_ok(),
        DirectoryAction::Pass(milliseconds) => world.pass(*milliseconds),
        DirectoryAction::Freeze(milliseconds) => {
            world.freeze(*milliseconds);
        }
        DirectoryAction::Follow(_) => done = false,
    }
    assert!(
        done || world.cursor() == before,
        "{step:?} was refused and yet changed something"
    );
}

/// An exclusive name has one holder, and only the holder has a fence.
fn check_fences(world: &DirectoryFixture) {
    for object in OBJECTS {
        let instances = world.instances(object);
        if instances.iter().any(|instance| instance.fence.is_some()) {
            assert_eq!(instances.len(), 1, "{object}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changes_add_up_to_the_snapshot(
        steps in prop::collection::vec(step(), 1..120),
        remembered in prop_oneof![Just(5_usize), Just(1_000)],
    ) {
        let mut world = DirectoryFixture::with(DirectoryLimits { changes: remembered, ..DirectoryLimits::default() });
        let mut sessions = Vec::new();
        let mut followers = OBJECTS.map(|object| Follower::new(&world, object));
        let mut eager = OBJECTS.map(|object| Follower::new(&world, object));
        for step in &steps {
            let before = world.cursor().revision;
            take(&mut world, &mut sessions, step);
            check_fences(&world);

            // Followers that ask after each step see every change once: revisions have no gaps.
            let mut told = Some(0);
            for (follower, object) in eager.iter_mut().zip(OBJECTS) {
                let count = follower.follow(&world, object);
                told = told.zip(count).map(|(sum, count)| sum + count as u64);
            }
            let made = world.cursor().revision - before;
            prop_assert!(told.is_none_or(|told| told == made), "{told:?} of {made}");
            prop_assert!(told.is_some() || made > remembered as u64);

            if let DirectoryAction::Follow(object) = step {
                followers[*object].follow(&world, OBJECTS[*object]);
            }
        }
        for (follower, object) in followers.iter_mut().zip(OBJECTS) {
            let kept = follower.follow(&world, object);
            prop_assert!(kept.is_some() || remembered < 1_000);
        }
        world.pass(120_000);
        prop_assert_eq!(world.directory.status(world.now).workers, 0);
    }
}
