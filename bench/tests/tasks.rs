//! The program as a user starts it, with real name servers, workers and databases.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pyroxene-bench");

fn tasks(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("tasks").args(arguments).output().unwrap()
}

#[test]
fn tasks_are_measured_on_every_store() {
    let arguments = [
        "--json",
        "--seconds=0.1",
        "--submitters=1,8",
        "--backlog=2000",
    ];
    let output = tasks(&arguments);
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{progress}");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let stores: Vec<_> = rows.iter().map(|row| row["store"].as_str()).collect();
    let installed = !progress.contains("no PostgreSQL server is installed");
    let expected = [("sqlite", true), ("postgres", installed)];
    let expected = expected.iter().filter(|(_, there)| *there);
    let expected: Vec<_> = expected.flat_map(|(store, _)| [Some(*store); 2]).collect();
    assert_eq!(stores, expected, "{progress}");
    for row in rows {
        assert_eq!(row["fsync"], true, "{row}");
        assert!(row["tasks_per_s"].as_f64().unwrap() > 0.0, "{row}");
        let (p50, p99) = (row["p50_ms"].as_f64(), row["p99_ms"].as_f64());
        assert!(p50.unwrap() > 0.0 && p50 <= p99, "{row}");
    }
}

#[test]
fn people_see_tables() {
    let output = tasks(&[
        "--seconds=0.1",
        "--submitters=8",
        "--stores=sqlite",
        "--bulk=2500",
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("fsync on: it takes"), "{text}");
    for title in [
        "Empty tasks, from submission",
        "Appends of 64 bytes",
        "Submission of empty tasks",
    ] {
        assert!(text.contains(title), "{text}");
    }
}
