//! Each row of the table in `docs/pyro.md` has a test.

use std::{fs, path::Path};

const TRAPS: &str = "tests/it/pyro.rs::what_surprises_with_pyro_is_as_the_documentation_says";

/// How a row begins, and its tests: the file and the function.
const ROWS: &[(&str, &[&str])] = &[
    (
        "a method that raises one of Pyro's errors of communication has no answer",
        &["tests/it/pyro.rs::three_programs_in_python_are_one_object_and_one_may_die"],
    ),
    (
        "a result that cannot be serialized ends the connection (JSON, MessagePack)",
        &["pyro/src/server/tests.rs::a_result_without_a_form_is_an_error_and_the_connection_stays"],
    ),
    (
        "a single instance that is empty is made anew for every call",
        &["pyro/src/hosted/tests.rs::an_object_is_one_value_for_all_calls"],
    ),
    (
        "an object's `instance_mode` is `session`, `single` or `percall`",
        &[
            TRAPS,
            "pyro/src/hosted/tests.rs::an_object_is_one_value_for_all_calls",
        ],
    ),
    (
        "a stream loses an item after a timeout",
        &["tests/it/pyro/streams.rs::python_takes_the_items_of_workers_one_by_one"],
    ),
    ("a timed-out call runs again with `MAX_RETRIES`", &[TRAPS]),
    (
        "a call after a oneway call takes 44 ms",
        &["tests/it/pyro.rs::python_calls_what_workers_host_in_every_serializer"],
    ),
    (
        "`x in proxy`, `len(proxy)`, `list(proxy)`, iteration use remote dunder methods",
        &[TRAPS],
    ),
    ("`x in proxy` never asks `__contains__`", &[TRAPS]),
    (
        "attributes (`proxy.x`)",
        &[
            TRAPS,
            "tests/it/pyro/balanced.rs::programs_in_python_are_balanced_for_each_other_and_values_stay_what_they_are",
        ],
    ),
    (
        "`@oneway` methods in a batch run in order and block",
        &[TRAPS],
    ),
    (
        "a batch that runs in another thread takes the proxy away from its own",
        &[TRAPS],
    ),
    ("exceptions in a batch lose their attributes", &[TRAPS]),
    (
        "in a batch an unknown or private method loses the results of calls that ran",
        &[TRAPS],
    ),
    ("a result that is a stream fails a batch", &[TRAPS]),
    (
        "`list(return_metadata=True)` fails in JSON and MessagePack if a name has no metadata",
        &[TRAPS],
    ),
    (
        "one odd registration can stop the cleaning of dead names",
        &["tests/it/pyro.rs::three_programs_in_python_are_one_object_and_one_may_die"],
    ),
    (
        "a regular expression matches from the start of a name only",
        &[TRAPS],
    ),
    (
        "a prefix is a pattern in the SQL storage (`a_` lists `abc`)",
        &[TRAPS],
    ),
    (
        "`pyro5-httpgateway` ignores the body of a form",
        &["tests/it/pyro/tools.rs::pyros_gateway_calls_objects_of_workers_and_of_python"],
    ),
    (
        "arguments of an exception that are objects arrive as dictionaries",
        &[
            "tests/it/pyro.rs::three_programs_in_python_are_one_object_and_one_may_die",
            TRAPS,
        ],
    ),
    (
        "a proxy that is bound (`_pyroBind`) never looks up its name again",
        &[
            TRAPS,
            "tests/it/pyro/balanced.rs::one_connection_is_balanced_over_workers_and_survives_two_of_three",
        ],
    ),
    (
        "`{None: 1}` fails in serpent, bytes as a key too; only texts and bytes are keys in MessagePack",
        &[TRAPS],
    ),
    ("a named tuple becomes a tuple in serpent", &[TRAPS]),
    (
        "an object's id may contain spaces, and then its address is invalid",
        &[
            TRAPS,
            "pyro/src/naming/tests.rs::addresses_that_are_none_are_refused",
        ],
    ),
    ("a name may be empty or contain spaces", &[TRAPS]),
    (
        "`pyro5-nsc register` of a name that is taken ends with 1",
        &["tests/it/pyro/names.rs::pyro5_nsc_manages_names_as_it_does_with_pyros_own_name_server"],
    ),
    (
        "a message beyond the size limit ends the connection",
        &[TRAPS],
    ),
    (
        "clients of Pyro4 are refused",
        &["pyro/src/server/tests.rs::a_client_of_pyro4_is_told_which_version_it_speaks"],
    ),
    (
        "a certificate may name its host as its holder (CN) alone",
        &["tests/it/pyro/security.rs::a_certificate_whose_host_is_only_its_common_name_is_refused"],
    ),
    (
        "a stream is kept for 30 s after its connection",
        &["pyro/src/server/streams.rs::streams_of_a_connection_are_counted"],
    ),
    (
        "replies are compressed if the server says so",
        &["pyro/src/server/tests.rs::a_compressed_request_has_a_plain_answer"],
    ),
    (
        "a `SerializedBlob` is an argument that stays serialized",
        &[
            "pyro/src/server/tests.rs::a_blob_is_the_only_argument_of_the_method_that_its_annotation_names",
            TRAPS,
        ],
    ),
    (
        "annotations of calls and answers",
        &[
            "pyro/src/hosted/tests.rs::a_method_finds_what_came_beside_its_arguments",
            "tests/it/pyro/foreign.rs::pyro5s_own_tests_of_its_name_server_and_daemon_pass",
        ],
    ),
    (
        "at most 80 connections",
        &[
            "tests/it/pyro.rs::two_hundred_python_clients_move_on_when_two_of_three_workers_are_killed",
        ],
    ),
];

#[test]
fn every_row_of_the_documentation_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let page = read("docs/pyro.md");
    let (_, table) = page
        .split_once("| with Pyro5 5.17 | here |\n|---|---|\n")
        .unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let rows: Vec<&str> = rows
        .map(|row| row.trim_start_matches("| ").split(" | ").next().unwrap())
        .collect();
    let listed: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows, listed);
    for test in ROWS.iter().flat_map(|(_, tests)| *tests) {
        let (file, name) = test.split_once("::").unwrap();
        assert!(read(file).contains(&format!("fn {name}()")), "{test}");
    }
}
