//! `pyroxene sort` and `pyroxene multiply`: their formats, and what they say is wrong.

use crate::harness::Broker;
use serde_json::Value;
use std::fs;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_sorted_from_a_pipe_and_from_files() {
    let broker = Broker::start().workers(1).await;
    let ran = broker
        .feed(&["sort"], "3\n-0\n\n1e300\nNaN\n0\n-NaN\n-inf\n")
        .await;
    assert_eq!(ran.out(), "-NaN\n-inf\n-0\n0\n3\n1e300\nNaN");
    let ran = broker
        .feed(&["sort", "--format", "json"], "[3, 1.5, 2]")
        .await;
    assert_eq!(ran.out(), "[1.5,2,3]");

    fs::write(broker.dir().join("in"), "2\n1\n").unwrap();
    let words = ["sort", "--input", "in", "--output", "out", "--json"];
    let told: Value = broker.run(&words).await.json();
    assert_eq!((&told["numbers"], &told["pieces"]), (&2.into(), &1.into()));
    assert_eq!(told["workers"]["w1"], 1);
    assert!(told["elapsed_ms"].as_f64() > Some(0.0));
    let written = fs::read_to_string(broker.dir().join("out")).unwrap();
    assert_eq!(written, "1\n2\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn matrices_are_multiplied_in_every_format() {
    let broker = Broker::start().workers(1).await;
    fs::write(broker.dir().join("a"), "[[1,2],[3,4],[5,6]]").unwrap();
    fs::write(broker.dir().join("b"), "[[1,0],[0,0.5]]").unwrap();
    let ran = broker.run(&["multiply", "a", "b"]).await;
    assert_eq!(ran.out(), "[[1,1],[3,2],[5,3]]");
    let words = ["multiply", "-", "b.l", "--format", "lines"];
    fs::write(broker.dir().join("b.l"), "[2]\n[3]\n").unwrap();
    let ran = broker.feed(&words, "[1,2]\n\n[3,4]\n").await;
    assert_eq!(ran.out(), "[8]\n[18]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_in_a_sentence() {
    let broker = Broker::start().workers(1).await;
    let ran = broker.feed(&["sort"], "1\ntwo\n").await;
    let sentence = "standard input, line 2: 'two' is not a number";
    assert_eq!(ran.error(2), sentence);
    let ran = broker.run(&["sort", "--input", "missing"]).await;
    assert!(ran.error(2).starts_with("cannot read missing: "), "{ran:?}");
    let ran = broker.feed(&["sort", "--json"], "1\n").await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("--output FILE"), "{ran:?}");
    let ran = broker.feed(&["sort", "--output", "no/where"], "1\n").await;
    assert!(
        ran.error(1).starts_with("cannot write no/where: "),
        "{ran:?}"
    );
    let ran = broker
        .feed(&["sort", "--object", "calculater"], "1\n")
        .await;
    assert!(ran.error(3).contains("'calculater'"), "{ran:?}");
    assert_eq!(ran.hint(), "did you mean 'calculator'?");

    fs::write(broker.dir().join("a"), "[[1,2],[3,4]]").unwrap();
    fs::write(broker.dir().join("b"), "[[1,2,3]]").unwrap();
    fs::write(broker.dir().join("c"), "[[1,2],[3]]").unwrap();
    let ran = broker.run(&["multiply", "a", "b"]).await;
    assert_eq!(
        ran.error(1),
        "cannot multiply a 2x2 matrix by a 1x3 matrix: 2 columns do not match 1 row"
    );
    let ran = broker.run(&["multiply", "a", "c"]).await;
    assert!(ran.error(2).contains("row 2 is of length 1"), "{ran:?}");
    let ran = broker.run(&["multiply", "-", "-"]).await;
    assert_eq!(ran.error(2), "only one matrix can be on standard input");
    let ran = broker
        .run(&["multiply", "a", "b", "--format", "f64le"])
        .await;
    assert!(ran.error(2).contains("--columns"), "{ran:?}");
}
