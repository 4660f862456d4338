//! One large piece of work, spread over workers that die, freeze, or take small messages only.

use crate::harness::{Broker, Process, eventually, seconds, turn};
use pyroxene_common::values::{Matrix, Numbers};
use pyroxene_objects::{DistributedCalculator, DistributedOptions};
use serde_json::Value;
use std::{fs, path::Path, time::Instant};

/// Pieces take this long, so that there is a middle of the work.
const SLOW: [&str; 2] = ["--chaos", "delay=150ms"];

/// Small pieces, so that there are many.
const SMALL: &str = "16KiB";

/// Numbers in no order, among them all that order is difficult for.
fn numbers(count: u32) -> Vec<f64> {
    let special = [
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        f64::MIN_POSITIVE / 4.0,
    ];
    let plain = (0..count).map(|n| f64::from(n.wrapping_mul(2_654_435_761)) / 3e5 - 5000.0);
    plain.chain(special).collect()
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn write(path: &Path, values: &[f64]) {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    fs::write(path, bytes).unwrap();
}

fn read(path: &Path) -> Vec<f64> {
    let bytes = fs::read(path).unwrap();
    let (numbers, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    numbers
        .iter()
        .map(|bytes| f64::from_le_bytes(*bytes))
        .collect()
}

/// A matrix of small whole numbers, whose products are exact.
fn matrix(rows: u32, columns: u32) -> Matrix {
    let values = (0..rows * columns).map(|n| f64::from(n * 31 % 19) - 9.0);
    Matrix::new(rows, columns, values.collect()).unwrap()
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let mut product = Matrix::zeros_for_product(a, b);
    let rows = product.values_mut().chunks_mut(b.columns() as usize);
    for (row, target) in a.iter_rows().zip(rows) {
        for (factor, line) in row.iter().zip(b.iter_rows()) {
            for (target, value) in target.iter_mut().zip(line) {
                *target += factor * value;
            }
        }
    }
    product
}

async fn two_slow_workers() -> Broker {
    Broker::start()
        .worker("w1", &SLOW)
        .worker("w2", &SLOW)
        .await
}

/// Waits until the worker has answered a piece.
async fn is_at_work(broker: &mut Broker, worker: &str) {
    let nameserver = broker.nameserver(0);
    eventually(&format!("{worker} has answered"), || async {
        let listed = nameserver.listed().await?;
        let mut entries = listed.iter();
        let found = entries.find(|entry| entry.name == worker && entry.load.calls > 1);
        found.map(drop).ok_or_else(|| format!("{listed:?}"))
    })
    .await;
}

/// What `--json` said of work that went well.
async fn summary(mut command: Process) -> Value {
    let output = command.rest_of_output().await;
    let status = command.exit().await;
    assert_eq!(status.code(), Some(0), "{output} {}", command.log());
    serde_json::from_str(&output).unwrap()
}

/// Starts a sort in small pieces of numbers in a file `in`, to a file `out`.
fn start_sort(broker: &Broker, values: &[f64], more: &[&str]) -> Process {
    write(&broker.dir().join("in"), values);
    let words = [
        "--input", "in", "--output", "out", "--format", "f64le", "--json", "--piece", SMALL,
    ];
    broker.start_command("sort", &[&words[..], more].concat())
}

/// What a command that was to print JSON said last.
fn error_of(log: &str) -> serde_json::Value {
    let last = log.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {log}"))
}

fn is_sorted(broker: &Broker, values: Vec<f64>) {
    let result = read(&broker.dir().join("out"));
    assert!(bits(&result) == bits(&sorted(values)), "the order is wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sort_is_right_when_a_worker_is_killed_in_the_middle() {
    let _turn = turn().await;
    let mut broker = two_slow_workers().await;
    let values = numbers(300_000);
    let sort = start_sort(&broker, &values, &[]);
    is_at_work(&mut broker, "w2").await;
    broker.worker("w2").kill().await;
    let summary = summary(sort).await;
    assert!(summary["repeated"].as_u64() > Some(0), "{summary}");
    assert!(summary["workers"]["w2"].as_u64() > Some(0), "{summary}");
    assert!(summary["workers"]["w1"].as_u64() > summary["workers"]["w2"].as_u64());
    assert_eq!(summary["numbers"].as_u64(), Some(values.len() as u64));
    is_sorted(&broker, values);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sort_is_right_when_a_worker_freezes_in_the_middle() {
    let _turn = turn().await;
    let mut broker = two_slow_workers().await;
    let values = numbers(300_000);
    let sort = start_sort(&broker, &values, &[]);
    is_at_work(&mut broker, "w2").await;
    broker.worker("w2").freeze();
    let summary = summary(sort).await;
    assert!(summary["repeated"].as_u64() > Some(0), "{summary}");
    is_sorted(&broker, values);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_is_right_when_a_worker_is_killed_in_the_middle() {
    let _turn = turn().await;
    let mut broker = two_slow_workers().await;
    let (a, b) = (matrix(210, 50), matrix(50, 190));
    write(&broker.dir().join("a"), a.values());
    write(&broker.dir().join("b"), b.values());
    let words = ["a", "b", "--output", "out", "--format", "f64le"];
    let more = ["--columns", "50", "--json", "--piece", SMALL];
    let multiply = broker.start_command("multiply", &[&words[..], &more].concat());
    is_at_work(&mut broker, "w1").await;
    broker.worker("w1").kill().await;
    let summary = summary(multiply).await;
    assert!(summary["repeated"].as_u64() > Some(0), "{summary}");
    assert_eq!(
        (&summary["rows"], &summary["columns"]),
        (&210.into(), &190.into())
    );
    assert_eq!(read(&broker.dir().join("out")), product(&a, &b).values());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_all_workers_dead_a_sort_ends_in_time_and_leaves_the_output_as_it_was() {
    let _turn = turn().await;
    let mut broker = two_slow_workers().await;
    fs::write(broker.dir().join("out"), "precious").unwrap();
    let mut sort = start_sort(&broker, &numbers(300_000), &["--patience", "2s"]);
    is_at_work(&mut broker, "w1").await;
    broker.worker("w1").kill().await;
    broker.worker("w2").kill().await;
    let began = Instant::now();
    let status = sort.exit().await;
    assert_eq!(status.code(), Some(3), "{}", sort.log());
    // The leases, the patience, and one more round of tries.
    assert!(began.elapsed() < seconds(20), "{:?}", began.elapsed());
    assert_eq!(error_of(&sort.log())["kind"], "unavailable");
    assert_eq!(sort.rest_of_output().await, "");
    assert_eq!(fs::read(broker.dir().join("out")).unwrap(), b"precious");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sort_that_is_told_to_stop_leaves_nothing_behind() {
    let mut broker = Broker::start().worker("w1", &SLOW).await;
    let mut sort = start_sort(&broker, &numbers(300_000), &[]);
    is_at_work(&mut broker, "w1").await;
    let status = sort.terminate().await;
    assert_eq!(status.code(), Some(1));
    assert_eq!(
        error_of(&sort.log())["error"],
        "interrupted before it was done"
    );
    let files = fs::read_dir(broker.dir()).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    names.retain(|name| !name.to_string_lossy().ends_with(".log"));
    assert_eq!(names, ["in"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_are_cut_smaller_for_workers_that_take_small_messages() {
    let small = ["--max-message", "65536"];
    let broker = Broker::start()
        .worker("w1", &small)
        .worker("w2", &small)
        .await;
    let client = broker.client().await;
    let options = DistributedOptions::default();
    let values = numbers(100_000);
    let done = client.sort_distributed("calculator", Numbers(values.clone()), &options);
    let done = done.await.unwrap();
    assert!(bits(&done.result.0) == bits(&sorted(values)));
    assert!(done.pieces > 12, "{}", done.pieces);

    let (a, b) = (matrix(200, 130), matrix(130, 170));
    let done = client.matmul_distributed("calculator", a.clone(), b.clone(), &options);
    let done = done.await.unwrap();
    assert_eq!(done.result, product(&a, &b));
    assert!(done.pieces > 4, "{}", done.pieces);

    let (a, b) = (matrix(1, 9000), matrix(9000, 1));
    let refused = client.matmul_distributed("calculator", a, b, &options);
    let error = refused.await.unwrap_err().to_string();
    assert!(error.contains("limited to 65536 bytes"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_piece_and_many_are_sorted_as_one_call_would() {
    let broker = Broker::start().workers(3).await;
    let client = broker.client().await;
    let options = DistributedOptions::default();
    for values in [vec![], vec![2.0], vec![1.0; 400_000], numbers(600_000)] {
        let done = client.sort_distributed("calculator", Numbers(values.clone()), &options);
        let done = done.await.unwrap();
        assert!(bits(&done.result.0) == bits(&sorted(values)));
    }
    let equal = client.sort_distributed("calculator", Numbers(vec![1.0; 400_000]), &options);
    assert_eq!(
        equal.await.unwrap().pieces,
        0,
        "equal values need no sorting"
    );
}
