//! The program as a user starts it, with real servers in their own processes.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Output, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pyroxene-bench");

const SYSTEMS: [&str; 7] = [
    "raw",
    "tarpc",
    "tonic",
    "pyroxene-direct",
    "pyroxene-balanced",
    "pyroxene-tls",
    "pyroxene-authorised",
];

const SECURED: [&str; 2] = ["pyroxene-tls", "pyroxene-authorised"];

fn rpc(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(PROGRAM).arg("rpc").args(arguments).output()
}

#[test]
fn every_system_answers_small_and_large_calls() {
    let output = rpc(&[
        "--json",
        "--seconds=0.05",
        "--in-flight=1,300",
        "--payload=0,64,100000",
    ])
    .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows.len(), 3 * 2 * SYSTEMS.len());
    for row in rows {
        assert!(row["calls_per_s"].as_f64().unwrap() > 0.0, "{row}");
        let (p50, p99) = (row["p50_us"].as_f64(), row["p99_us"].as_f64());
        assert!(p50.unwrap() > 0.0 && p50 <= p99, "{row}");
    }
}

#[test]
fn every_system_carries_eight_mebibytes() {
    let output = rpc(&["--seconds=0.05", "--payload=8388608"]).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("8 MiB each way, 1 in flight"), "{text}");
    for system in SYSTEMS {
        let begins = format!("{system} ");
        assert!(text.lines().any(|line| line.starts_with(&begins)), "{text}");
    }
}

#[test]
fn rounds_and_systems_can_be_chosen() {
    let output = rpc(&[
        "--json",
        "--seconds=0.01",
        "--systems=tonic,raw",
        "--rounds=3",
        "--in-flight=2",
        "--payload=64",
    ])
    .unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let systems: Vec<_> = rows.iter().map(|row| row["system"].as_str()).collect();
    assert_eq!(systems, [Some("tonic"), Some("raw")]);
    let progress = String::from_utf8(output.stderr).unwrap();
    assert_eq!(progress.lines().count(), 6, "{progress}");
}

#[test]
fn a_server_ends_when_its_input_closes_even_with_a_client_connected() {
    // The other systems first need a directory with secrets that they share with their clients.
    for system in SYSTEMS.iter().filter(|system| !SECURED.contains(system)) {
        let mut server = Command::new(PROGRAM)
            .args(["serve", "rpc", system])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(server.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("ready ").unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        drop(server.stdin.take());
        assert!(server.wait().unwrap().success(), "{system}");
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "{system}");
    }
}
