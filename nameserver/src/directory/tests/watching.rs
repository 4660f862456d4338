//! Cursors and the log of changes.

use super::*;

fn remembering(changes: usize) -> DirectoryFixture {
    DirectoryFixture::with(DirectoryLimits {
        changes,
        ..DirectoryLimits::default()
    })
}

/// Makes `count` changes to an object.
fn churn(world: &mut DirectoryFixture, object: &str, count: u64) {
    for number in 0..count {
        let uri = format!("far:{}", number / 2 + 1);
        if number % 2 == 0 {
            world.directory.register(object, &uri, &[], false).unwrap();
        } else {
            world.directory.remove(object).unwrap();
        }
    }
}

#[test]
fn only_what_is_after_the_cursor_is_told() {
    let mut world = DirectoryFixture::new();
    let nothing = world.cursor();
    world.open(worker("w1", &[shared("calc"), shared("text")]));
    let one = world.cursor();
    world.open(worker("w2", &[shared("calc")]));
    assert_eq!(world.told("calc", nothing), ["+w1", "+w2"]);
    assert_eq!(world.told("calc", one), ["+w2"]);
    assert!(world.told("calc", world.cursor()).is_empty());
    assert_eq!(world.told("text", nothing), ["+w1"]);
    assert!(world.told("nobody", nothing).is_empty());
    assert_eq!(world.cursor().revision, nothing.revision + 3);
    assert_eq!(world.directory.status(world.now).revision, 3);
}

#[test]
fn strange_cursors_are_too_old() {
    let mut world = DirectoryFixture::new();
    world.open(worker("w1", &[shared("calc")]));
    let cursor = world.cursor();
    let other_epoch = Cursor {
        epoch: EPOCH + 1,
        ..cursor
    };
    let future = Cursor {
        revision: cursor.revision + 1,
        ..cursor
    };
    assert_eq!(
        world.changes("calc", other_epoch),
        Err(DirectoryError::TooOld)
    );
    assert_eq!(world.changes("calc", future), Err(DirectoryError::TooOld));
}

#[test]
fn a_cursor_is_too_old_once_a_change_of_its_object_is_forgotten() {
    let mut world = remembering(4);
    let start = world.cursor();
    churn(&mut world, "calc", 4);
    assert_eq!(world.told("calc", start).len(), 4);
    churn(&mut world, "calc", 1);
    assert_eq!(world.changes("calc", start), Err(DirectoryError::TooOld));
    let after_one = Cursor {
        revision: 1,
        ..start
    };
    assert_eq!(world.told("calc", after_one).len(), 4);
}

#[test]
fn a_quiet_object_keeps_its_watchers_through_any_noise() {
    let mut world = remembering(4);
    world.open(worker("w1", &[shared("quiet")]));
    let cursor = world.cursor();
    churn(&mut world, "noisy", 2_500);
    world.pass(2_000);
    assert!(world.told("quiet", cursor).is_empty());
    world.open(worker("w2", &[shared("quiet")]));
    assert_eq!(world.told("quiet", cursor), ["+w2"]);
}

#[test]
fn an_object_that_is_forgotten_altogether_is_not_mistaken_for_quiet() {
    let mut world = remembering(4);
    let session = world.open(worker("w1", &[shared("calc")]));
    let cursor = world.cursor();
    world.directory.close(session).unwrap();
    churn(&mut world, "noisy", 3);
    assert_eq!(world.told("calc", cursor), ["-w1 Closed"]);
    churn(&mut world, "noisy", 1);
    assert_eq!(world.changes("calc", cursor), Err(DirectoryError::TooOld));

    let later = world.cursor();
    world.open(worker("w2", &[shared("calc")]));
    assert_eq!(world.changes("calc", cursor), Err(DirectoryError::TooOld));
    assert_eq!(world.told("calc", later), ["+w2"]);
}

#[test]
fn objects_that_are_gone_take_no_memory_for_long() {
    let mut world = remembering(16);
    for number in 0..1_000 {
        churn(&mut world, &format!("object{number}"), 2);
    }
    assert!(world.directory.objects.starting_with("").count() <= 16);
    assert_eq!(world.directory.objects.members(), 0);
}
