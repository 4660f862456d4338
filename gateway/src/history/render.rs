//! Series as the API writes them.

use super::{
    History, TICK,
    ring::{Range, Series},
};
use pyroxene_common::interfaces::tasks::TaskState;
use serde_json::{Map, Number, Value, json};

/// The names of the values of a step, in order.
const NAMES: [&str; super::ring::VALUES] =
    ["calls", "errors", "p50_ms", "p99_ms", "in_flight", "queue"];

impl History {
    /// Everything of a range.
    pub(crate) fn stats(&self, range: Range, now_ms: u64) -> Value {
        let last = self.ticks.saturating_sub(1) / range.ticks();
        let lists = |series: &Series| {
            let named = NAMES.iter().enumerate().map(|(index, name)| {
                let values = series.values(range, last, index);
                ((*name).to_owned(), values.into_iter().map(number).collect())
            });
            Value::Object(Map::from_iter(named))
        };
        let tasks = self.tasks.as_ref().map(|tasks| {
            let states = TaskState::ALL.iter().enumerate().map(|(index, state)| {
                let values = tasks.values(range, last, index);
                let values = values.into_iter().map(number).collect::<Value>();
                (state.name().to_owned(), values)
            });
            Value::Object(Map::from_iter(states))
        });
        let named = |all: &std::collections::BTreeMap<String, Series>| {
            Value::Object(
                all.iter()
                    .map(|(name, series)| (name.clone(), lists(series)))
                    .collect(),
            )
        };
        json!({
            "range": range.name(),
            "step_s": TICK.as_secs() * range.ticks(),
            "end_ms": now_ms,
            "steps": range.steps(),
            "total": lists(&self.total),
            "objects": named(&self.objects),
            "workers": named(&self.workers),
            "tasks": tasks,
        })
    }

    /// The newest step of the finest resolution.
    pub(crate) fn newest(&self, now_ms: u64) -> Value {
        let last = self.ticks.saturating_sub(1);
        let values = |series: &Series| {
            let named = NAMES.iter().enumerate().map(|(index, name)| {
                let newest = series.values(Range::Minutes, last, index).pop();
                ((*name).to_owned(), newest.map_or(Value::Null, number))
            });
            Value::Object(Map::from_iter(named))
        };
        let named = |all: &std::collections::BTreeMap<String, Series>| {
            Value::Object(
                all.iter()
                    .map(|(name, series)| (name.clone(), values(series)))
                    .collect(),
            )
        };
        let tasks = self.tasks.as_ref().map(|tasks| {
            let states = TaskState::ALL.iter().enumerate().map(|(index, state)| {
                let newest = tasks.values(Range::Minutes, last, index).pop();
                (state.name().to_owned(), newest.map_or(Value::Null, number))
            });
            Value::Object(Map::from_iter(states))
        });
        json!({
            "at_ms": now_ms,
            "step_s": TICK.as_secs(),
            "total": values(&self.total),
            "objects": named(&self.objects),
            "workers": named(&self.workers),
            "tasks": tasks,
        })
    }
}

/// A number with three decimals; null if nothing was measured.
fn number(value: f32) -> Value {
    let rounded = (f64::from(value) * 1000.0).round() / 1000.0;
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 {
        return Value::from(rounded as i64);
    }
    Number::from_f64(rounded).map_or(Value::Null, Value::Number)
}
