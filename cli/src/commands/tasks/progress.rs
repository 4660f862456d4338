//! The progress bar of a wait.

use crate::progress::Bar;
use pyroxene_common::{
    clean,
    interfaces::tasks::{TaskState, TaskStatus},
};

/// The length of the bar, in steps.
const BAR_STEPS: u32 = 1000;

/// A bar for all tasks of a wait.
pub(super) struct TaskProgressBar {
    bar: Bar,
    /// The progress of each task, from 0 to 1.
    fractions: Vec<f64>,
}

impl TaskProgressBar {
    /// A bar for this number of tasks.
    pub(super) fn new(tasks: usize) -> Self {
        let template = "{bar:30} {percent}% · {msg} · {elapsed}";
        Self {
            bar: Bar::new(Some(BAR_STEPS.into()), template),
            fractions: vec![0.0; tasks],
        }
    }

    /// Updates the bar with the status of a task.
    pub(super) fn advance(&mut self, index: usize, status: &TaskStatus) {
        if let Some(fraction) = self.fractions.get_mut(index) {
            *fraction = fraction_of(status);
        }
        let whole: f64 = self.fractions.iter().sum::<f64>() / self.fractions.len() as f64;
        self.bar.set_position((whole * f64::from(BAR_STEPS)) as u64);
        self.bar
            .set_message(clean::line(&message(status)).into_owned());
    }

    /// Runs `write`, which may write to the terminal, with the bar hidden.
    pub(super) fn with_bar_suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

fn fraction_of(status: &TaskStatus) -> f64 {
    match (status.state.is_final(), &status.progress) {
        (true, _) => 1.0,
        (false, Some(progress)) => progress.fraction.clamp(0.0, 1.0),
        (false, None) => 0.0,
    }
}

/// The status in a few words.
fn message(status: &TaskStatus) -> String {
    let note = status.progress.as_ref().map(|progress| &progress.note);
    let note = note.filter(|note| !note.is_empty());
    match (status.state, &status.worker, note) {
        (TaskState::Running, Some(worker), Some(note)) => format!("{worker}: {note}"),
        (TaskState::Running, Some(worker), None) => format!("running on {worker}"),
        (state, _, _) => state.to_string(),
    }
}
