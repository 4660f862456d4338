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

/// A time at which many ticks have passed.
const START_MS: u64 = 1_800_000_000_000;

fn ms(tick: u64) -> u64 {
    START_MS + tick * 2000
}

/// A history of five ticks.
fn kept() -> History {
    let mut history = History::default();
    for tick in 0..5 {
        history.go_on_at(ms(tick));
        history.measure(
            sums(tick * 4, 0),
            &[worker("w1", 7)],
            Some(&[(TaskState::Queued, 9)]),
        );
    }
    history
}

#[test]
fn another_life_goes_on_where_the_last_one_has_ended() {
    let packed = pack(&kept().to_bytes());
    let mut history = unpack(&packed, ms(10)).unwrap();
    history.go_on_at(ms(10));
    history.measure(sums(3, 0), &[worker("w1", 1)], None);
    let stats = history.stats(Range::Minutes, ms(10));
    let of = |list: &Value| list.as_array().unwrap()[139..].to_vec();
    let in_flight = of(&stats["workers"]["w1"]["in_flight"]);
    assert_eq!(
        serde_json::to_string(&in_flight).unwrap(),
        "[7,7,7,7,7,null,null,null,null,null,1]"
    );
    assert_eq!(
        of(&stats["total"]["calls"])[1..5],
        [2, 2, 2, 2].map(Value::from)
    );
    assert_eq!(of(&stats["tasks"]["queued"])[4], 9);
    assert_eq!(of(&stats["tasks"]["queued"])[5], Value::Null);
    let hour = history.stats(Range::Hour, ms(10));
    assert_eq!(hour["workers"]["w1"]["in_flight"][178], 7);
}

#[test]
fn what_was_measured_longer_ago_than_a_range_is_gone_from_it() {
    let packed = pack(&kept().to_bytes());
    let mut history = unpack(&packed, ms(1_000)).unwrap();
    history.go_on_at(ms(1_000));
    history.measure(sums(0, 0), &[], None);
    let minutes = history.stats(Range::Minutes, ms(1_000));
    let in_flight = minutes["workers"]["w1"]["in_flight"].as_array().unwrap();
    assert!(in_flight.iter().all(Value::is_null), "{in_flight:?}");
    let day = history.stats(Range::Day, ms(1_000));
    let in_flight = day["workers"]["w1"]["in_flight"].as_array().unwrap();
    assert_eq!(in_flight.iter().filter(|value| !value.is_null()).count(), 1);
}

#[test]
fn damaged_bytes_and_those_of_a_time_to_come_are_not_read() {
    let bytes = kept().to_bytes();
    let packed = pack(&bytes);
    assert!(unpack(&packed, ms(4) - 120_000).is_none());
    assert!(unpack(&packed[..packed.len() / 2], ms(10)).is_none());
    assert!(unpack(&pack(&bytes[..bytes.len() - 1]), ms(10)).is_none());
    let longer = [&bytes[..], &[0]].concat();
    assert!(unpack(&pack(&longer), ms(10)).is_none());
    assert!(unpack(&pack(b"PXH2"), ms(10)).is_none());
    assert!(unpack(b"", ms(10)).is_none());
}

#[test]
fn a_full_history_is_smaller_than_what_a_store_keeps() {
    let mut history = History::default();
    let workers: Vec<_> = (0..1000).map(|n| worker(&format!("w{n}"), 0)).collect();
    let mut many = sums(0, 0);
    for n in 0..1000 {
        many.methods.push(MethodFigures {
            object: format!("o{n}"),
            ..MethodFigures::default()
        });
    }
    history.measure(many.clone(), &workers, Some(&[]));
    history.measure(many, &workers, Some(&[]));
    let bytes = history.to_bytes();
    assert!(bytes.len() < 16 << 20, "{}", bytes.len());
    assert!(unpack(&pack(&bytes), ms(0)).is_some());
}
