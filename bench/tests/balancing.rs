//! The commands `balancing` and `failover` as a user starts them, for as short a time as possible.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pyroxene-bench");

/// Runs the program and returns its JSON output.
fn measured(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .arg("--json")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_balancing_scenario_is_measured_with_real_workers() {
    let report = measured(&[
        "balancing",
        "--seconds=2",
        "--rate=100",
        "--policies=least-loaded",
    ]);
    let rows = |scenario: &str| report[scenario].as_array().unwrap().clone();
    let slow = rows("slow");
    assert_eq!(slow.len(), 3);
    for row in &slow {
        assert_eq!(row["policy"], "least-loaded");
        let (p50, p99) = (row["p50_ms"].as_f64(), row["p99_ms"].as_f64());
        // A call takes at least half of 5 ms.
        assert!(p50.unwrap() >= 2.5 && p50 <= p99, "{row}");
    }
    let faults: Vec<_> = rows("failing")
        .iter()
        .map(|row| row["fault"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(faults, ["refuses", "closes", "crashes", "fails", "errors"]);
    let joining = rows("joining");
    assert_eq!(joining.len(), 1);
    assert!(joining[0]["shares"].as_array().unwrap().len() > 1);
    let many = rows("many");
    assert_eq!(many.len(), 2);
    assert!(many.iter().all(|row| row["failed"] == 0), "{many:?}");
}

#[test]
fn a_killed_worker_fails_no_call() {
    let rows = measured(&["failover", "--scenarios=kill", "--rounds=1", "--rate=200"]);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["scenario"], "kill");
    assert_eq!(rows[0]["failed"], 0);
    assert!(rows[0]["calls"].as_u64().unwrap() > 300);
}
