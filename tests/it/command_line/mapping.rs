//! `pyroxene map`: many calls over all workers.

use crate::harness::{Broker, turn};
use std::fmt::Write;

/// n! for the small n that fit.
fn factorial(n: u64) -> u128 {
    (1..=u128::from(n)).product()
}

const LINES: u64 = 10_000;

/// The argument of a line.
fn argument(line: u64) -> u64 {
    line * 7 % 34
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_loses_nothing_when_two_of_three_workers_and_the_name_server_are_killed() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(3).await;
    let input = broker.dir().join("inputs.jsonl");
    let mut text = String::new();
    for line in 0..LINES {
        let n = argument(line);
        // Every form that a line may have.
        let _ = match line % 3 {
            0 => writeln!(text, r#"{{"n": {n}}}"#),
            1 => writeln!(text, "[{n}]"),
            _ => writeln!(text, "{n}"),
        };
    }
    std::fs::write(&input, text).unwrap();
    let input = input.to_str().unwrap();
    let mut map = broker.start_command("map", &["calculator", "factorial", "--input", input]);

    // Results come while the input is read. As nobody reads further for a moment, the command
    // cannot be done: a pipe holds 64 KiB, a quarter of the results.
    let mut results = vec![map.line().await];
    broker.worker("w1").kill().await;
    while results.len() < 1000 {
        results.push(map.line().await);
    }
    broker.nameserver(0).kill().await;
    broker.worker("w3").kill().await;
    results.extend(map.rest_of_output().await.lines().map(str::to_owned));
    let status = map.exit().await;
    assert_eq!(status.code(), Some(0), "{status}: {}", map.log());

    assert_eq!(results.len(), usize::try_from(LINES).unwrap());
    for (line, result) in (0..).zip(&results) {
        let expected = format!("\"{}\"", factorial(argument(line)));
        assert_eq!(*result, expected, "line {}", line + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_in_json_tells_who_answered_each_line() {
    let broker = Broker::start().workers(1).await;
    std::fs::write(broker.dir().join("in.jsonl"), "1\n\n[2]\n{\"n\":3}\n").unwrap();
    let words = [
        "map",
        "calculator",
        "factorial",
        "--input",
        "in.jsonl",
        "--json",
    ];
    let ran = broker.run(&words).await;
    let lines: Vec<&str> = ran.out().lines().collect();
    assert_eq!(
        lines,
        [
            r#"{"line":1,"result":"1","worker":"w1","attempts":1}"#,
            r#"{"line":3,"result":"2","worker":"w1","attempts":1}"#,
            r#"{"line":4,"result":"6","worker":"w1","attempts":1}"#,
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_fails_ends_a_map_unless_it_is_to_keep_going() {
    let broker = Broker::start().workers(1).await;
    std::fs::write(broker.dir().join("in.jsonl"), "3\n2000000\n4\n").unwrap();
    let words = ["map", "calculator", "factorial", "--input", "in.jsonl"];
    let ran = broker.run(&words).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.stdout, "\"6\"\n", "{ran:?}");
    assert!(
        ran.stderr.starts_with("error: line 2: n is 2000000"),
        "{ran:?}"
    );

    let words = [&words[..], &["--keep-going"]].concat();
    let ran = broker.run(&words).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (3, "\"6\"", "\"24\""));
    assert!(lines[1].starts_with(r#"{"error":"n is 2000000"#), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_reads_a_pipe_and_bare_text() {
    let broker = Broker::start().workers(1).await;
    let words = ["map", "text", "uppercase"];
    let ran = broker.feed(&words, "hello there\n\n12\n\"quoted\"\n").await;
    let lines: Vec<&str> = ran.out().lines().collect();
    assert_eq!(lines, [r#""HELLO THERE""#, r#""12""#, r#""QUOTED""#]);
}
