//! Which room may depend on which: the table of rooms in ARCHITECTURE.md, as the manifests have it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

use std::{fs, path::Path};
use toml::Table;

/// Each room with those that it depends on, apart from its tests.
const ROOMS: [(&str, &[&str]); 7] = [
    ("common", &[]),
    ("store", &[]),
    ("certs", &[]),
    ("client", &["common"]),
    ("worker", &["client", "common"]),
    ("objects", &["client", "common", "store", "worker"]),
    ("nameserver", &["client", "common", "store"]),
];

/// Libraries that only these rooms link themselves, of those that take long to build.
const HEAVY: [(&str, &[&str]); 4] = [
    ("sqlx", &["objects", "store"]),
    ("faer", &["objects"]),
    ("blake3", &["objects"]),
    ("clap", &[]),
];

fn dependencies(room: &str) -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(room)
        .join("Cargo.toml");
    let manifest: Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    dependencies.keys().cloned().collect()
}

#[test]
fn rooms_depend_on_no_others_than_the_table_says() {
    for (room, allowed) in ROOMS {
        let mut found: Vec<String> = dependencies(room)
            .iter()
            .filter_map(|name| name.strip_prefix("pyroxene-").map(str::to_owned))
            .collect();
        found.sort();
        assert_eq!(found, allowed, "{room}");
    }
}

#[test]
fn what_takes_long_to_build_is_linked_where_it_is_needed_alone() {
    for (library, allowed) in HEAVY {
        for (room, _) in ROOMS {
            let links = dependencies(room).iter().any(|name| name == library);
            assert_eq!(links, allowed.contains(&room), "{room}: {library}");
        }
    }
}
