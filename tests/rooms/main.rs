//! Which room may depend on which: the table of rooms in ARCHITECTURE.md, as the manifests have it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

mod imports;

use imports::{Module, circles, read};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use toml::Table;

/// Each room with those that it depends on, apart from its tests.
const ROOMS: [(&str, &[&str]); 8] = [
    ("common", &[]),
    ("store", &[]),
    ("certs", &[]),
    ("pyro", &["common"]),
    ("client", &["common", "pyro"]),
    ("worker", &["client", "common", "pyro"]),
    ("objects", &["client", "common", "store", "worker"]),
    ("nameserver", &["client", "common", "pyro", "store"]),
];

/// Libraries that only these rooms link themselves, of those that take long to build.
const HEAVY: [(&str, &[&str]); 4] = [
    ("sqlx", &["objects", "store"]),
    ("faer", &["objects"]),
    ("blake3", &["objects"]),
    ("clap", &[]),
];

/// Circles of files that import each other, of each crate, which are still to be opened. No other may
/// appear; one that is opened leaves the list.
const CIRCLES: [(&str, &[&str]); 8] = [
    (
        "common",
        &[
            "channel/answers channel/server channel/server_calls channel/server_progress channel/server_start channel/translation",
            "channel/calls channel/client channel/client_call channel/client_pump",
        ],
    ),
    (
        "client",
        &[
            "balance config connect delegates instance nameserver tickets",
            "client proxy",
            "nameserver/login nameserver/service",
        ],
    ),
    (
        "worker",
        &["admission advertise builder registrations session ticket_trust worker"],
    ),
    (
        "objects",
        &["accounts/database accounts/postgres accounts/sqlite"],
    ),
    (
        "store",
        &["backend batch waiters writer", "tasks/usage transaction"],
    ),
    (
        "nameserver",
        &["tasks/attempt tasks/fair_queue tasks/queue"],
    ),
    ("certs", &[]),
    (
        "cli",
        &[
            "cli security",
            "commands/shell/session commands/shell/submitting",
            "failure output",
        ],
    ),
];

fn room(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn dependencies(room_name: &str) -> Vec<String> {
    let manifest = room(room_name).join("Cargo.toml");
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

#[test]
fn no_files_import_each_other_in_a_circle_but_those_that_are_listed() {
    for (name, listed) in CIRCLES {
        let found: BTreeSet<String> = circles(&read(&room(name).join("src")))
            .iter()
            .map(|circle| circle.iter().map(path).collect::<Vec<_>>().join(" "))
            .collect();
        let listed: BTreeSet<String> = listed.iter().map(ToString::to_string).collect();
        assert_eq!(found, listed, "{name}");
    }
}

fn path(module: &Module) -> String {
    module.join("/")
}
