//! Counts what users hold at a time.

use super::Limiter;
use pyroxene_common::limits::Limit;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

/// The counts by limit and user. A user who holds nothing takes no memory.
#[derive(Debug, Default)]
pub(super) struct Gauges(HashMap<Limit, HashMap<String, u64>>);

impl Gauges {
    pub(super) fn of(&self, limit: Limit, name: &str) -> u64 {
        let names = self.0.get(&limit);
        names
            .and_then(|names| names.get(name))
            .copied()
            .unwrap_or(0)
    }

    pub(super) fn add(&mut self, limit: Limit, name: &str, units: u64) {
        let names = self.0.entry(limit).or_default();
        match names.get_mut(name) {
            Some(count) => *count += units,
            None => drop(names.insert(name.to_owned(), units)),
        }
    }

    pub(super) fn remove(&mut self, limit: Limit, name: &str, units: u64) {
        let names = self.0.entry(limit).or_default();
        if let Entry::Occupied(mut count) = names.entry(name.to_owned()) {
            *count.get_mut() -= units;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Units of a limit, released on drop.
#[derive(Debug)]
pub(crate) struct LimitPermit {
    limiter: Arc<Limiter>,
    limit: Limit,
    name: String,
    units: u64,
}

impl LimitPermit {
    pub(super) fn new(limiter: Arc<Limiter>, limit: Limit, name: &str, units: u64) -> Self {
        let name = name.to_owned();
        Self {
            limiter,
            limit,
            name,
            units,
        }
    }
}

impl LimitPermit {
    /// How many units of the limit all users hold now.
    pub(crate) fn held_by_all(&self) -> u64 {
        self.limiter.held_by_all(self.limit)
    }
}

impl Drop for LimitPermit {
    fn drop(&mut self) {
        self.limiter.release(self.limit, &self.name, self.units);
    }
}
