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
const ROOMS: [(&str, &[&str]); 9] = [
    ("common", &[]),
    ("store", &[]),
    ("certs", &["common"]),
    ("pyro", &["common"]),
    ("client", &["common", "pyro"]),
    ("worker", &["client", "common", "pyro"]),
    ("objects", &["client", "common", "store", "worker"]),
    ("nameserver", &["client", "common", "pyro", "store"]),
    ("gateway", &["client", "common"]),
];

/// Libraries that only these rooms link themselves, of those that take long to build.
const HEAVY: [(&str, &[&str]); 5] = [
    ("sqlx", &["objects", "store"]),
    ("ndarray", &["objects"]),
    ("blake3", &["objects"]),
    ("axum", &["gateway"]),
    ("clap", &[]),
];

/// The layers of the crate `common`, from the lowest to the highest. A module imports only modules that stand
/// before it, in its own layer or in a lower one.
const LAYERS: [(&str, &[&str]); 8] = [
    (
        "tools",
        &[
            "byte_budget",
            "clean",
            "dedicated",
            "endpoint",
            "offload",
            "private_file",
            "reload",
            "signal",
            "spans",
            "stable_hash",
            "steady_clock",
        ],
    ),
    (
        "wire",
        &[
            "codec",
            "values",
            "wire",
            "envelope",
            "frame",
            "message",
            "metadata",
            "transport",
        ],
    ),
    ("identity", &["identity", "limits"]),
    ("connection", &["net", "tls", "hello"]),
    ("channel", &["scope", "interceptor", "local", "channel"]),
    ("interface", &["interface", "interfaces", "json", "roster"]),
    ("access", &["access"]),
    ("host", &["host"]),
];

/// Circles of files that import each other, of each crate, which are still to be opened. No other may
/// appear; one that is opened leaves the list.
const CIRCLES: [(&str, &[&str]); 10] = [
    ("common", &[]),
    ("pyro", &[]),
    ("client", &[]),
    ("worker", &[]),
    ("objects", &[]),
    ("store", &[]),
    ("nameserver", &[]),
    ("gateway", &[]),
    ("certs", &[]),
    ("cli", &[]),
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

#[test]
fn no_module_of_common_imports_one_of_a_higher_layer() {
    let order: Vec<&str> = LAYERS
        .iter()
        .flat_map(|(_, modules)| *modules)
        .copied()
        .collect();
    let position = |module: &Module| {
        let top = module.first().unwrap();
        let at = order.iter().position(|listed| listed == top);
        at.unwrap_or_else(|| panic!("common/src/{top} is in no layer"))
    };
    let imports = read(&room("common").join("src"));
    let mut seen = BTreeSet::new();
    for (module, imported) in imports.iter().filter(|(module, _)| !module.is_empty()) {
        seen.insert(position(module));
        for other in imported {
            assert!(
                position(other) <= position(module),
                "{} imports {}, which stands after it in LAYERS",
                path(module),
                path(other)
            );
        }
    }
    assert_eq!(seen.len(), order.len(), "a module that is listed is gone");
}

fn path(module: &Module) -> String {
    module.join("/")
}
