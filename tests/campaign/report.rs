//! The report: broken promises, and counts of completed work.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Instant,
};

/// The report of a campaign. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct CampaignReport(Arc<Mutex<ReportState>>);

struct ReportState {
    begun: Instant,
    violations: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Default for ReportState {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            violations: Vec::new(),
            counts: BTreeMap::new(),
        }
    }
}

impl CampaignReport {
    /// Reports a broken promise.
    pub(crate) fn violation(&self, what: String) {
        /// More would repeat the same.
        const MOST: usize = 50;
        let mut state = self.0.lock().unwrap();
        let at = state.begun.elapsed().as_secs_f64();
        println!("{at:8.1} s  ! {what}");
        if state.violations.len() < MOST {
            state.violations.push(format!("after {at:.1} s: {what}"));
        }
    }

    /// Prints a message with the time.
    pub(crate) fn note(&self, what: &str) {
        let at = self.0.lock().unwrap().begun.elapsed().as_secs_f64();
        println!("{at:8.1} s  {what}");
    }

    /// Counts one more of this kind.
    pub(crate) fn count(&self, what: &'static str) {
        *self.0.lock().unwrap().counts.entry(what).or_default() += 1;
    }

    /// How many of this kind were counted.
    pub(crate) fn counted(&self, what: &'static str) -> u64 {
        let state = self.0.lock().unwrap();
        state.counts.get(what).copied().unwrap_or(0)
    }

    /// All counts, as text.
    pub(crate) fn counts(&self) -> String {
        let state = self.0.lock().unwrap();
        let counts = state.counts.iter();
        let counts: Vec<String> = counts
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        counts.join(", ")
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.0.lock().unwrap().violations.clone()
    }
}
