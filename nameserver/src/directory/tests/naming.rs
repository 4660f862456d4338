//! Static names, lists, limits.

use super::*;
use crate::directory::{MAX_PATTERN, Selection};
use pyroxene_common::interfaces::directory::{ObjectEntry, ObjectFilter};

fn list(world: &DirectoryFixture, filter: ObjectFilter) -> Vec<ObjectEntry> {
    let selection = Selection::new(filter).unwrap();
    world.directory.list(&selection).unwrap().into_entries()
}

fn names(world: &DirectoryFixture, filter: ObjectFilter) -> Vec<String> {
    let entries = list(world, filter).into_iter();
    entries.map(|entry| entry.name).collect()
}

fn by_pattern(pattern: &str) -> ObjectFilter {
    ObjectFilter {
        pattern: Some(pattern.to_owned()),
        ..ObjectFilter::default()
    }
}

fn by_tags(tags: &[&str]) -> ObjectFilter {
    ObjectFilter {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..ObjectFilter::default()
    }
}

#[test]
fn a_static_name_points_elsewhere() {
    let mut world = DirectoryFixture::new();
    let before = world.cursor();
    let directory = &mut world.directory;
    directory
        .register("sums", "calc@far:1", &[], false)
        .unwrap();
    directory
        .register("sums", "pyroxene://far:1/calc", &[], false)
        .unwrap();
    assert_eq!(world.told("sums", before), ["+"]);
    let instance = &world.instances("sums")[0];
    assert_eq!(
        (instance.endpoint.as_str(), instance.target.as_str()),
        ("far:1", "calc")
    );
    assert_eq!(instance.fence, None);

    let before = world.cursor();
    let tags = ["new".to_owned()];
    world
        .directory
        .register("sums", "calc@far:1", &tags, false)
        .unwrap();
    assert_eq!(world.told("sums", before), ["+"]);
    assert_eq!(world.instances("sums")[0].tags, tags);

    let before = world.cursor();
    world
        .directory
        .register("sums", "calc@farther:1", &tags, false)
        .unwrap();
    assert_eq!(world.told("sums", before), ["- Replaced", "+"]);

    world.pass(100_000);
    let before = world.cursor();
    world.directory.remove("sums").unwrap();
    assert_eq!(world.told("sums", before), ["- Closed"]);
    let gone = world.directory.remove("sums").unwrap_err();
    assert_eq!(gone.to_string(), "there is no static name 'sums'");
}

#[test]
fn a_static_name_stands_beside_workers_unless_exclusive() {
    let mut world = DirectoryFixture::new();
    world.open(worker("w1", &[shared("calc"), exclusive("lead")]));
    world
        .directory
        .register("calc", "far:1", &[], false)
        .unwrap();
    assert_eq!(world.workers_of("calc"), ["", "w1"]);
    assert!(
        world
            .directory
            .register("calc", "far:1", &[], true)
            .is_err()
    );
    for exclusive in [false, true] {
        let refused = world.directory.register("lead", "far:1", &[], exclusive);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the name 'lead' is taken by the worker w1 at w1.example:4000"
        );
    }
    let refused = world.directory.remove("lead");
    assert!(matches!(refused, Err(DirectoryError::UnknownName { .. })));
}

#[test]
fn an_exclusive_static_name_can_be_given_up() {
    let mut world = DirectoryFixture::new();
    world
        .directory
        .register("calc", "far:1", &[], true)
        .unwrap();
    world
        .directory
        .register("calc", "far:1", &[], false)
        .unwrap();
    assert_eq!(world.instances("calc")[0].fence, None);
    world.open(worker("w1", &[shared("calc")]));
    assert_eq!(world.workers_of("calc"), ["", "w1"]);
}

