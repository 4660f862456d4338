//! Exclusive names: one holder, others that wait in order, fences that grow.

use super::*;

fn fence(world: &DirectoryFixture, object: &str) -> u64 {
    world.instances(object)[0].fence.unwrap()
}

#[test]
fn the_first_holds_the_name_and_the_others_wait_in_order() {
    let mut world = DirectoryFixture::new();
    let first = world.try_open(worker("w3", &[exclusive("lead")])).unwrap();
    let second = world.try_open(worker("w2", &[exclusive("lead")])).unwrap();
    let third = world.try_open(worker("w1", &[exclusive("lead")])).unwrap();
    assert_eq!(world.workers_of("lead"), ["w3"]);
    assert_eq!(first.fences, [("lead".to_owned(), fence(&world, "lead"))]);
    assert!(second.fences.is_empty() && third.fences.is_empty());

    let (before, old_fence) = (world.cursor(), fence(&world, "lead"));
    world.directory.close(first.session).unwrap();
    assert_eq!(world.told("lead", before), ["-w3 Closed", "+w2"]);
    let fences = world.renew(second.session).unwrap().fences;
    assert_eq!(fences, [("lead".to_owned(), fence(&world, "lead"))]);
    assert!(fence(&world, "lead") > old_fence);
    assert!(old_fence > FIRST_FENCE);

    world.directory.close(second.session).unwrap();
    assert_eq!(world.workers_of("lead"), ["w1"]);
}

#[test]
fn fences_grow_over_different_objects_and_absences() {
    let mut world = DirectoryFixture::new();
    let mut last = 0;
    for round in 0..5 {
        let name = format!("object{}", round % 2);
        let session = world.open(worker("w1", &[exclusive(&name)]));
        assert!(fence(&world, &name) > last);
        last = fence(&world, &name);
        world.directory.close(session).unwrap();
    }
}

#[test]
fn a_holder_that_expires_or_is_replaced_hands_over() {
    let mut world = DirectoryFixture::new();
    let holder = worker("w1", &[exclusive("lead")]);
    let first = world.open(holder.clone());
    world.open(worker("w2", &[exclusive("lead")]));
    world.directory.connection_held(first).unwrap();
    world.lose_connection(first);
    let again = world.try_open(restarted(&holder)).unwrap();
    assert_eq!(world.workers_of("lead"), ["w2"]);
    assert!(again.fences.is_empty());

    world.pass(2_500);
    world.renew(again.session).unwrap();
    world.pass(600);
    assert_eq!(world.workers_of("lead"), ["w1"]);
    assert_eq!(world.renew(again.session).unwrap().fences.len(), 1);
}

#[test]
fn a_holder_that_drains_hands_over_as_soon_as_somebody_is_there() {
    let mut world = DirectoryFixture::new();
    let first = world.open(worker("w1", &[exclusive("lead")]));
    world.directory.drain(first).unwrap();
    assert_eq!(world.workers_of("lead"), ["w1"]);
    assert_eq!(world.renew(first).unwrap().fences.len(), 1);

    let (before, old_fence) = (world.cursor(), fence(&world, "lead"));
    world.open(worker("w2", &[exclusive("lead")]));
    assert_eq!(world.told("lead", before), ["-w1 Replaced", "+w2"]);
    assert!(fence(&world, "lead") > old_fence);
    assert!(world.renew(first).unwrap().fences.is_empty());

    let third = world.open(worker("w3", &[exclusive("lead")]));
    world.directory.drain(third).unwrap();
    let before = world.cursor();
    world.directory.close(first).unwrap();
    assert!(world.told("lead", before).is_empty());
    assert_eq!(world.workers_of("lead"), ["w2"]);
}

#[test]
fn a_session_that_drains_while_it_waits_never_gets_the_name() {
    let mut world = DirectoryFixture::new();
    let first = world.open(worker("w1", &[exclusive("lead")]));
    let second = world.open(worker("w2", &[exclusive("lead")]));
    world.directory.drain(second).unwrap();
    world.directory.close(first).unwrap();
    assert!(world.workers_of("lead").is_empty());
    assert_eq!(world.directory.status(world.now).objects, 0);
    world.open(worker("w3", &[exclusive("lead")]));
    assert_eq!(world.workers_of("lead"), ["w3"]);
}

#[test]
fn a_name_is_exclusive_for_all_or_for_none() {
    let mut world = DirectoryFixture::new();
    world.open(worker("w1", &[exclusive("lead"), shared("calc")]));
    let refused = world.try_open(worker("w2", &[shared("fine"), shared("lead")]));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the name 'lead' is taken by the worker w1 at w1.example:4000"
    );
    assert!(world.workers_of("fine").is_empty());
    let refused = world.try_open(worker("w2", &[exclusive("calc")]));
    assert!(matches!(refused, Err(DirectoryError::ObjectTaken { .. })));
    assert_eq!(world.directory.status(world.now).workers, 1);

    // The only worker that offers the name may change its mind.
    let lease = world.try_open(worker("w1", &[shared("lead"), exclusive("calc")]));
    assert_eq!(lease.unwrap().fences.len(), 1);
    assert_eq!(fence(&world, "calc"), FIRST_FENCE + 2);
}

#[test]
fn exclusive_static_names_keep_others_out() {
    let mut world = DirectoryFixture::new();
    world.directory.register("lead", "a:1", &[], true).unwrap();
    assert_eq!(fence(&world, "lead"), FIRST_FENCE + 1);
    for (uri, exclusive) in [("b:1", true), ("b:1", false)] {
        let refused = world.directory.register("lead", uri, &[], exclusive);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the name 'lead' is taken by the static name at a:1"
        );
    }
    let refused = world.try_open(worker("w1", &[shared("lead")]));
    assert!(matches!(refused, Err(DirectoryError::ObjectTaken { .. })));
    world.open(worker("w1", &[exclusive("lead")]));
    assert_eq!(world.workers_of("lead"), [""]);
    world.directory.register("lead", "a:1", &[], true).unwrap();
    world
        .directory
        .register("lead", "a:1", &[], false)
        .unwrap_err();
    world.directory.remove("lead").unwrap();
    assert_eq!(world.workers_of("lead"), ["w1"]);
    world
        .directory
        .register("lead", "a:1", &[], true)
        .unwrap_err();
}
