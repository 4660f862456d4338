use super::*;
use pyroxene_common::{interfaces::directory::InstanceState, message::Load};

fn worker(name: &str, in_flight: u32) -> WorkerEntry {
    WorkerEntry {
        name: name.to_owned(),
        endpoint: String::new(),
        pid: 1,
        host: String::new(),
        state: InstanceState::Ready,
        load: Load {
            in_flight,
            queue: 3,
            ..Load::default()
        },
        objects: vec!["echo".to_owned()],
    }
}

fn sums(calls: u64, errors: u64) -> FigureSums {
    let row = |object: &str, method: &str| MethodFigures {
        object: object.to_owned(),
        method: method.to_owned(),
        calls,
        errors,
        latency: vec![0, 0, 0, calls],
        ..MethodFigures::default()
    };
    FigureSums {
        methods: vec![row("echo", "echo")],
        workers: vec![row("w1", "")],
        leases_expired: 0,
    }
}

#[test]
fn rates_are_what_came_since_the_last_tick() {
    let mut history = History::default();
    history.measure(sums(100, 0), &[worker("w1", 2)], None);
    history.measure(
        sums(110, 4),
        &[worker("w1", 5)],
        Some(&[(TaskState::Queued, 7)]),
    );
    let stats = history.stats(Range::Minutes, 1);
    let calls = stats["total"]["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 150);
    assert_eq!(
        (&calls[149], &calls[148], &calls[147]),
        (&5.into(), &0.into(), &Value::Null)
    );
    assert_eq!(stats["objects"]["echo"]["errors"][149], 2);
    assert_eq!(stats["workers"]["w1"]["in_flight"][149], 5);
    assert_eq!(stats["workers"]["w1"]["queue"][149], 3);
    assert_eq!(stats["objects"]["echo"]["queue"][149], Value::Null);
    assert_eq!(stats["tasks"]["queued"][149], 7);
    let median = stats["total"]["p50_ms"][149].as_f64().unwrap();
    assert!((0.04..=0.08).contains(&median), "{median}");
    let newest = history.newest(1);
    assert_eq!(newest["total"]["calls"], 5);
    assert_eq!(newest["workers"]["w1"]["in_flight"], 5);
}

use serde_json::Value;

#[test]
fn coarser_steps_are_means_and_old_ones_are_overwritten() {
    let mut history = History::default();
    for tick in 0..400_u32 {
        let busy = if tick < 10 { 10 } else { 0 };
        history.measure(sums(u64::from(tick) * 2, 0), &[worker("w1", busy)], None);
    }
    let hour = history.stats(Range::Hour, 1);
    let in_flight = hour["total"]["in_flight"].as_array().unwrap();
    assert_eq!(
        in_flight.iter().filter(|value| !value.is_null()).count(),
        40
    );
    assert_eq!(in_flight[140], 10);
    assert_eq!(in_flight[179], 0);
    assert_eq!(hour["total"]["calls"][179], 1);
    let minutes = history.stats(Range::Minutes, 1);
    assert_eq!(minutes["total"]["in_flight"][0], 0);
}

#[test]
fn a_subject_that_is_gone_for_longer_than_all_ranges_is_forgotten() {
    let mut history = History::default();
    history.measure(sums(0, 0), &[worker("w1", 0)], None);
    for _ in 0..5 {
        history.measure(FigureSums::default(), &[], None);
    }
    assert!(history.workers.contains_key("w1"));
    for _ in 0..288 * 150 {
        history.measure(FigureSums::default(), &[], None);
    }
    assert!(history.workers.is_empty());
}

#[test]
fn the_number_of_subjects_is_bounded() {
    let mut history = History::default();
    let workers: Vec<_> = (0..1000).map(|n| worker(&format!("w{n}"), 0)).collect();
    history.measure(sums(0, 0), &workers, None);
    assert_eq!(history.workers.len(), MAX_SUBJECTS / 2);
}