#[test]
fn lists_go_by_prefix_pattern_and_tags() {
    let mut world = DirectoryFixture::new();
    world.open(worker(
        "w2",
        &[tagged("a.one", &["gpu", "big"]), shared("a.two")],
    ));
    world.open(worker("w1", &[tagged("a.one", &["gpu"]), shared("b")]));
    world
        .directory
        .register("a.three", "x@far:1", &[], false)
        .unwrap();
    let closed = world.open(worker("w3", &[shared("a.gone")]));
    world.directory.close(closed).unwrap();

    let everything = ["a.one", "a.three", "a.two", "b"];
    assert_eq!(names(&world, ObjectFilter::default()), everything);
    let prefix = ObjectFilter {
        prefix: Some("a.t".to_owned()),
        ..ObjectFilter::default()
    };
    assert_eq!(names(&world, prefix), ["a.three", "a.two"]);
    assert_eq!(
        names(&world, by_pattern("t(wo|hree)$|^b")),
        ["a.three", "a.two", "b"]
    );

    let tagged = list(&world, by_tags(&["gpu"]));
    assert_eq!(tagged.len(), 1);
    assert_eq!(tagged[0].instances[0].worker, "w1");
    assert_eq!(tagged[0].instances[1].worker, "w2");
    assert_eq!(tagged[0].interface, "Example.Thing");
    let both = list(&world, by_tags(&["big", "gpu"]));
    assert_eq!(both[0].instances.len(), 1);

    let status = world.directory.status(world.now);
    assert_eq!(
        (status.objects, status.instances, status.workers),
        (4, 5, 2)
    );
}

#[test]
fn a_bad_pattern_is_refused_in_one_line() {
    let refuse = |pattern: &str| Selection::new(by_pattern(pattern)).unwrap_err().to_string();
    assert_eq!(
        refuse("a(b"),
        "the pattern is not a regular expression: unclosed group"
    );
    assert!(refuse(&"x".repeat(MAX_PATTERN + 1)).contains("longer than"));
    assert!(refuse("((a{100}){100}){100}").contains("size limit"));
    assert!(!refuse("((a{100}){100}){100}").contains('\n'));
}

#[test]
fn a_registration_without_sense_is_refused() {
    let change = |change: fn(&mut Registration)| {
        let mut registration = worker("w1", &[shared("calc")]);
        change(&mut registration);
        let refused = DirectoryFixture::new().try_open(registration).unwrap_err();
        assert!(
            matches!(refused, DirectoryError::Invalid { .. }),
            "{refused}"
        );
        refused.to_string()
    };
    assert_eq!(
        change(|r| r.worker.clear()),
        "the name of a worker is empty"
    );
    change(|r| r.worker = "two words".to_owned());
    change(|r| r.host = "line\nbreak".to_owned());
    change(|r| r.endpoint = "nowhere".to_owned());
    change(|r| r.endpoint = "0.0.0.0:4000".to_owned());
    change(|r| r.objects[0].object = "x".repeat(256));
    change(|r| r.objects[0].interface.clear());
    change(|r| r.objects[0].tags.push("\u{1b}[31m".to_owned()));
    assert_eq!(
        change(|r| r.objects.push(shared("calc"))),
        "the object 'calc' is offered twice"
    );
}

#[test]
fn what_is_held_is_bounded() {
    let mut world = DirectoryFixture::with(DirectoryLimits {
        sessions: 2,
        objects_per_session: 3,
        instances: 4,
        tags_per_object: 1,
        static_names: 1,
        ..DirectoryLimits::default()
    });
    let full = |result: Result<Lease, DirectoryError>| {
        assert!(
            matches!(result, Err(DirectoryError::Full { .. })),
            "{result:?}"
        );
    };
    let objects = [shared("a"), shared("b"), shared("c"), shared("d")];
    full(world.try_open(worker("w1", &objects)));
    full(world.try_open(worker("w1", &[tagged("a", &["x", "y"])])));
    world.open(worker("w1", &objects[..3]));
    full(world.try_open(worker("w2", &objects[..2])));
    world.open(worker("w2", &objects[..1]));
    full(world.try_open(worker("w3", &[])));
    // A worker that has a session may open it again.
    world.open(worker("w1", &objects[1..]));

    world.directory.register("s", "far:1", &[], false).unwrap();
    world.directory.register("s", "far:2", &[], false).unwrap();
    let refused = world.directory.register("t", "far:1", &[], false);
    assert!(matches!(refused, Err(DirectoryError::Full { .. })));
    world.directory.remove("s").unwrap();
    world.directory.register("t", "far:1", &[], false).unwrap();
}
